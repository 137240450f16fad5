// Reading ahead and handing on, with threads that are slow, fast, failing and stopped.
#include "engine/api/pipeline.h"

#include <gtest/gtest.h>

#include <atomic>
#include <numeric>
#include <stdexcept>

namespace actmatch::api {
namespace {

using namespace std::chrono_literals;

const std::function<void()> kIdle = [] {};

TEST(Prefetch, GivesItemsInOrder) {
  for (const size_t threads : {1u, 4u}) {
    for (const size_t ahead : {1u, 2u, 7u, 100u}) {
      Prefetch<size_t> items(50, ahead, threads, [](size_t i) {
        if (i % 7 == 0) std::this_thread::sleep_for(1ms);
        return i * i;
      });
      for (size_t i = 0; i < 50; ++i) ASSERT_EQ(items.take(kIdle), i * i);
    }
  }
}

TEST(Prefetch, IsNeverFurtherAheadThanAllowed) {
  std::atomic<size_t> begun = 0, taken = 0, most = 0;
  Prefetch<size_t> items(60, 5, 3, [&](size_t i) {
    const size_t lead = ++begun - taken;
    for (size_t seen = most; lead > seen && !most.compare_exchange_weak(seen, lead);) {
    }
    return i;
  });
  for (int i = 0; i < 5000 && begun < 5; ++i) std::this_thread::sleep_for(1ms);
  std::this_thread::sleep_for(20ms);
  EXPECT_EQ(begun, 5u) << "so many, without being asked, and then it waits";
  for (size_t i = 0; i < 60; ++i) {
    items.take(kIdle);
    ++taken;
  }
  EXPECT_LE(most, 6u);  // taken is counted a moment late
  EXPECT_EQ(begun, 60u);
}

TEST(Prefetch, WhatFailsComesOutInItsPlace) {
  Prefetch<int> items(3, 3, 2, [](size_t i) {
    if (i == 1) throw std::runtime_error("one");
    return static_cast<int>(i);
  });
  EXPECT_EQ(items.take(kIdle), 0);
  EXPECT_THROW(items.take(kIdle), std::runtime_error);
  EXPECT_EQ(items.take(kIdle), 2);
}

TEST(Prefetch, WaitingCanBeGivenUp) {
  std::atomic<bool> go = false;
  struct Stop {};
  {
    Prefetch<int> items(10, 2, 2, [&](size_t) {
      while (!go) std::this_thread::sleep_for(1ms);
      return 0;
    });
    int calls = 0;
    EXPECT_THROW(items.take([&] {
      if (++calls == 2) throw Stop();
    }),
                 Stop);
    EXPECT_EQ(calls, 2);
    go = true;
  }  // and the end waits for no more than what has begun
}

TEST(Prefetch, EndsWithItemsThatNobodyTook) {
  Prefetch<std::vector<int>> items(1000, 4, 4, [](size_t i) { return std::vector<int>(i); });
  EXPECT_EQ(items.take(kIdle).size(), 0u);
}

TEST(Delivery, HandsOnEverythingInOrder) {
  std::vector<int> got;
  Delivery<int> delivery(3, [&](int i) {
    if (i % 5 == 0) std::this_thread::sleep_for(1ms);
    got.push_back(i);
    return true;
  });
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(delivery.push(i));
  delivery.finish();
  std::vector<int> want(100);
  std::iota(want.begin(), want.end(), 0);
  EXPECT_EQ(got, want);
  EXPECT_FALSE(delivery.refused());
}

TEST(Delivery, KeepsNoMoreThanItsCapacity) {
  std::atomic<bool> go = false;
  std::atomic<int> pushed = 0;
  Delivery<int> delivery(2, [&](int) {
    while (!go) std::this_thread::sleep_for(1ms);
    return true;
  });
  std::thread bringer([&] {
    for (int i = 0; i < 10; ++i) {
      delivery.push(i);
      ++pushed;
    }
  });
  std::this_thread::sleep_for(30ms);
  EXPECT_LE(pushed, 3);  // two wait and one is in hand
  go = true;
  bringer.join();
  delivery.finish();
  EXPECT_EQ(pushed, 10);
}

TEST(Delivery, StopsWhenTheReceiverWantsNoMore) {
  std::vector<int> got;
  Delivery<int> delivery(2, [&](int i) {
    got.push_back(i);
    return i < 3;
  });
  int accepted = 0;
  for (int i = 0; i < 1000; ++i) accepted += delivery.push(i);
  EXPECT_LT(accepted, 1000);
  EXPECT_TRUE(delivery.refused());
  delivery.finish();
  EXPECT_EQ(got, (std::vector<int>{0, 1, 2, 3}));
}

TEST(Delivery, DeliversWhatIsLeftWhenItEnds) {
  int got = 0;
  {
    Delivery<int> delivery(10, [&](int) {
      std::this_thread::sleep_for(1ms);
      return ++got > 0;
    });
    for (int i = 0; i < 10; ++i) delivery.push(i);
  }
  EXPECT_EQ(got, 10);
}

}  // namespace
}  // namespace actmatch::api
