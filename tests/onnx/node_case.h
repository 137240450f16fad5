// One node case of the ONNX project: a small model with inputs and expected outputs. It is imported in several ways, computed by the CPU
// backend, and its gradient is compared with central differences in double.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace actmatch::onnx_import {

// Which inputs are the graph's and which are constants of the file; every case is tried in this order.
enum class Feeding {
  kAll,        // all inputs at run time
  kFloats,     // integers and booleans are constants
  kFirst,      // only the first input at run time
  kConstants,  // nothing at run time: import computes what it can
};
inline constexpr int kFeedings = 4;

struct CaseResult {
  std::vector<std::string> operators;  // of its nodes, without repetition
  int64_t opset = 0;
  bool passed = false;                // some feeding was imported, and none gave a wrong result
  Feeding fed = Feeding::kConstants;  // the first feeding that was imported
  bool gradient = false;              // a gradient was compared
  std::string reason;                 // why it did not pass: the refusal of the first feeding, or what is wrong
  bool wrong = false;                 // a result or a gradient differs
};

CaseResult run_case(const std::filesystem::path& folder);

// The folders of the cases below `root`, sorted.
std::vector<std::filesystem::path> list_cases(const std::filesystem::path& root);

}  // namespace actmatch::onnx_import
