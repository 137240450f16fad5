#include "engine/explain/trainable.h"

#include <algorithm>

#include "engine/backend/kernels.h"

namespace actmatch {
namespace {

// Between [..., C, R, S] and [..., R, S, C]. `last`: to the latter.
std::vector<float> reordered(const float* from, const Shape& shape, bool last) {
  const size_t rank = shape.size();
  const auto channels = static_cast<size_t>(shape[rank - 3]), positions = static_cast<size_t>(shape[rank - 2] * shape[rank - 1]);
  std::vector<float> to(static_cast<size_t>(element_count(shape)));
  for (size_t block = 0; block < to.size(); block += channels * positions)
    for (size_t c = 0; c < channels; ++c)
      for (size_t p = 0; p < positions; ++p) {
        const size_t first = block + c * positions + p, behind = block + p * channels + c;
        to[last ? behind : first] = from[last ? first : behind];
      }
  return to;
}

}  // namespace

Trainable::Trainable(Backend& backend, const GeneratorSpec& spec, int64_t batch, int64_t channels, int64_t height, int64_t width,
                     bool forbids, Sharing sharing)
    : backend_(backend),
      spec_(spec),
      batch_(batch),
      channels_(channels),
      height_(height),
      width_(width),
      sharing_(sharing),
      generator_(build(seed_, batch_)) {
  if (forbids) {
    Graph& graph = generator_.graph;
    forbidden_ = graph.add_input("forbidden", DType::kF32, {batch, 1, height, width});
    generator_.logits = graph.add_node("forbid", BinaryAttrs{BinaryKind::kAdd}, {generator_.logits, forbidden_});
    graph.set_outputs({generator_.logits});
  }
  CompileOptions options;
  options.gradients.seeds = {generator_.logits};
  options.gradients.wanted = options.in_place = generator_.graph.parameters();
  program_ = backend.compile(generator_.graph, options);
  for (ValueId v : options.gradients.wanted) {
    const int64_t count = element_count(generator_.graph.value(v).shape);
    parameters_.push_back({v, count, DeviceBuffer(backend, count), DeviceBuffer(backend, count)});
  }
}

Generator Trainable::build(uint64_t seed, int64_t batch) const {
  return build_generator(spec_, batch, channels_, height_, width_, seed, sharing_);
}

void Trainable::start(uint64_t seed) {
  if (seed != seed_) {  // the graph is the same but for the first weights
    const Generator other = build(seed, batch_);
    for (const Parameter& p : parameters_) generator_.graph.mutable_value(p.value).constant = other.graph.value(p.value).constant;
    seed_ = seed;
  }
  for (const Parameter& p : parameters_) {
    const Tensor& initial = *generator_.graph.value(p.value).constant;
    upload(p, program_->data(p.value), initial.data<float>());
    backend_.kernels().fill(p.first.data(), 0.0f, p.count);
    backend_.kernels().fill(p.second.data(), 0.0f, p.count);
  }
}

std::vector<float> Trainable::download(const Parameter& p, const float* device) const {
  std::vector<float> values(static_cast<size_t>(p.count));
  backend_.download(values.data(), device, values.size());
  return program_->order(p.value) == kernels::ChannelOrder::kLast ? reordered(values.data(), shape_of(p), false) : values;
}

void Trainable::upload(const Parameter& p, float* device, const float* values) const {
  if (program_->order(p.value) == kernels::ChannelOrder::kLast)
    backend_.upload(device, reordered(values, shape_of(p), true).data(), static_cast<size_t>(p.count));
  else
    backend_.upload(device, values, static_cast<size_t>(p.count));
}

void Trainable::set_grid(int64_t picture, const std::vector<float>& logits) {
  const Shape& shape = shape_of(parameters_[0]);
  const int64_t rows = shape[2], columns = shape[3], cell = spec_.cell;
  std::vector<float> cells;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c) {
      double sum = 0;
      const int64_t bottom = std::min(height_, (r + 1) * cell), right = std::min(width_, (c + 1) * cell);
      for (int64_t y = r * cell; y < bottom; ++y)
        for (int64_t x = c * cell; x < right; ++x) sum += logits[static_cast<size_t>(y * width_ + x)];
      cells.push_back(static_cast<float>(sum / static_cast<double>((bottom - r * cell) * (right - c * cell))));
    }
  backend_.upload(program_->data(parameters_[0].value) + picture * rows * columns, cells.data(), cells.size());
}

}  // namespace actmatch
