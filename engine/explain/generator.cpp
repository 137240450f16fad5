#include "engine/explain/generator.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/core/error.h"
#include "kernels/philox.h"

namespace actmatch {

GeneratorKind generator_kind(const std::string& name) {
  if (name == "csae") return GeneratorKind::kCsae;
  if (name == "unet") return GeneratorKind::kUnet;
  if (name == "grid") return GeneratorKind::kGrid;
  throw Error(ErrorCode::kInvalidArgument,
              "there is no generator '" + name + "'; use csae, unet or grid, or the .onnx file of a trained explainer");
}

const char* name_of(GeneratorKind kind) {
  switch (kind) {
    case GeneratorKind::kCsae: return "csae";
    case GeneratorKind::kUnet: return "unet";
    case GeneratorKind::kGrid: return "grid";
  }
  return "?";
}

namespace {

constexpr int64_t kStages = 4;  // both nets halve the resolution four times
constexpr int64_t kMultiple = int64_t{1} << kStages;

class Builder {
 public:
  Builder(Generator& g, int64_t instances, uint64_t seed) : g_(g), instances_(instances), seed_(seed) {}

  // Uniform in +-bound, reproducible from (seed, number of the tensor, index).
  Tensor uniform(Shape shape, float bound) {
    Tensor t(DType::kF32, std::move(shape));
    float* data = t.data<float>();
    for (int64_t i = 0; i < t.count(); i += 4) {
      const auto block = kernels::random_block(seed_, kernels::RandomStream::kInitialise, tensors_, 0, 0, static_cast<uint32_t>(i / 4));
      for (int64_t k = 0; k < 4 && i + k < t.count(); ++k)
        data[i + k] = bound * static_cast<float>(2.0 * kernels::uniform_of(block.word[k]) - 1.0);
    }
    ++tensors_;
    return t;
  }
  // Each instance has a parameter of its own, and all of them begin alike: as for one image.
  ValueId parameter(const std::string& name, Tensor initial) {
    g_.parameters += initial.count();
    if (instances_ == 1) return g_.graph.add_parameter(name, std::move(initial));
    Shape shape = initial.shape();
    shape.insert(shape.begin(), instances_);
    Tensor all(DType::kF32, std::move(shape));
    for (int64_t n = 0; n < instances_; ++n) std::copy_n(initial.data<float>(), initial.count(), all.data<float>() + n * initial.count());
    return g_.graph.add_parameter(name, std::move(all));
  }
  int64_t channels_of(ValueId x) const { return g_.graph.value(x).shape[1]; }

  ValueId conv(const std::string& name, ValueId x, int64_t out, int64_t kernel, int64_t stride) {
    const int64_t in = channels_of(x), pad = kernel / 2;
    const float bound = 1.0f / std::sqrt(static_cast<float>(in * kernel * kernel));
    const ValueId w = parameter(name + ".weight", uniform({out, in, kernel, kernel}, bound));
    const ValueId b = parameter(name + ".bias", uniform({out}, bound));
    return g_.graph.add_node(name, ConvAttrs{{stride, stride}, {pad, pad, pad, pad}, {1, 1}, 1}, {x, w, b});
  }
  ValueId up(const std::string& name, ValueId x, int64_t out, int64_t kernel, int64_t pad) {
    const int64_t in = channels_of(x);
    const float bound = 1.0f / std::sqrt(static_cast<float>(out * kernel * kernel));  // PyTorch counts a transposed layer's fan so
    const ValueId w = parameter(name + ".weight", uniform({in, out, kernel, kernel}, bound));
    const ValueId b = parameter(name + ".bias", uniform({out}, bound));
    return g_.graph.add_node(name, ConvTransposeAttrs{{2, 2}, {pad, pad, pad, pad}, {1, 1}, {0, 0}, 1}, {x, w, b});
  }
  ValueId relu(const std::string& name, ValueId x) { return g_.graph.add_node(name + ".relu", UnaryAttrs{UnaryKind::kRelu, 0, 0}, {x}); }
  ValueId double_conv(const std::string& name, ValueId x, int64_t out) {
    x = relu(name + ".0", conv(name + ".0", x, out, 3, 1));
    return relu(name + ".1", conv(name + ".1", x, out, 3, 1));
  }

