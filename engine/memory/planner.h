// Lifetimes -> offsets in one arena. Pure host code, the same for every backend.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace actmatch {

struct LifetimeRequest {
  size_t bytes = 0;
  int first = 0;  // the step that writes it first
  int last = 0;   // the last step that touches it, inclusive
};

struct MemoryPlan {
  std::vector<size_t> offsets;  // by request
  size_t total_bytes = 0;       // size of the arena
  size_t lower_bound = 0;       // the largest sum of live requests at any step: no plan can be smaller
};

// Best fit by decreasing size; every offset is a multiple of `alignment`. Requests whose lifetimes overlap never share bytes.
MemoryPlan plan_memory(std::span<const LifetimeRequest> requests, size_t alignment = 64);

}  // namespace actmatch
