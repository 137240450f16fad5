// What ranks the pixels of a picture. Every method of explaining is one of these; what comes after it (level set, pruning, certificate) is
// the same for all, so that their areas can be compared.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engine/explain/problem.h"

namespace actmatch {

struct TermTrace {
  std::string term;           // "act", "kl", "ce", "margin", "area", "bin", "tv", "rob", "nec", unweighted; "total", weighted
  std::vector<float> values;  // one a step
};

// After each step and for each picture of the batch in turn. Where the device works ahead by itself, several steps are reported at once.
struct Progress {
  int64_t step = 0, steps = 0;
  double area = 0;  // of the hard mask; 0: the method has none yet
  const std::vector<TermTrace>* losses = nullptr;
  double seconds = 0, seconds_left = 0;
  int64_t picture = 0;  // its place in the batch
};
// Return false to stop; the caller of the loop then throws kCancelled.
using ProgressCallback = std::function<bool(const Progress&)>;

// What a method says of one picture.
struct SoftMap {
  std::vector<float> logits;  // [H, W] in the method's own units: the larger, the more the pixel counts. This is what ranks pixels.
  std::vector<float> soft;    // [H, W] in 0..1, in the same order
  HardMask best;              // a hard mask that the method itself ends with; empty where it has none
  std::vector<TermTrace> losses;
  int64_t steps = 0;
  int64_t passes_per_step = 0;        // images through the classifier in one step, for this picture
  int64_t forward = 0, backward = 0;  // what it cost: images through the classifier, and gradients back to an image or a layer
  double seconds = 0;                 // this picture's share of the batch's time
  size_t memory_bytes = 0;            // and of its programs: arena, weights, exposed values
  std::string failure;                // the loss became no number: the rest is worthless. Empty: all is well
};

class Method {
 public:
  virtual ~Method() = default;
  // One map for each problem. The problems share seed, criterion and random backgrounds; what is found for a picture does not depend on
  // the others.
  virtual std::vector<SoftMap> run(std::span<const Problem> problems, uint64_t seed, const ProgressCallback& progress) = 0;
};

}  // namespace actmatch
