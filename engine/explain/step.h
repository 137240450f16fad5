// One step of the optimisation for a batch of pictures, all of it on the device: generator, masks, composed images, classifier, losses,
// the way back, Adam, area controller. Nothing is up- or downloaded between the first step and the last; what changes from step to step
// (the step's number, backgrounds, areas, widths, the trace of the losses) the kernels read and write in device memory, so that the step is
// recorded once and replayed. A picture's numbers do not depend on its neighbours in the batch.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/backend/kernels.h"
#include "engine/explain/problem.h"
#include "engine/explain/recipe.h"
#include "engine/explain/smooth.h"
#include "engine/explain/trainable.h"

namespace actmatch {

// Names of the values whose activations the recipe matches: its own, or those chosen automatically; none where it does not weigh them.
// Throws kInvalidArgument where it has no distances or weights for them.
std::vector<std::string> matched_taps(const Classifier& classifier, const Recipe& recipe);

class OptimisationStep {
 public:
  // The trace holds this many of the latest steps.
  static constexpr int64_t kTraceSteps = 64;

  // Compiles the classifier and the generator for `batch` pictures. `shared`: they have one generator, a net, whose loss is the mean of
  // theirs; otherwise each has its own.
  OptimisationStep(Classifier& classifier, const Recipe& recipe, const std::vector<std::string>& tap_names, int64_t batch,
                   bool shared = false);
  OptimisationStep(const OptimisationStep&) = delete;
  OptimisationStep& operator=(const OptimisationStep&) = delete;

  // Puts everything at its beginning for these pictures; at most batch() of them, the places left over repeat the last one. They share
  // seed, criterion and random backgrounds.
  void start(std::span<const Problem> problems, uint64_t seed);
  void run();     // the next step; returns at once where the device works by itself
  void finish();  // the masks after the last step

  // Of a shared generator, after start(): the pictures of step `number` (from 1). Generator and Adam's memory stay as they are. The hard
  // masks have the shares `areas` of the pixels, for each picture one, where the recipe has a schedule: the areas are the caller's affair.
  void show(std::span<const Problem> problems, int64_t number, std::span<const double> areas, double learning_rate);
  void look();  // what run() records of a step on hard masks, without the way back: nothing is trained
  Trainable& generator() { return *generator_; }

  int64_t batch() const { return batch_; }
  int64_t passes() const { return passes_; }
  static int64_t passes_of(const Recipe& recipe);  // images through the classifier in a step, for each picture
  const ClassifierShape& shape() const { return classifier_.shape(); }
  // The trace with the number of steps done before it, one block of memory for a Readback.
  const float* report() const { return report_.data(); }
  size_t report_floats() const { return static_cast<size_t>(report_.count()); }
  // Reads a copy of that block.
  struct Report {
    explicit Report(std::span<const float> copy, int64_t pictures) : copy_(copy), batch_(pictures) {}
    int64_t steps_done() const;
    std::span<const float> row(int64_t step, int64_t picture) const;  // step from 0, by kernels::TraceColumn

   private:
    std::span<const float> copy_;
    int64_t batch_;
  };

  std::vector<float> logits(int64_t picture) const { return plane(generator_->logits(), picture); }
  std::vector<float> soft(int64_t picture) const { return plane(soft_.data(), picture); }
  HardMask best(int64_t picture) const;  // empty when no mask was kept
  struct Memory {
    size_t programs = 0;  // of the three programs: arena, weights, exposed values
    size_t fixed = 0;     // what does not grow with the batch
    size_t by_batch = 0;  // what does, of all of it
  };
  Memory memory() const;
  std::string implementation() const;  // of the recorded step: the one with soft masks, the one with hard masks

 private:
  struct Tap {
    ValueId value;
    kernels::TapDistance distance;
    double weight;
    Classifier::TapView view;
    DeviceBuffer prepared, constant, row_weight;
  };
  // What a recording holds by value, apart from addresses.
  struct Frozen {
    kernels::BackgroundSpec backgrounds;
    int64_t needed = 0;
    bool operator==(const Frozen&) const = default;
  };

  void settle(std::span<const Problem> problems);
  void upload(std::span<const Problem> problems, std::span<const double> areas = {});
  void prepare_taps(std::span<const Problem> problems);
  void body(bool soft, bool train = true);
  // What a step consists of, in step_body.cpp.
  void forward_to_masks();
  std::vector<Kernels::Pass> compose(bool soft);
  void clear_gradients();
  void logit_losses();
  void tap_losses();
  void back_to_masks(std::span<const Kernels::Pass> passes);
  void regularise(bool train);
  void back_to_generator();
  void optimise();
  void control(bool soft);
  void trace();
  std::vector<float> plane(const float* planes, int64_t picture) const;
  uint32_t* step_number() const { return reinterpret_cast<uint32_t*>(report_.data()); }

  static constexpr size_t kReportHead = 4;  // floats before the trace; the first one's bits are the step's number, from 1

  Classifier& classifier_;
  Backend& backend_;
  Kernels& k_;
  Recipe recipe_;
  int64_t batch_, robust_, random_, passes_, C_, H_, W_, HW_, K_;
  bool necessity_, shared_;
  int64_t fall_steps_, soft_steps_, step_ = 0;
  Frozen frozen_;

  Classifier::Training net_, reference_;  // reference: batch 1, the taps on the picture itself
  std::vector<Tap> taps_;
  std::unique_ptr<Trainable> generator_;
  std::unique_ptr<Recording> soft_recording_, hard_recording_;

  // [batch, ...] each
  DeviceBuffer x_, colour_, target_, soft_, hard_, best_, d_mask_, threshold_, inverse_temperature_, area_, p_label_, outcome_;
  DeviceArray<int32_t> label_, top_;
  DeviceArray<kernels::AreaState> state_;
  DeviceBuffer act_, kl_, ce_, margin_, rob_, nec_, regulariser_;  // values of the terms
  // Shared by the batch.
  DeviceBuffer backgrounds_, blurred_, act_weight_, regulariser_weight_, kl_weight_, ce_weight_, margin_weight_, rob_weight_, nec_weight_;
  DeviceBuffer smooth_scratch_, report_;
  DeviceArray<double> fall_, learning_rate_;
  DeviceArray<kernels::BackgroundCursor> cursor_;
  SmoothingTable smoothing_;
  size_t buffer_bytes_ = 0;
};

}  // namespace actmatch
