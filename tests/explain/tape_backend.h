// A CPU backend that records for real: what is issued while a step is recorded goes on a tape of calls with their arguments as they were,
// and a replay plays the tape. Whatever the host decides anew in each step would stay as it was in the first one, as on a device that
// captures its work. Uploads, downloads and allocations in a recorded step are errors.
#pragma once

#include <functional>
#include <tuple>
#include <vector>

#include "engine/backend/kernels.h"
#include "engine/core/error.h"

namespace actmatch::test {

class TapeBackend : public Backend {
 public:
  explicit TapeBackend(Backend& inner) : inner_(inner), kernels_(*this, inner.kernels()) {}

  // Graphs whose first input has more than this many images are too much.
  int64_t most_images = INT64_MAX;
  int64_t replays = 0, recordings = 0;

  std::string name() const override { return "tape"; }
  std::string description() const override { return "records calls"; }
  std::string why_unsupported(const Graph& graph, const Node& node) const override { return inner_.why_unsupported(graph, node); }
  std::unique_ptr<Program> compile(const Graph& graph, const CompileOptions& options) override {
    if (!graph.inputs().empty() && graph.value(graph.inputs()[0]).shape[0] > most_images)
      throw Error(ErrorCode::kOutOfMemory, "too many images");
    return std::make_unique<TapeProgram>(*this, inner_.compile(graph, options));
  }
  float* allocate(size_t count) override { return not_recorded(), inner_.allocate(count); }
  void release(float* memory) override { inner_.release(memory); }
  void upload(float* device, const float* host, size_t count) override { not_recorded(), inner_.upload(device, host, count); }
  void download(float* host, const float* device, size_t count) override { not_recorded(), inner_.download(host, device, count); }
  Kernels& kernels() override { return kernels_; }
  Precision precision() const override { return inner_.precision(); }
  size_t free_memory() const override { return inner_.free_memory(); }
  std::unique_ptr<Recording> record(const std::function<void()>& body) override {
    auto recording = std::make_unique<Tape>(*this);
    tape_ = &recording->calls;
    body();
    tape_ = nullptr;
    ++recordings;
    return recording;
  }
  std::unique_ptr<Readback> make_readback(const float* device, size_t count) override { return inner_.make_readback(device, count); }
  void synchronize() override { not_recorded(); }
  void set_threads(int threads) override { inner_.set_threads(threads); }

 private:
  using Call = std::function<void()>;
  struct Tape : Recording {
    explicit Tape(TapeBackend& b) : backend(b) {}
    void replay() override {
      ++backend.replays;
      for (const Call& call : calls) call();
    }
    std::string implementation() const override { return "tape"; }
    TapeBackend& backend;
    std::vector<Call> calls;
  };
  void not_recorded() const { ACTMATCH_CHECK(!tape_, "this cannot be recorded"); }
  void issue(Call call) {
    call();
    if (tape_) tape_->push_back(std::move(call));
  }

  class TapeProgram : public Program {
   public:
    TapeProgram(TapeBackend& backend, std::unique_ptr<Program> inner) : backend_(backend), inner_(std::move(inner)) {}
    float* data(ValueId value) override { return inner_->data(value); }
    float* gradient(ValueId value) override { return inner_->gradient(value); }
    void forward() override {
      backend_.issue([p = inner_.get()] { p->forward(); });
    }
    void backward() override {
      backend_.issue([p = inner_.get()] { p->backward(); });
    }
    kernels::ChannelOrder order(ValueId value) const override { return inner_->order(value); }
    MemoryReport memory() const override { return inner_->memory(); }

   private:
    TapeBackend& backend_;
    std::unique_ptr<Program> inner_;
  };

