// From a soft mask to a small hard one: the smallest feasible level set, then greedy removal of tiles until no single one can go.
#pragma once

#include <functional>
#include <vector>

#include "engine/explain/feasibility.h"

namespace actmatch {

struct PruneOptions {
  int64_t tile = 8;      // side of the tiles of the certificate, in pixels
  int64_t coarsest = 4;  // removal starts with tiles this many times as wide, halving down to `tile`
  int64_t finest = 2;    // sufficient: and it ends with tiles this many times narrower than `tile`; 1: not finer than the certificate
  int64_t levels = 24;   // level sets tried for the start; the last one is everything
};

struct PruneResult {
  HardMask mask;
  bool feasible = false;  // on the criterion, robust claims on the certify stream
  bool minimal = false;   // no single tile can be removed
  double start_area = 0;  // of the mask that pruning began with
  int64_t rounds = 0;
};

// Called between rounds with the current area; return false to stop (kCancelled).
using PruneProgress = std::function<bool(double area)>;

// The hard mask of the `count` pixels with the largest logits among the allowed ones; ties go to the lower index.
HardMask level_set(const std::vector<float>& logits, int64_t count, const std::vector<uint8_t>& allowed);

// `logits` [H, W] rank the pixels; `candidates` are further masks worth trying as a start. The result is feasible unless not even the
// whole image (or all that is allowed of it) is; then `mask` is the start with the highest probability.
PruneResult prune_mask(FeasibilityChecker& checker, const Problem& problem, const ClassifierShape& shape, const std::vector<float>& logits,
                       const std::vector<HardMask>& candidates, const PruneOptions& options, const PruneProgress& progress);

// Is the mask 1-minimal: does removing any one tile break the criterion? A robust criterion counts the certify stream.
bool is_minimal(FeasibilityChecker& checker, const HardMask& mask, int64_t height, int64_t width, int64_t tile, bool robust);

}  // namespace actmatch