 private:
  Generator& g_;
  int64_t instances_;
  uint64_t seed_;
  uint32_t tensors_ = 0;
};

ValueId csae(Builder& b, ValueId x) {
  int stage = 0;
  for (int64_t width : {32, 64, 128, 256}) {
    const std::string name = "encoder" + std::to_string(stage++);
    x = b.relu(name, b.conv(name, x, width, 3, 2));
  }
  stage = 0;
  for (int64_t width : {128, 64, 32, 1}) {
    const std::string name = "decoder" + std::to_string(stage++);
    x = b.up(name, x, width, 4, 1);
    if (width != 1) x = b.relu(name, x);
  }
  return x;
}

ValueId unet(Builder& b, Graph& graph, ValueId x) {
  std::vector<ValueId> skips;
  const std::vector<int64_t> widths{32, 64, 128, 256};
  for (size_t i = 0; i < widths.size(); ++i) {
    x = b.double_conv("encoder" + std::to_string(i), x, widths[i]);
    skips.push_back(x);
    PoolAttrs pool;
    pool.kernel = pool.strides = {2, 2};
    x = graph.add_node("pool" + std::to_string(i), pool, {x});
  }
  x = b.double_conv("bottleneck", x, 512);
  for (size_t i = widths.size(); i-- > 0;) {
    const std::string name = "decoder" + std::to_string(i);
    x = b.up(name + ".up", x, widths[i], 2, 0);
    x = graph.add_node(name + ".join", ConcatAttrs{1}, {x, skips[i]});
    x = b.double_conv(name, x, widths[i]);
  }
  return b.conv("head", x, 1, 1, 1);
}

ValueId cells(Graph& graph, ValueId x, int64_t cell) {
  PoolAttrs pool;
  pool.mode = PoolMode::kAverageExcludePad;
  pool.kernel = pool.strides = {cell, cell};
  return graph.add_node("cells", pool, {x});
}

// (x - mean) / deviation over all of an image.
ValueId standardised(Graph& graph, ValueId x) {
  const ReduceAttrs mean{ReduceKind::kMean, {1, 2, 3}, true};
  const ValueId centred = graph.add_node("centre", BinaryAttrs{BinaryKind::kSub}, {x, graph.add_node("mean", mean, {x})});
  const ValueId square = graph.add_node("square", BinaryAttrs{BinaryKind::kMul}, {centred, centred});
  const ValueId least = graph.add_constant("least", Tensor::scalar(1e-6f));  // a deviation of a thousandth, for images without any
  const ValueId variance = graph.add_node("variance", BinaryAttrs{BinaryKind::kAdd}, {graph.add_node("squares", mean, {square}), least});
  const ValueId deviation = graph.add_node("deviation", UnaryAttrs{UnaryKind::kSqrt, 0, 0}, {variance});
  return graph.add_node("standardise", BinaryAttrs{BinaryKind::kDiv}, {centred, deviation});
}

int64_t round_up(int64_t extent, int64_t multiple) { return (extent + multiple - 1) / multiple * multiple; }

}  // namespace

Generator build_generator(const GeneratorSpec& spec, int64_t batch, int64_t channels, int64_t height, int64_t width, uint64_t seed,
                          Sharing sharing) {
  Generator g;
  ACTMATCH_CHECK(batch >= 1, "a generator is for at least one image");
  const bool shared = sharing != Sharing::kNone;
  ACTMATCH_CHECK(!shared || spec.kind != GeneratorKind::kGrid, "a grid sees no image: there is nothing that images could share");
  Builder b(g, shared ? 1 : batch, seed);
  if (spec.kind == GeneratorKind::kGrid) {
    ACTMATCH_CHECK(spec.cell >= 1, "a grid cell covers at least one pixel");
    Tensor cells(DType::kF32, {batch, 1, round_up(height, spec.cell) / spec.cell, round_up(width, spec.cell) / spec.cell});
    std::fill_n(cells.data<float>(), cells.count(), spec.initial_logit);
    g.parameters = cells.count() / batch;
    const ValueId grid = g.graph.add_parameter("grid", std::move(cells));
    // Upsampled to whole cells first, then cropped, so that cells are square also where they do not divide the image.
    const int64_t H = round_up(height, spec.cell), W = round_up(width, spec.cell);
    g.logits = g.graph.add_node("upsample", ResizeAttrs{spec.smooth ? ResizeMode::kLinear : ResizeMode::kNearest, H, W}, {grid});
    if (H != height || W != width)
      g.logits = g.graph.add_node("crop", SliceAttrs{{0, 0, 0, 0}, {1, 1, 1, 1}, {batch, 1, height, width}}, {g.logits});
  } else {
    g.image = g.graph.add_input("image", DType::kF32, {batch, channels, height, width});
    const int64_t multiple = shared ? std::lcm(kMultiple, spec.cell) : kMultiple;
    const int64_t H = round_up(height, multiple), W = round_up(width, multiple);
    ValueId x = g.image;
    if (H != height || W != width)
      x = g.graph.add_node("pad", PadAttrs{{0, 0, 0, 0}, {0, 0, H - height, W - width}, PadMode::kEdge, 0.0f}, {x});
    x = spec.kind == GeneratorKind::kCsae ? csae(b, x) : unet(b, g.graph, x);
    if (shared) {
      x = cells(g.graph, x, spec.cell);
      if (sharing == Sharing::kSharedOrder) x = standardised(g.graph, x);
      x = g.graph.add_node("upsample", ResizeAttrs{spec.smooth ? ResizeMode::kLinear : ResizeMode::kNearest, H, W}, {x});
    }
    if (H != height || W != width) x = g.graph.add_node("crop", SliceAttrs{{0, 0, 0, 0}, {1, 1, 1, 1}, {batch, 1, height, width}}, {x});
    if (spec.initial_logit != 0.0f) {
      const float shift = spec.initial_logit;
      const ValueId constant = g.graph.add_constant("initial", Tensor::scalar(shift));
      x = g.graph.add_node("initial.add", BinaryAttrs{BinaryKind::kAdd}, {x, constant});
    }
    g.logits = x;
  }
  g.graph.mark_output(g.logits);
  return g;
}

}  // namespace actmatch
