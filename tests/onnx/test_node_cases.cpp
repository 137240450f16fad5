// All node cases of the ONNX project, from Debian's libonnx-testdata and, where ACTMATCH_NODE_CASES names a folder that make_node_cases.py
// wrote, those of another release. Each passes or is listed in node_cases_skipped.txt with a reason; the counts are published in
// onnx_import/NODE_CASES.md, which this test compares (or writes, with ACTMATCH_WRITE_TABLES=1).
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <regex>
#include <sstream>

#include "onnx_import/op_registry.h"
#include "tests/onnx/node_case.h"

namespace actmatch::onnx_import {
namespace {

constexpr const char* kDebianFolder = "/usr/share/libonnx-testdata/data/node";
constexpr const char* kTable = ACTMATCH_SOURCE_DIR "/onnx_import/NODE_CASES.md";
constexpr const char* kSkipList = ACTMATCH_SOURCE_DIR "/tests/onnx/node_cases_skipped.txt";

struct Skip {
  std::string pattern, reason;
  std::regex regex;  // of "operator/case"
  bool used = false;
};

// Lines "pattern | reason"; # starts a comment.
std::vector<Skip> read_skips() {
  std::vector<Skip> skips;
  std::ifstream file(kSkipList);
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    const size_t bar = line.find(" | ");
    if (bar == std::string::npos) {
      ADD_FAILURE() << "a line without a reason: " << line;
      continue;
    }
    const std::string pattern = line.substr(0, line.find_last_not_of(' ', bar) + 1);
    skips.push_back({pattern, line.substr(bar + 3), std::regex(pattern), false});
  }
  return skips;
}

struct Counts {
  int run_time = 0, partly = 0, constants = 0, gradients = 0, skipped = 0, failed = 0;
  std::map<std::string, int> reasons;
};

std::string operator_of(const CaseResult& result) { return result.operators.size() == 1 ? result.operators[0] : "several"; }

std::string table_of(const std::map<std::string, Counts>& by_operator, int64_t opset, int cases) {
  std::ostringstream out;
  Counts all;
  std::ostringstream rows;
  for (const auto& [op, c] : by_operator) {
    rows << "| " << op << " | " << c.run_time << " | " << c.partly << " | " << c.constants << " | " << c.gradients << " | " << c.skipped
         << " | " << c.failed << " | ";
    bool first = true;
    for (const auto& [reason, count] : c.reasons) rows << (std::exchange(first, false) ? "" : "; ") << reason << " (" << count << ")";
    rows << " |\n";
    all.run_time += c.run_time, all.partly += c.partly, all.constants += c.constants;
    all.gradients += c.gradients, all.skipped += c.skipped, all.failed += c.failed;
  }
  out << "## Opsets up to " << opset << ": " << cases << " cases\n\n"
      << "Passed " << all.run_time + all.partly + all.constants << ", skipped " << all.skipped << ", failed " << all.failed << ".\n\n"
      << "| operator | passed, all inputs fed | passed, some fed | passed as constants | gradients compared | skipped | failed | why "
         "skipped |\n"
      << "|---|---|---|---|---|---|---|---|\n"
      << "| all | " << all.run_time << " | " << all.partly << " | " << all.constants << " | " << all.gradients << " | " << all.skipped
      << " | " << all.failed << " | |\n"
      << rows.str();
  return out.str();
}

constexpr const char* kHead =
    "# The ONNX project's node cases\n\n"
    "What becomes of each of them; `tests/onnx/test_node_cases.cpp` writes and checks these tables. \"All inputs fed\": every input of "
    "the\n"
    "case is an input of the graph. \"Some fed\": integers, or all but the first, are constants of the file, as they are in classifiers "
    "(the\n"
    "target of a Reshape, the axes of a sum). \"Gradients\": compared with central differences in double, at the case's own inputs. Rows\n"
    "\"several\" are cases of more than one node, most of them operators that the standard defines by others, written out. Skipped cases "
    "and\n"
    "the reasons: `tests/onnx/node_cases_skipped.txt`.\n";

// The file's parts, by heading.
std::map<int, std::string> read_sections() {
  std::map<int, std::string> sections;
  std::ifstream file(kTable);
  int opset = 0;
  for (std::string line; std::getline(file, line);) {
    int number = 0;
    if (std::sscanf(line.c_str(), "## Opsets up to %d:", &number) == 1) opset = number;
    if (opset > 0) sections[opset] += line + "\n";
  }
  for (auto& [key, text] : sections)
    while (text.ends_with("\n\n")) text.pop_back();
  return sections;
}

void run_folder(const std::filesystem::path& root, std::vector<Skip>& skips, std::map<int, std::string>& sections) {
  std::map<std::string, Counts> by_operator;
  int64_t newest = 0;
  const auto cases = list_cases(root);
  for (const auto& folder : cases) {
    const std::string name = folder.filename().string();
    SCOPED_TRACE(name);
    CaseResult result;
    try {
      result = run_case(folder);
    } catch (const std::exception& error) {
      result.wrong = true;
      result.reason = error.what();
    }
    newest = std::max(newest, result.opset);
    const std::string op = operator_of(result);
    Counts& counts = by_operator[op];
    const std::string key = op + "/" + name;
    Skip* skip = nullptr;
    for (Skip& s : skips)
      if (std::regex_search(key, s.regex)) {
        s.used = true;
        if (!skip) skip = &s;
      }
    if (result.passed) {
      ++(result.fed == Feeding::kAll ? counts.run_time : result.fed == Feeding::kConstants ? counts.constants : counts.partly);
      counts.gradients += result.gradient;
      EXPECT_FALSE(skip) << key << " works; take it out of " << kSkipList << ": " << skip->pattern;
      continue;
    }
    if (skip) {
      ++counts.skipped;
      ++counts.reasons[skip->reason];
      continue;
    }
    ++counts.failed;
    ADD_FAILURE() << key << (result.wrong ? " is wrong: " : " is refused: ") << result.reason;
  }
  sections[static_cast<int>(newest)] = table_of(by_operator, newest, static_cast<int>(cases.size()));
}

TEST(NodeCases, EveryCaseOfTheOnnxProjectPassesOrHasAReason) {
  std::vector<std::filesystem::path> folders;
  if (std::filesystem::is_directory(kDebianFolder)) folders.emplace_back(kDebianFolder);
  const char* more = std::getenv("ACTMATCH_NODE_CASES");
  if (more) {
    ASSERT_TRUE(std::filesystem::is_directory(more)) << "ACTMATCH_NODE_CASES: " << more;
    folders.emplace_back(more);
  }
  if (folders.empty()) GTEST_SKIP() << "install libonnx-testdata, or set ACTMATCH_NODE_CASES to what make_node_cases.py wrote";
  std::vector<Skip> skips = read_skips();
  const std::map<int, std::string> published = read_sections();
  std::map<int, std::string> sections;
  for (const auto& folder : folders) run_folder(folder, skips, sections);
  for (const Skip& skip : skips) EXPECT_TRUE(skip.used || !more) << "no case matches " << skip.pattern << " in " << kSkipList;
  if (std::getenv("ACTMATCH_WRITE_TABLES")) {
    std::map<int, std::string> merged = published;
    for (const auto& [opset, text] : sections) merged[opset] = text;
    std::ofstream file(kTable);
    file << kHead;
    for (const auto& [opset, text] : merged) file << "\n" << text;
    return;
  }
  for (const auto& [opset, text] : sections) {
    const auto found = published.find(opset);
    if (found == published.end())
      std::cout << "opset " << opset << " is not in " << kTable << "; its counts are not compared\n";
    else
      EXPECT_EQ(found->second, text) << "run again with ACTMATCH_WRITE_TABLES=1";
  }
}

}  // namespace
}  // namespace actmatch::onnx_import
