#include "engine/memory/planner.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "engine/core/error.h"

namespace actmatch {
namespace {

size_t round_up(size_t bytes, size_t alignment) {
  const size_t rest = bytes % alignment;
  size_t rounded = bytes;
  if (rest != 0 && __builtin_add_overflow(bytes, alignment - rest, &rounded))
    throw Error(ErrorCode::kOutOfMemory, "a buffer of " + std::to_string(bytes) + " bytes cannot be addressed; use a smaller batch");
  return rounded;
}

// The largest sum of sizes over all steps, by a sweep over the steps where something begins or ends.
size_t largest_live_sum(std::span<const LifetimeRequest> requests, const std::vector<size_t>& sizes) {
  struct Change {
    size_t begins = 0, ends = 0;
  };
  std::map<int64_t, Change> changes;  // what ends at step s is gone from s + 1 on
  for (size_t i = 0; i < requests.size(); ++i) {
    changes[requests[i].first].begins += sizes[i];
    changes[int64_t{requests[i].last} + 1].ends += sizes[i];
  }
  size_t live = 0, largest = 0;
  for (const auto& [step, change] : changes) {
    live = live - change.ends + change.begins;
    largest = std::max(largest, live);
  }
  return largest;
}

}  // namespace

MemoryPlan plan_memory(std::span<const LifetimeRequest> requests, size_t alignment) {
  ACTMATCH_CHECK(alignment > 0, "alignment is zero");
  std::vector<size_t> sizes;
  size_t sum = 0;
  for (const LifetimeRequest& r : requests) {
    ACTMATCH_CHECK(r.first <= r.last, "a lifetime ends before it begins");
    sizes.push_back(round_up(r.bytes, alignment));
    if (__builtin_add_overflow(sum, sizes.back(), &sum))
      throw Error(ErrorCode::kOutOfMemory, "the buffers together cannot be addressed; use a smaller batch");
  }

  MemoryPlan plan;
  plan.offsets.assign(requests.size(), 0);
  plan.lower_bound = largest_live_sum(requests, sizes);

  // Large ones first: they are the hard ones to place, small ones fill the gaps between them.
  std::vector<size_t> order(requests.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return sizes[a] > sizes[b]; });

  std::vector<size_t> placed;  // ascending by offset
  for (size_t r : order) {
    if (sizes[r] == 0) continue;
    size_t best_offset = 0, best_gap = 0, end = 0;  // end: of everything seen so far that is alive together with r
    bool found = false;
    for (size_t p : placed) {
      if (requests[p].last < requests[r].first || requests[r].last < requests[p].first) continue;
      const size_t gap = plan.offsets[p] > end ? plan.offsets[p] - end : 0;
      if (gap >= sizes[r] && (!found || gap < best_gap)) {
        found = true;
        best_offset = end;
        best_gap = gap;
      }
      end = std::max(end, plan.offsets[p] + sizes[p]);
    }
    plan.offsets[r] = found ? best_offset : end;
    plan.total_bytes = std::max(plan.total_bytes, plan.offsets[r] + sizes[r]);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), r, [&](size_t a, size_t b) { return plan.offsets[a] < plan.offsets[b]; }),
                  r);
  }
  return plan;
}

}  // namespace actmatch
