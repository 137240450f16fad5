#include "engine/metrics/images.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/philox.h"

namespace actmatch {

namespace {

// The picture with its whole patches in the order of fixed random numbers.
std::vector<float> shuffled(const std::vector<float>& x, const ClassifierShape& shape, int64_t patch, uint32_t draw) {
  const int64_t H = shape.height, W = shape.width, rows = H / patch, columns = W / patch;
  std::vector<int64_t> order(static_cast<size_t>(rows * columns));
  std::iota(order.begin(), order.end(), int64_t{0});
  for (size_t i = order.size(); i > 1; --i)
    std::swap(order[i - 1], order[static_cast<size_t>(metric_uniform(3, draw, i) * static_cast<double>(i))]);
  std::vector<float> out = x;
  for (int64_t c = 0; c < shape.channels; ++c)
    for (int64_t t = 0; t < rows * columns; ++t)
      for (int64_t y = 0; y < patch; ++y) {
        const int64_t from = order[static_cast<size_t>(t)];
        std::copy_n(x.data() + (c * H + from / columns * patch + y) * W + from % columns * patch, patch,
                    out.data() + (c * H + t / columns * patch + y) * W + t % columns * patch);
      }
  return out;
}

kernels::PhiloxWords block_of(uint32_t field, uint32_t draw, uint64_t block) {
  return kernels::random_block(0, kernels::RandomStream::kMetric, field, 0, draw, static_cast<uint32_t>(block));
}

}  // namespace

std::vector<float> logits_of_images(Classifier& classifier, int64_t n, const std::function<void(float*, int64_t)>& make) {
  std::vector<float> logits(static_cast<size_t>(n * classifier.shape().classes)), host;
  const int64_t size = classifier.image_floats();
  classifier.logits_of(logits.data(), n, [&](float* input, int64_t first, int64_t count) {
    host.resize(static_cast<size_t>(count * size));
    for (int64_t i = 0; i < count; ++i) make(host.data() + i * size, first + i);
    classifier.backend().upload(input, host.data(), host.size());
  });
  return logits;
}

std::vector<double> probabilities(const std::vector<float>& logits, int64_t classes, int32_t label) {
  std::vector<double> p;
  const auto width = static_cast<size_t>(classes);
  for (size_t i = 0; i < logits.size(); i += width) {
    const auto row = std::span(logits).subspan(i, width);
    const double top = *std::max_element(row.begin(), row.end());
    double sum = 0;
    for (float z : row) sum += std::exp(z - top);
    p.push_back(std::exp(row[static_cast<size_t>(label)] - top) / sum);
  }
  return p;
}

std::vector<int32_t> top_classes(const std::vector<float>& logits, int64_t classes) {
  std::vector<int32_t> top;
  const auto width = static_cast<size_t>(classes);
  for (size_t i = 0; i < logits.size(); i += width) top.push_back(argmax(std::span(logits).subspan(i, width)));
  return top;
}

double metric_uniform(uint32_t field, uint32_t draw, uint64_t index) {
  return kernels::uniform_of(block_of(field, draw, index / 4).word[index % 4]);
}

std::vector<double> metric_uniforms(uint32_t field, uint32_t draw, size_t count) {
  std::vector<double> numbers(count);
  for (size_t i = 0; i < count; i += 4) {
    const auto block = block_of(field, draw, i / 4);
    for (size_t j = 0; j < std::min<size_t>(4, count - i); ++j) numbers[i + j] = kernels::uniform_of(block.word[j]);
  }
  return numbers;
}

std::vector<double> metric_normals(uint32_t field, uint32_t draw, size_t count) {
  std::vector<double> numbers(count);
  for (size_t i = 0; i < count; i += 4) {
    const auto block = kernels::normal_block(block_of(field, draw, i / 4));
    for (size_t j = 0; j < std::min<size_t>(4, count - i); ++j) numbers[i + j] = block.value[j];
  }
  return numbers;
}

std::vector<float> random_background(const MetricInput& in, const ClassifierShape& shape, int64_t patch, int64_t k) {
  const int64_t kinds = in.others.empty() ? 3 : 4;
  const auto draw = static_cast<uint32_t>(k);
  const size_t size = in.problem.x.size(), pixels = size / static_cast<size_t>(shape.channels);
  // Around the mean of photos, in their standard deviations: 0 and 1 where the network's input is normalised by these.
  const auto spread = [&](const std::vector<double>& numbers, double factor = 1, double shift = 0) {
    std::vector<float> background(size);
    const kernels::BackgroundSpec& b = in.problem.backgrounds;
    for (size_t i = 0; i < size; ++i) {
      const size_t c = i / pixels;
      background[i] = static_cast<float>((b.mu[c] + b.sigma[c] * (factor * numbers[i] + shift)) * b.scale[c] + b.offset[c]);
    }
    return background;
  };
  switch (k % kinds) {
    case 0: return spread(metric_normals(1, draw, size));
    case 1: return spread(metric_uniforms(2, draw, size), 2, -1);
    case 2: return shuffled(in.problem.x, shape, std::min({patch, shape.height, shape.width}), draw);
    default: return in.others[static_cast<size_t>(k / kinds) % in.others.size()];
  }
}

std::vector<int64_t> ranking(const std::vector<float>& soft) {
  std::vector<double> key = metric_uniforms(0, 0, soft.size());
  for (size_t i = 0; i < soft.size(); ++i) key[i] = soft[i] + 1e-5 * key[i];
  std::vector<int64_t> order(soft.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return key[static_cast<size_t>(a)] > key[static_cast<size_t>(b)]; });
  return order;
}

Components connected_components(const HardMask& mask, int64_t height, int64_t width) {
  Components found;
  found.of.assign(mask.size(), 0);
  std::vector<int64_t> waiting;
  for (int64_t start = 0; start < height * width; ++start) {
    if (!mask[static_cast<size_t>(start)] || found.of[static_cast<size_t>(start)] != 0) continue;
    const auto number = static_cast<int32_t>(++found.count);
    found.of[static_cast<size_t>(start)] = number;
    waiting.push_back(start);
    while (!waiting.empty()) {
      const int64_t at = waiting.back(), y = at / width, x = at % width;
      waiting.pop_back();
      for (int64_t v = std::max<int64_t>(0, y - 1); v <= std::min(height - 1, y + 1); ++v)
        for (int64_t u = std::max<int64_t>(0, x - 1); u <= std::min(width - 1, x + 1); ++u) {
          const auto i = static_cast<size_t>(v * width + u);
          if (!mask[i] || found.of[i] != 0) continue;
          found.of[i] = number;
          waiting.push_back(v * width + u);
        }
    }
  }
  return found;
}

double iou(const HardMask& a, const HardMask& b) {
  int64_t both = 0, any = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    both += a[i] && b[i];
    any += a[i] || b[i];
  }
  return any == 0 ? std::nan("") : static_cast<double>(both) / static_cast<double>(any);
}

}  // namespace actmatch
