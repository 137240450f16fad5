// Max and average pooling on oneDNN, in the layout of the input; most max pooling is done by max_pool.cpp. Max pooling keeps oneDNN's
// workspace (the winners) for the backward pass.
#include <unordered_map>

#include "engine/backend/cpu/loops.h"
#include "engine/backend/cpu/ops/max_pool.h"

namespace actmatch::cpu {

namespace {

std::array<int64_t, 2> end_pads(const PoolAttrs& a, const Shape& x, const Shape& y) {
  std::array<int64_t, 2> end{};
  for (size_t i = 0; i < 2; ++i) end[i] = (y[2 + i] - 1) * a.strides[i] + (a.kernel[i] - 1) * a.dilations[i] + 1 - x[2 + i] - a.pads[i];
  return end;
}

class PoolStep : public Step {
 public:
  explicit PoolStep(const dnnl::engine& engine) : engine_(engine), stream_(engine) {}

  static void build(Lowering& l) {
    auto step = std::make_unique<PoolStep>(l.engine());
    PoolStep& s = *step;
    const auto& a = std::get<PoolAttrs>(l.node().attrs);
    const auto end = end_pads(a, l.input_shape(0), l.output_shape());
    const ConvGeometry geometry{
        {a.strides[0], a.strides[1]}, {a.dilations[0] - 1, a.dilations[1] - 1}, {a.pads[0], a.pads[1]}, {end[0], end[1]}};
    const Dims kernel{a.kernel[0], a.kernel[1]};
    const dnnl::algorithm algorithm = a.mode == PoolMode::kMax                 ? dnnl::algorithm::pooling_max
                                      : a.mode == PoolMode::kAverageIncludePad ? dnnl::algorithm::pooling_avg_include_padding
                                                                               : dnnl::algorithm::pooling_avg_exclude_padding;
    const bool training = l.training() && l.wants(0);
    s.x_ = l.input(0);
    const auto pd =
        pool_forward_pd(l.engine(), training, algorithm, s.x_->desc, any_desc(l.output_shape()), geometry, kernel, user_scratchpad_attr());
    s.implementation_ = pd.impl_info_str();
    s.y_ = l.output(pd.dst_desc());
    s.forward_ = PoolForward(pd);
    s.scratchpad_ = pd.scratchpad_desc();
    s.forward_scratch_ = s.add_scratch(s.scratchpad_.get_size(), Scratch::When::kForward);
    s.reads = {s.x_};
    s.writes = {s.y_};
    if (training) {
      const auto back = pool_backward_pd(l.engine(), algorithm, s.x_->desc, s.y_->desc, geometry, kernel, user_scratchpad_attr(), pd);
      s.backward_ = PoolBackward(back);
      s.workspace_ = pd.workspace_desc();
      s.workspace_scratch_ = s.add_scratch(s.workspace_.get_size(), Scratch::When::kSaved);
      s.backward_scratchpad_ = back.scratchpad_desc();
      s.backward_scratch_ = s.add_scratch(s.backward_scratchpad_.get_size(), Scratch::When::kBackward);
      s.dx_.slot = s.x_;
      s.sink_.set(&s.dx_, s.x_->desc, s.x_->desc);
      s.grads.push_back(&s.dx_);
    }
    l.add_step(std::move(step));
  }

  void plan() override {
    if (!grads.empty()) sink_.plan(*this);
  }
  void bind() override {
    const auto memory = [&](const MemoryDesc& desc, void* data) { return dnnl::memory(desc, engine_, data); };
    forward_args_ = {{DNNL_ARG_SRC, memory(x_->desc, x_->data)},
                     {DNNL_ARG_DST, memory(y_->desc, y_->data)},
                     {DNNL_ARG_SCRATCHPAD, memory(scratchpad_, forward_scratch_ ? forward_scratch_->data : nullptr)}};
    if (workspace_scratch_) forward_args_[DNNL_ARG_WORKSPACE] = memory(workspace_, workspace_scratch_->data);
    if (grads.empty()) return;
    sink_.bind(engine_);
    backward_args_ = {{DNNL_ARG_DIFF_SRC, memory(x_->desc, sink_.address())},
                      {DNNL_ARG_DIFF_DST, memory(y_->desc, y_->grad)},
                      {DNNL_ARG_SCRATCHPAD, memory(backward_scratchpad_, backward_scratch_ ? backward_scratch_->data : nullptr)}};
    if (workspace_scratch_) backward_args_[DNNL_ARG_WORKSPACE] = memory(workspace_, workspace_scratch_->data);
  }
  void forward() override { forward_.execute(stream_, forward_args_); }
  void backward() override {
    backward_.execute(stream_, backward_args_);
    sink_.finish(stream_);
  }
  std::string implementation() const override { return implementation_; }

 private:
  dnnl::engine engine_;
  dnnl::stream stream_;
  std::string implementation_;
  Slot *x_ = nullptr, *y_ = nullptr;
  PoolForward forward_;
  PoolBackward backward_;
  MemoryDesc scratchpad_, backward_scratchpad_, workspace_;
  Scratch *forward_scratch_ = nullptr, *backward_scratch_ = nullptr, *workspace_scratch_ = nullptr;
  GradTarget dx_;
  GradSink sink_;
  std::unordered_map<int, dnnl::memory> forward_args_, backward_args_;
};

}  // namespace

std::string pool_unsupported(const Graph& graph, const Node& node) {
  const auto& a = std::get<PoolAttrs>(node.attrs);
  const Shape &x = graph.value(node.inputs[0]).shape, &y = graph.value(node.output).shape;
  const auto end = end_pads(a, x, y);
  // The divisor of such a window counts the padding but not what lies past it; oneDNN would count all of it.
  if (a.mode == PoolMode::kAverageIncludePad && (end[0] > a.pads[2] || end[1] > a.pads[3]))
    return "average pooling that counts its padding and, by ceil_mode, also reaches past it; set count_include_pad=0 or ceil_mode=0";
  return {};
}

void build_pool(Lowering& l) {
  if (!build_max_pool(l)) PoolStep::build(l);
}

}  // namespace actmatch::cpu
