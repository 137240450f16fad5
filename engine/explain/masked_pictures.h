// The classifier on pictures under hard masks. What is asked about several pictures at a time is answered in batches that they share: the
// candidates of one picture fill a small part of a GPU.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "engine/explain/background_sets.h"
#include "engine/explain/problem.h"

namespace actmatch {

// A picture in device memory, with the masks that questions about it speak of.
class MaskedPicture {
 public:
  // `sets`: the backgrounds of this problem where there are some already; otherwise they are made.
  MaskedPicture(Backend& backend, const Problem& problem, std::shared_ptr<BackgroundSets> sets);

  void take_masks(std::span<const HardMask> masks);
  void take_jobs(std::span<const kernels::SelectJob> jobs);
  kernels::SelectSources<float> sources() const { return sources_; }
  const kernels::SelectJob* jobs() const { return jobs_.data(); }
  float* gain();  // [H, W]
  std::vector<float> download_gain() const { return gain_.download(); }

 private:
  Backend& backend_;
  int64_t pixels_;
  std::shared_ptr<BackgroundSets> sets_;
  DeviceBuffer x_, colour_, gain_;
  DeviceArray<uint8_t> masks_;
  DeviceArray<kernels::SelectJob> jobs_;
  kernels::SelectSources<float> sources_;  // of the latest jobs
};

// What is asked about one picture: the logits of the jobs' images, or how those change with each pixel of the mask.
struct MaskedQuestion {
  MaskedPicture* picture = nullptr;
  std::span<const HardMask> masks;  // that the jobs speak of; empty: those of the question before
  std::span<const kernels::SelectJob> jobs;
  bool complement = false;
  // Writes over an image's row of logits the gradient that goes back from it; empty: none does.
  std::function<void(std::span<float> row)> gradient_of;
  float sign = 1.0f;    // with a gradient: see select_gain
  bool inside = false;  // likewise
  // The logits [jobs, classes]; with a gradient the gain [H, W].
  std::vector<float> answer;
};

// Answers all of them; the jobs of those of one kind stand one after another in the batches.
void answer_together(Classifier& classifier, std::span<MaskedQuestion* const> questions);

// Where a picture's questions go.
class MaskedAnswers {
 public:
  virtual ~MaskedAnswers() = default;
  virtual void answer(MaskedQuestion& question) = 0;
};

// Each question by itself, at once.
class AnswersAtOnce : public MaskedAnswers {
 public:
  explicit AnswersAtOnce(Classifier& classifier) : classifier_(classifier) {}
  void answer(MaskedQuestion& question) override;

 private:
  Classifier& classifier_;
};

}  // namespace actmatch
