#include "onnx_import/op_registry.h"

#include <algorithm>
#include <cstring>

namespace actmatch::onnx_import {

const OpEntry* find_entry(const std::string& domain, const std::string& op, int64_t opset, std::string& reason) {
  int64_t oldest = 0, newest = 0;
  struct Before {  // by domain, then by name, as they are sorted
    bool operator()(const OpEntry& a, const OpEntry& b) const {
      const int domains = std::strcmp(a.domain, b.domain);
      return domains != 0 ? domains < 0 : std::strcmp(a.op, b.op) < 0;
    }
  };
  const auto entries = all_entries();
  const auto [first, last] = std::equal_range(entries.begin(), entries.end(), OpEntry{domain.c_str(), op.c_str(), 0, 0, nullptr}, Before());
  for (const OpEntry& entry : std::span(first, last)) {
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
