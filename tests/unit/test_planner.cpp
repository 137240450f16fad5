// The memory planner: requests that are alive together never overlap, and little is wasted.
#include "engine/memory/planner.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>

#include "engine/core/error.h"

namespace actmatch {
namespace {

// Overlaps, alignment, total and lower bound, all by definition.
void check_plan(const std::vector<LifetimeRequest>& requests, const MemoryPlan& plan, size_t alignment) {
  const auto rounded = [&](const LifetimeRequest& r) { return (r.bytes + alignment - 1) / alignment * alignment; };
  ASSERT_EQ(plan.offsets.size(), requests.size());
  size_t end = 0, bound = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(plan.offsets[i] % alignment, 0u);
    end = std::max(end, plan.offsets[i] + rounded(requests[i]));
    size_t live = 0;  // the busiest step is one where some request begins
    for (const LifetimeRequest& r : requests)
      if (r.first <= requests[i].first && requests[i].first <= r.last) live += rounded(r);
    bound = std::max(bound, live);
    for (size_t j = 0; j < i; ++j) {
      const bool together = requests[i].first <= requests[j].last && requests[j].first <= requests[i].last;
      const bool share = plan.offsets[i] < plan.offsets[j] + requests[j].bytes && plan.offsets[j] < plan.offsets[i] + requests[i].bytes;
      EXPECT_FALSE(together && share && requests[i].bytes > 0 && requests[j].bytes > 0) << "requests " << j << " and " << i;
    }
  }
  EXPECT_EQ(plan.total_bytes, end);
  EXPECT_EQ(plan.lower_bound, bound);
  EXPECT_GE(plan.total_bytes, plan.lower_bound);
}

TEST(Planner, ReusesMemoryAndFillsTheTightestGap) {
  // Placed by size: 1000 900 800 700 600. At step 2 the places of the 900 and the 700 are free again; 550 belongs into the smaller one.
  const std::vector<LifetimeRequest> requests{{1000, 0, 3}, {900, 0, 1}, {800, 0, 3}, {700, 0, 1}, {600, 0, 3}, {550, 2, 3}};
  const MemoryPlan plan = plan_memory(requests, 4);
  check_plan(requests, plan, 4);
  EXPECT_EQ(plan.offsets[5], plan.offsets[3]);
  EXPECT_EQ(plan.total_bytes, 4000u);
}

TEST(Planner, SequentialBuffersShareOnePlace) {
  std::vector<LifetimeRequest> requests;
  for (int i = 0; i < 10; ++i) requests.push_back({1000, 2 * i, 2 * i + 1});
  const MemoryPlan plan = plan_memory(requests);
  EXPECT_EQ(plan.total_bytes, 1024u) << "1000 rounded up to the alignment of 64";
  EXPECT_EQ(plan.offsets, std::vector<size_t>(10, 0));
}

TEST(Planner, LifetimesAreInclusive) {
  const std::vector<LifetimeRequest> requests{{64, 0, 1}, {64, 1, 2}};
  EXPECT_EQ(plan_memory(requests).total_bytes, 128u) << "both are touched in step 1";
}

TEST(Planner, NothingAndEmptyRequestsTakeNothing) {
  EXPECT_EQ(plan_memory({}).total_bytes, 0u);
  const std::vector<LifetimeRequest> requests{{0, 0, 5}, {0, 0, 5}};
  EXPECT_EQ(plan_memory(requests).total_bytes, 0u);
}

TEST(Planner, RandomLifetimesNeverOverlap) {
  double worst = 1;
  for (uint32_t seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    std::vector<LifetimeRequest> requests(1 + random() % 60);
    for (LifetimeRequest& r : requests) {
      const int first = static_cast<int>(random() % 50);
      r = {random() % 5000, first, first + static_cast<int>(random() % (seed % 2 ? 5 : 50))};
    }
    const size_t alignment = seed % 3 == 0 ? 1 : seed % 3 == 1 ? 64 : 48;  // not only powers of two
    const MemoryPlan plan = plan_memory(requests, alignment);
    check_plan(requests, plan, alignment);
    if (plan.lower_bound > 0) worst = std::max(worst, static_cast<double>(plan.total_bytes) / static_cast<double>(plan.lower_bound));
  }
  EXPECT_LT(worst, 1.4) << "decreasing-size best fit stays near the bound also on lifetimes without any structure";
}

// Training a chain: layer i writes an activation that its own backward step reads, and a gradient that lives for two steps; every
// step has scratch of its own. Sizes shrink along the chain as in a classifier.
TEST(Planner, StaysNearTheLowerBoundOnChains) {
  for (int depth : {5, 20, 60, 150}) {
    std::mt19937 random(static_cast<uint32_t>(depth));
    std::vector<LifetimeRequest> requests;
    for (int i = 0; i < depth; ++i) {
      const size_t size = (size_t{1} << 20) / (1 + static_cast<size_t>(i) * 8 / static_cast<size_t>(depth)) + random() % 4096;
      const bool saved = random() % 3 != 0;
      const int backward = 2 * depth - 1 - i;
      requests.push_back({size, i, saved ? backward : i + 1});
      requests.push_back({size, backward - 1, backward});
      requests.push_back({random() % (size_t{1} << 19), i, i});
    }
    const MemoryPlan plan = plan_memory(requests);
    check_plan(requests, plan, 64);
    // The bound itself is often not reachable; 1.07 is the worst seen here, 1.15 would mean that placement has got worse.
    EXPECT_LE(static_cast<double>(plan.total_bytes), 1.15 * static_cast<double>(plan.lower_bound)) << "depth " << depth;
  }
}

TEST(Planner, RefusesWhatCannotBeAddressed) {
  const size_t huge = std::numeric_limits<size_t>::max() - 10;
  for (const auto& requests : {std::vector<LifetimeRequest>{{huge, 0, 1}}, std::vector<LifetimeRequest>{{huge / 2, 0, 1}, {huge, 0, 1}}}) {
    try {
      plan_memory(requests);
      ADD_FAILURE() << "no error was thrown";
    } catch (const Error& e) {
      EXPECT_EQ(static_cast<int>(e.code()), static_cast<int>(ErrorCode::kOutOfMemory)) << e.what();
    }
  }
  EXPECT_THROW(plan_memory(std::vector<LifetimeRequest>{{1, 2, 1}}), Error);
}

}  // namespace
}  // namespace actmatch
