// How many pictures are explained at once: as many as keep the device busy and fit its memory, fewer where that turns out to be too many.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "engine/explain/explainer.h"

namespace actmatch {

struct BatchFacts {
  int64_t pictures = 1;   // that are there
  int64_t passes = 1;     // images through the classifier in a step, for each picture
  int64_t preferred = 1;  // images in a pass that keep the device busy
  size_t room = 0;        // bytes that there would be if nothing were prepared; 0: the device does not tell
  size_t fixed = 0;       // bytes that the optimisation takes whatever the batch
  size_t each = 0;        // and for each picture
};

// At least 1, at most `pictures`; 1 where the device does not tell its memory. Programs for the checks of hard masks, which are made when
// the first masks are there, get their room too. Batches are of even size: ten pictures of which eight would fit go as five and five.
int64_t choose_batch(const BatchFacts& facts);

class BatchSize {
 public:
  // `asked`: so many, 0: as choose_batch() says, where the explainer's needs are judged by the batch that it is ready for. Throws
  // kOutOfMemory where it is not ready for any and cannot be made so.
  BatchSize(Explainer& explainer, Classifier& classifier, int64_t asked, int64_t pictures);

  int64_t get() const { return size_; }
  // Memory ran out: half as many pictures at once; for a single one, half as many images at once in its checks. Returns what was done, for
  // people; empty: nothing is left to be made smaller.
  std::string reduce();

 private:
  Classifier& classifier_;
  int64_t size_;
};

}  // namespace actmatch
