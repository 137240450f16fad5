// What the methods share that take one picture after the other: counting, timing, progress, the soft map in 0..1.
#pragma once

#include <chrono>
#include <vector>

#include "engine/explain/method.h"

namespace actmatch {

// Where a method says how far it is; throws kCancelled where a stop is wanted.
class Steps {
 public:
  Steps(const ProgressCallback& progress, int64_t picture) : progress_(progress), picture_(picture) {}
  void operator()(int64_t step, int64_t steps, const std::vector<TermTrace>* losses = nullptr) const;

 private:
  const ProgressCallback& progress_;
  int64_t picture_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

class OneByOne : public Method {
 public:
  std::vector<SoftMap> run(std::span<const Problem> problems, uint64_t seed, const ProgressCallback& progress) final;

 protected:
  explicit OneByOne(Classifier& classifier) : classifier_(classifier) {}
  // Sets `logits`, and `soft` unless that is `logits` stretched to 0..1. Cost and time are seen to.
  virtual SoftMap map(const Problem& problem, uint64_t seed, const Steps& steps) = 0;
  Classifier& classifier_;
};

// (v - min) / (max - min); zeros where all are equal.
std::vector<float> stretched(const std::vector<float>& values);

}  // namespace actmatch