  class TapeKernels : public Kernels {
   public:
    TapeKernels(TapeBackend& backend, Kernels& inner) : backend_(backend), inner_(inner) {}
#define ACTMATCH_TAPE(method, parameters, ...) \
  void method parameters override { call(&Kernels::method, __VA_ARGS__); }
    using F = float*;
    using G = const float*;
    using I = int64_t;
    using Y = const int32_t*;
    using D = kernels::TapDistance;
    using O = kernels::ChannelOrder;
    ACTMATCH_TAPE(fill, (F x, float v, I n), x, v, n)
    ACTMATCH_TAPE(advance, (uint32_t * c, uint32_t n), c, n)
    ACTMATCH_TAPE(mask_activate, (F m, G s, G t, G i, I B, I HW), m, s, t, i, B, HW)
    ACTMATCH_TAPE(mask_activate_backward, (F d, G e, G m, G i, I B, I HW, bool a), d, e, m, i, B, HW, a)
    ACTMATCH_TAPE(hard_mask, (F h, G s, G t, I B, I HW), h, s, t, B, HW)
    ACTMATCH_TAPE(top_fraction_mask, (F h, F t, G s, G a, I B, I HW), h, t, s, a, B, HW)
    ACTMATCH_TAPE(random_background,
                  (F o, const kernels::BackgroundSpec& s, kernels::RandomStream r, const kernels::BackgroundCursor* c, I n), o, s, r, c, n)
    ACTMATCH_TAPE(tap_prepare, (F p, F c, G r, D d, O o, I B, I C, I HW), p, c, r, d, o, B, C, HW)
    ACTMATCH_TAPE(tap_distance, (F v, F g, G u, G p, G c, G w, D d, O o, I B, I P, I C, I HW, bool a), v, g, u, p, c, w, d, o, B, P, C, HW,
                  a)
    ACTMATCH_TAPE(kl_logits, (F v, F g, G z, G t, G w, float T, I B, I P, I K, bool a), v, g, z, t, w, T, B, P, K, a)
    ACTMATCH_TAPE(cross_entropy, (F v, F g, G z, Y y, G w, I B, I P, I K, bool a), v, g, z, y, w, B, P, K, a)
    ACTMATCH_TAPE(margin_hinge, (F v, F g, G z, Y y, G w, float m, I B, I P, I K, bool a), v, g, z, y, w, m, B, P, K, a)
    ACTMATCH_TAPE(necessity_hinge, (F v, F g, G z, G t, Y y, G w, float m, I B, I P, I K, bool a), v, g, z, t, y, w, m, B, P, K, a)
    ACTMATCH_TAPE(necessity_log, (F v, F g, G z, Y y, G w, I B, I P, I K, bool a), v, g, z, y, w, B, P, K, a)
    ACTMATCH_TAPE(class_scores, (int32_t * t, F p, G z, Y y, I B, I P, I K), t, p, z, y, B, P, K)
    ACTMATCH_TAPE(mask_regulariser, (F v, F d, G m, G w, int n, I B, I H, I W, bool a), v, d, m, w, n, B, H, W, a)
    ACTMATCH_TAPE(sorted_area, (F v, F d, G m, G r, G w, I B, I HW, bool a), v, d, m, r, w, B, HW, a)
    ACTMATCH_TAPE(gaussian_smooth, (F m, F s, const kernels::SmoothTable<float>& t, const uint32_t* n, I B, I H, I W), m, s, t, n, B, H, W)
    ACTMATCH_TAPE(area_control,
                  (kernels::AreaState * s, F a, F b, F o, G h, Y t, G p, Y y, const double* f, const uint32_t* n,
                   const kernels::AreaControl& c, I B, I HW),
                  s, a, b, o, h, t, p, y, f, n, c, B, HW)
    ACTMATCH_TAPE(record_step, (F t, const kernels::StepTerms<float>& s, const uint32_t* n, I r, I B), t, s, n, r, B)
    ACTMATCH_TAPE(select_compose, (F o, const kernels::SelectSources<float>& s, const kernels::SelectJob* j, bool c, I n, I C, I H, I W), o,
                  s, j, c, n, C, H, W)
    ACTMATCH_TAPE(select_gain,
                  (F v, G g, const kernels::SelectSources<float>& s, const kernels::SelectJob* j, float f, bool i, I n, I C, I H, I W,
                   bool a),
                  v, g, s, j, f, i, n, C, H, W, a)
    ACTMATCH_TAPE(clamp_below, (F x, float least, I count), x, least, count)
    ACTMATCH_TAPE(variable_smooth, (F s, F scratch, G w, G q, I radius, I B, I H, I W), s, scratch, w, q, radius, B, H, W)
    ACTMATCH_TAPE(variable_smooth_backward, (F dw, F dq, F scratch, G ds, G w, G q, float log_weight, I radius, I B, I H, I W), dw, dq,
                  scratch, ds, w, q, log_weight, radius, B, H, W)
    ACTMATCH_TAPE(smooth_max, (F M, F Z, G a, G table, const kernels::SmoothMaxShape& shape, I B), M, Z, a, table, shape, B)
    ACTMATCH_TAPE(smooth_max_backward, (F da, G dM, G M, G Z, G a, G table, const kernels::SmoothMaxShape& shape, I B), da, dM, M, Z, a,
                  table, shape, B)
    ACTMATCH_TAPE(pyramid_compose, (F out, G m, G levels, I L, I B, I C, I HW), out, m, levels, L, B, C, HW)
    ACTMATCH_TAPE(pyramid_compose_backward, (F dm, G dout, G m, G levels, I L, I B, I C, I HW, bool accumulate), dm, dout, m, levels, L, B,
                  C, HW, accumulate)
#undef ACTMATCH_TAPE
    void adam(std::span<const kernels::AdamTensor> tensors, const kernels::AdamOptions& o, const uint32_t* t, const double* r,
              float scale) override {
      backend_.issue([=, this, a = std::vector<kernels::AdamTensor>(tensors.begin(), tensors.end())] { inner_.adam(a, o, t, r, scale); });
    }
    void fill_parts(std::span<const kernels::FillPart> parts, float value) override {
      backend_.issue([=, this, p = std::vector<kernels::FillPart>(parts.begin(), parts.end())] { inner_.fill_parts(p, value); });
    }
    void compose(F out, G x, std::span<const Pass> passes, O o, I B, I C, I HW) override {
      backend_.issue([=, this, p = std::vector<Pass>(passes.begin(), passes.end())] { inner_.compose(out, x, p, o, B, C, HW); });
    }
    void compose_backward(F d, G dout, G x, std::span<const Pass> passes, O o, I B, I C, I HW, bool a) override {
      backend_.issue(
          [=, this, p = std::vector<Pass>(passes.begin(), passes.end())] { inner_.compose_backward(d, dout, x, p, o, B, C, HW, a); });
    }

   private:
    template <class... Parameters, class... Arguments>
    void call(void (Kernels::*method)(Parameters...), const Arguments&... arguments) {
      backend_.issue([this, method, kept = std::tuple<std::decay_t<Parameters>...>(arguments...)] {
        std::apply([&](const auto&... a) { (inner_.*method)(a...); }, kept);
      });
    }
    TapeBackend& backend_;
    Kernels& inner_;
  };

  Backend& inner_;
  TapeKernels kernels_;
  std::vector<Call>* tape_ = nullptr;
};

}  // namespace actmatch::test
