#include "engine/backend/cpu/ops/conv_subpixel.h"

#include "engine/backend/cpu/ops/conv_common.h"

namespace actmatch::cpu {

int64_t SubpixelAxis::taps() const { return pad_begin() + (stride - 1 + pad) / stride + 1; }

std::optional<int64_t> SubpixelAxis::tap(int64_t a, int64_t t) const {
  const int64_t r = stride * (pad_begin() - t) + a + pad;
  if (r < 0 || r >= kernel) return std::nullopt;
  return r;
}

namespace {

// Beyond one block of AVX-512 channels (two of AVX2) the filters are no longer few, and oneDNN's own code does well.
constexpr int64_t kMostFilters = 16;

}  // namespace

std::unique_ptr<SubpixelBackward> SubpixelBackward::make(Lowering& l, const MemoryDesc& dy) {
  const auto& a = std::get<ConvAttrs>(l.node().attrs);
  const Shape &x = l.input_shape(0), &w = l.input_shape(1), &y = l.output_shape();
  if (a.groups != 1 || x.size() != 4 || !l.input_is_constant(1)) return nullptr;
  std::array<SubpixelAxis, 2> axes{};
  for (size_t i = 0; i < 2; ++i) {
    axes[i] = {x[2 + i], y[2 + i], w[2 + i], a.strides[i], a.pads[i]};
    if (a.dilations[i] != 1 || a.strides[i] < 2 || axes[i].pad < 0 || axes[i].pad >= axes[i].kernel || axes[i].pad_end() < 0)
      return nullptr;
  }
  const int64_t filters = x[1] * axes[0].stride * axes[1].stride;
  if (filters > kMostFilters) return nullptr;
  // The phases in the blocks that dy has, since one primitive wants both alike.
  if (!is_blocked(dy)) return nullptr;
  const Blocking blocking = blocking_of(dy);
  if (blocking.inner_blocks.size() != 1 || blocking.inner_axes[0] != 1) return nullptr;
  using Tag = dnnl::memory::format_tag;
  const int64_t block = blocking.inner_blocks[0];
  if ((block != 8 && block != 16) || w[0] % block != 0) return nullptr;
  const Dims dims{x[0], filters, axes[0].phase_extent(), axes[1].phase_extent()};
  const MemoryDesc phases(dims, dnnl::memory::data_type::f32, block == 16 ? Tag::nChw16c : Tag::nChw8c);

  std::unique_ptr<SubpixelBackward> made(new SubpixelBackward(l.engine(), x[0], x[1], axes));
  const ConvGeometry geometry{{1, 1}, {0, 0}, {axes[0].pad_begin(), axes[1].pad_begin()}, {axes[0].pad_end(), axes[1].pad_end()}};
  const Tensor kernel = made->small_kernel(l.constant(1));
  try {
    const auto pd = conv_forward_pd(l.engine(), false, dy, any_desc(kernel.shape()), nullptr, phases, geometry, user_scratchpad_attr());
    const std::string implementation = pd.impl_info_str();
    if (is_reference(implementation) || is_gemm(implementation)) return nullptr;
    made->implementation_ = "sub-pixel " + implementation;
    made->convolution_ = dnnl::convolution_forward(pd);
    made->weights_desc_ = pd.weights_desc();
    made->scratchpad_desc_ = pd.scratchpad_desc();
  } catch (const dnnl::error&) {  // no implementation for these layouts
    return nullptr;
  }
  made->dy_ = dy;
  made->phases_ = phases;
  made->weights_ = Tensor(DType::kF32, Shape{static_cast<int64_t>(made->weights_desc_.get_size() / sizeof(float))});
  const MemoryDesc plain = plain_desc(kernel.shape());
  dnnl::memory from(plain, l.engine(), const_cast<void*>(kernel.raw())), to(made->weights_desc_, l.engine(), made->weights_.raw());
  make_reorder(l.engine(), plain, made->weights_desc_, false).execute(made->stream_, from, to);
  made->stream_.wait();
  return made;
}

// w [K, C, R_y, R_x] -> [C s_y s_x, K, T_y, T_x].
Tensor SubpixelBackward::small_kernel(const Tensor& w) const {
  const auto& [ay, ax] = axes_;
  const int64_t K = w.shape()[0];
  Tensor small(DType::kF32, Shape{C_ * ay.stride * ax.stride, K, ay.taps(), ax.taps()});
  const float* from = w.data<float>();
  float* to = small.data<float>();
  for (int64_t c = 0; c < C_; ++c)
    for (int64_t py = 0; py < ay.stride; ++py)
      for (int64_t px = 0; px < ax.stride; ++px)
        for (int64_t k = 0; k < K; ++k)
          for (int64_t ty = 0; ty < ay.taps(); ++ty)
            for (int64_t tx = 0; tx < ax.taps(); ++tx, ++to) {
              const auto ry = ay.tap(py, ty), rx = ax.tap(px, tx);
              if (ry && rx) *to = from[((k * C_ + c) * ay.kernel + *ry) * ax.kernel + *rx];
            }
  return small;
}

void SubpixelBackward::plan(Step& step) {
  phases_scratch_ = step.add_scratch(phases_.get_size(), Scratch::When::kBackward);
  scratchpad_ = step.add_scratch(scratchpad_desc_.get_size(), Scratch::When::kBackward);
}

void SubpixelBackward::bind(float* dy) {
  arguments_ = {{DNNL_ARG_SRC, dnnl::memory(dy_, engine_, dy)},
                {DNNL_ARG_WEIGHTS, dnnl::memory(weights_desc_, engine_, weights_.raw())},
                {DNNL_ARG_DST, dnnl::memory(phases_, engine_, phases_scratch_->data)},
                {DNNL_ARG_SCRATCHPAD, dnnl::memory(scratchpad_desc_, engine_, scratchpad_ ? scratchpad_->data : nullptr)}};
}

void SubpixelBackward::run(float* dx) {
  convolution_.execute(stream_, arguments_);
  stream_.wait();
  const Blocking b = blocking_of(phases_);
  const int64_t block = b.inner_blocks[0];
  const SubpixelAxis &ay = axes_[0], &ax = axes_[1];
  const auto* phases = reinterpret_cast<const float*>(phases_scratch_->data);
#pragma omp parallel for collapse(3)
  for (int64_t n = 0; n < N_; ++n)
    for (int64_t c = 0; c < C_; ++c)
      for (int64_t y = 0; y < ay.in; ++y) {
        float* to = dx + ((n * C_ + c) * ay.in + y) * ax.in;
        for (int64_t phase = 0; phase < ax.stride; ++phase) {
          const int64_t filter = (c * ay.stride + y % ay.stride) * ax.stride + phase;
          const float* from = phases + n * b.strides[0] + filter / block * b.strides[1] + y / ay.stride * b.strides[2] + filter % block;
          for (int64_t i = 0, x = phase; x < ax.in; ++i, x += ax.stride) to[x] = from[i * b.strides[3]];
        }
      }
}

}  // namespace actmatch::cpu
