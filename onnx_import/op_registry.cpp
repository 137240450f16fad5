#include "onnx_import/op_registry.h"

#include <algorithm>

namespace actmatch::onnx_import {

const OpEntry* find_entry(const std::string& domain, const std::string& op, int64_t opset, std::string& reason) {
  int64_t oldest = 0, newest = 0;
  for (const OpEntry& entry : all_entries()) {
    if (op != entry.op || domain != entry.domain) continue;
    if (opset >= entry.since && opset <= entry.until) return &entry;
    oldest = oldest == 0 ? entry.since : std::min(oldest, entry.since);
    newest = std::max(newest, entry.until);
  }
  if (newest == 0) {
    reason = "unknown operator";
    if (!domain.empty()) reason += " of the domain '" + domain + "'";
    reason += "; export the model with standard operators (the list: onnx_import/SUPPORTED_OPS.md)";
  } else {
    reason = "known in opsets " + std::to_string(oldest) + " to " + std::to_string(newest) + " only; export the model with one of these";
  }
  return nullptr;
}

}  // namespace actmatch::onnx_import
