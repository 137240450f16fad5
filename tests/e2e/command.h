// Runs the built command as its users do, and small helpers around it.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/temporary_folder.h"

namespace actmatch::e2e {

namespace fs = std::filesystem;
using test::TemporaryFolder;

struct Outcome {
  int status = -1;  // exit status; 128 + signal where one ended it
  std::string out, err;
};

// Starts `build/actmatch ARGUMENTS`. With `interrupt_after` (a text), SIGINT is sent as soon as that text shows on stderr or stdout.
Outcome run_actmatch(const std::vector<std::string>& arguments, const std::string& interrupt_after = {});

// A folder with a backend module (tests/backend/modules): "none", "fake_gpu", "nodriver", ...
inline std::string module_folder(const std::string& kind) { return std::string(ACTMATCH_BINARY_DIR) + "/test_modules/" + kind; }

// A variable of the environment, also of the programs that are started, while this lives.
class Environment {
 public:
  Environment(const char* name, const std::string& value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    ::setenv(name, value.c_str(), 1);
  }
  ~Environment() { before_ ? ::setenv(name_, before_->c_str(), 1) : ::unsetenv(name_); }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  const char* name_;
  std::optional<std::string> before_;
};

inline std::string example(const std::string& name) { return std::string(ACTMATCH_SOURCE_DIR) + "/examples/" + name; }
inline std::string shapes_model() { return example("shapes96.onnx"); }

// A file of the data folder (ACTMATCH_DATA, by default ../shared/data beside the source); empty when it is not there.
inline std::string data_file(const std::string& name) {
  const char* folder = std::getenv("ACTMATCH_DATA");
  const fs::path path = (folder ? fs::path(folder) : fs::path(ACTMATCH_SOURCE_DIR) / "../shared/data") / name;
  return fs::exists(path) ? path.string() : std::string();
}

inline std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}
inline void write(const std::string& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }
inline nlohmann::json json_of(const std::string& path) { return nlohmann::json::parse(contents(path)); }

// Every file under a folder, as paths relative to it, sorted; empty when there is no such folder.
std::vector<std::string> files_under(const std::string& folder);

// The one line that every failure must leave: "actmatch: ..." and nothing else.
void expect_one_line(const Outcome& outcome);

// `explain` arguments that are quick: few steps, the shipped model.
inline std::vector<std::string> quick_explain(const std::string& image, const std::string& out, std::vector<std::string> more = {}) {
  std::vector<std::string> all{"explain", shapes_model(), image, "--out", out, "--steps", "30", "--backgrounds", "8", "--threads", "1"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

}  // namespace actmatch::e2e
