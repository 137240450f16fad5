// The frozen classifier as the explanation sees it: images in, logits and taps out, the gradient at the images back.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/explain/classifier_ends.h"
#include "engine/graph/graph.h"
#include "kernels/channel_order.h"

namespace actmatch {

// Builds the classifier's graph for a batch; `keep` names values that must not be optimised away. The importer supplies it.
using GraphSource = std::function<Graph(int64_t batch, const std::vector<std::string>& keep)>;

struct Scores {
  int32_t top = 0;
  float p_top = 0, p_label = 0;
};

class Classifier {
 public:
  // Compiles nothing yet. The backend must outlive the classifier. `label`: the one that a kSigmoid head decides about; its logits() are
  // those of the decision. kAllLabels: those of all labels, of which none can be explained.
  static constexpr int64_t kAllLabels = -1;
  Classifier(Backend& backend, GraphSource source, Head head = Head::kAuto, int64_t label = kAllLabels);

  const ClassifierShape& shape() const { return shape_; }
  Backend& backend() { return backend_; }
  int64_t image_floats() const { return shape_.channels * shape_.height * shape_.width; }

  // Logits [n, classes] of n images [n, C, H, W], both host memory in network units. Runs in batches of at most max_batch().
  void logits(float* out, const float* images, int64_t n);
  // Writes up to max_batch() images straight into the program's input: `fill(device_input, first, count)` for each batch in turn.
  void logits_of(float* out, int64_t n, const std::function<void(float* input, int64_t first, int64_t count)>& fill);
  // n images forward and back, in batches of up to 8: more at once are hardly quicker, but take memory. `fill` as above; `seed` turns the
  // logits of an image into the gradient there; `take` receives the gradients at the images first .. first + count - 1, device memory.
  // `two_sizes`: of programs for one image and for 8 alone, so that different n take the memory of no more.
  void back_to_images(int64_t n, const std::function<void(float* input, int64_t first, int64_t count)>& fill,
                      const std::function<void(std::span<float> row, int64_t image)>& seed,
                      const std::function<void(const float* gradient, int64_t first, int64_t count)>& take, bool two_sizes = false);
  int64_t max_batch() const { return max_batch_; }
  // From now on at most `most` (a power of two) at once; the programs for more give their memory back.
  void limit_batch(int64_t most);
  // Called before each batch of logits(); what it throws ends the work. This is how a stop request gets through to long checks.
  void before_each_batch(std::function<void()> hook) { before_batch_ = std::move(hook); }
  // Bytes that the programs of logits() and gradient_program() take, made so far.
  size_t program_bytes() const;
  // Images the classifier has seen since it was made.
  int64_t images_run() const { return images_run_; }
  void count_images(int64_t n) { images_run_ += n; }
  // Images that a gradient has been brought back to; only methods that say their cost count them.
  int64_t gradients_run() const { return gradients_run_; }
  void count_gradients(int64_t n) { gradients_run_ += n; }

  // A tap as the distances see it: C channels at HW positions, in that order or the other. Feature maps are N,C,H,W; of tokens N,T,D the D
  // are the channels.
  struct TapView {
    int64_t C = 0, HW = 0;
    kernels::ChannelOrder order = kernels::ChannelOrder::kFirst;
    bool operator==(const TapView&) const = default;
  };
  // A program for `batch` images that also gives gradients at its input from seeds at the logits and the taps.
  struct Training {
    Graph graph;
    ClassifierEnds ends;
    std::vector<ValueId> taps;
    std::unique_ptr<Program> program;
    TapView tap(size_t i) const;
    // The program's passes for those who run it over and over and record nothing themselves: from the second time on a pass is recorded,
    // and replayed in one call.
    void forward(Backend& backend);
    void backward(Backend& backend);
    struct Pass {
      bool was_run = false;
      std::unique_ptr<Recording> recording;
    };
    Pass forward_pass{}, backward_pass{};
  };
  // Images, logits and taps are taken in place, as their gradients are (CompileOptions::in_place). `pictures`: see CompileOptions.
  Training compile_training(int64_t batch, const std::vector<std::string>& taps, int64_t pictures = 1);
  // The same without taps and with everything row-major, compiled once for each batch and kept.
  Training& gradient_program(int64_t batch);
  // For one image: gradients at it and at `layers` (as they are in the graph, tokens not turned) from a seed at the logits. The latest is
  // kept.
  Training& layer_program(const std::vector<std::string>& layers);
  // Forward only; images, logits and taps are taken in place.
  Training compile_forward(int64_t batch, const std::vector<std::string>& taps);

  // Names of the taps that are used unless some are named: the end of each stage of resolution, the last before pooling.
  // At most `limit`, the deepest ones.
  std::vector<std::string> automatic_taps(size_t limit = 5) const;

 private:
  Training compile(int64_t batch, const std::vector<std::string>& taps, bool gradients, bool in_place, int64_t pictures = 1);
  Training& forward_program(int64_t batch);
  // The ends of a graph of the source, which gets the decision.
  ClassifierEnds decide(Graph& graph) const;
  Backend& backend_;
  GraphSource source_;
  Head head_;
  int64_t label_;
  ClassifierShape shape_;
  int64_t max_batch_;
  int64_t images_run_ = 0, gradients_run_ = 0;
  std::function<void()> before_batch_;
  std::map<int64_t, Training> forward_programs_, gradient_programs_;
  std::vector<std::string> layer_names_;
  Training layer_program_;
};

// softmax probabilities of one row, and the index of the largest entry.
std::vector<float> softmax(std::span<const float> logits);
int32_t argmax(std::span<const float> values);

}  // namespace actmatch
