// Which ONNX operators are understood, as data: (domain, operator, opset range) -> the function that lowers a node to the graph.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace actmatch::onnx_import {

class NodeContext;

inline constexpr int64_t kOldestOpset = 1, kNewestOpset = 28;

struct OpEntry {
  const char* domain;  // "" is ONNX's own
  const char* op;
  int64_t since, until;  // opsets of the model in which this meaning holds, both included
  void (*lower)(NodeContext&);
};

// All entries, sorted by domain, operator name and opset; defined in ops/register_ops.cpp.
std::span<const OpEntry> all_entries();

// The entry for a node, or null with the reason (and the cure) in `reason`.
const OpEntry* find_entry(const std::string& domain, const std::string& op, int64_t opset, std::string& reason);

}  // namespace actmatch::onnx_import
