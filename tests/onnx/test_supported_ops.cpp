// SUPPORTED_OPS.md says what the registry says.
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <regex>

#include "onnx_import/op_registry.h"

namespace actmatch::onnx_import {
namespace {

using Range = std::pair<int64_t, int64_t>;

std::string full_name(const OpEntry& entry) { return (*entry.domain ? std::string(entry.domain) + "." : "") + entry.op; }

TEST(SupportedOps, TableMatchesTheRegistry) {
  std::map<std::string, Range> registered;
  for (const OpEntry& entry : all_entries()) {
    const auto [at, is_new] = registered.try_emplace(full_name(entry), entry.since, entry.until);
    if (is_new) continue;
    EXPECT_EQ(at->second.second + 1, entry.since) << entry.op << ": its opset ranges overlap or leave a gap";
    at->second.second = entry.until;
  }
  std::map<std::string, Range> documented;
  std::ifstream file(ACTMATCH_SOURCE_DIR "/onnx_import/SUPPORTED_OPS.md");
  const std::regex row(R"(\| ([\w.]+) \| (\d+)-(\d+) \|.*)");
  std::smatch match;
  for (std::string line; std::getline(file, line);)
    if (std::regex_match(line, match, row)) documented[match[1]] = {std::stoll(match[2]), std::stoll(match[3])};
  EXPECT_GT(documented.size(), 140u);
  EXPECT_EQ(documented, registered);
}

TEST(SupportedOps, EntriesAreSortedAndLieInTheSupportedOpsets) {
  const auto entries = all_entries();
  for (size_t i = 0; i < entries.size(); ++i) {
    EXPECT_LE(entries[i].since, entries[i].until) << entries[i].op;
    EXPECT_GE(entries[i].since, kOldestOpset) << entries[i].op;
    EXPECT_LE(entries[i].until, kNewestOpset) << entries[i].op;
    if (i > 0) {
      EXPECT_LE(std::pair(std::string(entries[i - 1].domain), std::string(entries[i - 1].op)),
                std::pair(std::string(entries[i].domain), std::string(entries[i].op)));
    }
  }
}

}  // namespace
}  // namespace actmatch::onnx_import
