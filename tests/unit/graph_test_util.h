// Small helpers of the graph tests: tensors from lists, error messages, and a plain interpreter that runs a graph in row-major fp32.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "engine/core/error.h"
#include "engine/graph/op_table.h"

namespace actmatch::test {

inline Tensor floats(Shape shape, const std::vector<float>& v) { return Tensor::of<float>(std::move(shape), v); }
inline Tensor ints(Shape shape, const std::vector<int64_t>& v) { return Tensor::of<int64_t>(std::move(shape), v); }
inline Tensor bools(Shape shape, const std::vector<uint8_t>& v) { return Tensor::of<uint8_t>(std::move(shape), v); }
template <class T>
std::vector<T> list(const Tensor& t) {
  return {t.view<T>().begin(), t.view<T>().end()};
}

// Deterministic values in [-1, 1), different for each seed.
inline Tensor noise(Shape shape, uint32_t seed) {
  Tensor t(DType::kF32, std::move(shape));
  uint32_t state = seed * 2654435761u + 12345u;
  for (int64_t i = 0; i < t.count(); ++i) {
    state = state * 1664525u + 1013904223u;
    t.data<float>()[i] = static_cast<float>(state >> 8) / 8388608.0f - 1.0f;
  }
  return t;
}

// The message of the Error that f throws; fails the test when it throws none, or one of another code.
template <class F>
std::string error_of(F f, ErrorCode code = ErrorCode::kInvalidArgument) {
  try {
    f();
  } catch (const Error& e) {
    EXPECT_EQ(static_cast<int>(e.code()), static_cast<int>(code)) << e.what();
    EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos) << "a message is one line";
    return e.what();
  }
  ADD_FAILURE() << "no error was thrown";
  return {};
}

inline void expect_mentions(const std::string& message, const std::vector<std::string>& parts) {
  for (const std::string& part : parts) EXPECT_NE(message.find(part), std::string::npos) << "\"" << part << "\" is not in: " << message;
}

inline Tensor run_conv(const ConvAttrs& a, const Tensor& x, const Tensor& w, const Tensor* b, const Shape& out) {
  Tensor y(DType::kF32, out);
  const int64_t C = w.shape()[1], R = w.shape()[2], S = w.shape()[3], H = x.shape()[2], W = x.shape()[3];
  const int64_t per_group = out[1] / a.groups;
  int64_t i = 0;
  for (int64_t n = 0; n < out[0]; ++n)
    for (int64_t k = 0; k < out[1]; ++k)
      for (int64_t p = 0; p < out[2]; ++p)
        for (int64_t q = 0; q < out[3]; ++q, ++i) {
          double sum = b ? b->data<float>()[k] : 0;
          for (int64_t c = 0; c < C; ++c)
            for (int64_t r = 0; r < R; ++r)
              for (int64_t s = 0; s < S; ++s) {
                const int64_t h = p * a.strides[0] - a.pads[0] + r * a.dilations[0], v = q * a.strides[1] - a.pads[1] + s * a.dilations[1];
                if (h < 0 || h >= H || v < 0 || v >= W) continue;
                sum += static_cast<double>(x.data<float>()[((n * x.shape()[1] + k / per_group * C + c) * H + h) * W + v]) *
                       w.data<float>()[((k * C + c) * R + r) * S + s];
              }
          y.data<float>()[i] = static_cast<float>(sum);
        }
  return y;
}

inline Tensor run_conv_transpose(const ConvTransposeAttrs& a, const Tensor& x, const Tensor& w, const Tensor* b, const Shape& out) {
  std::vector<double> y(static_cast<size_t>(element_count(out)));
  const int64_t K = w.shape()[1], R = w.shape()[2], S = w.shape()[3], C = x.shape()[1], H = x.shape()[2], W = x.shape()[3];
  for (int64_t n = 0; n < out[0]; ++n)
    for (int64_t c = 0; c < C; ++c)
      for (int64_t k = 0; k < K; ++k)
        for (int64_t h = 0; h < H; ++h)
          for (int64_t v = 0; v < W; ++v)
            for (int64_t r = 0; r < R; ++r)
              for (int64_t s = 0; s < S; ++s) {
                const int64_t p = h * a.strides[0] - a.pads[0] + r * a.dilations[0], q = v * a.strides[1] - a.pads[1] + s * a.dilations[1];
                if (p < 0 || p >= out[2] || q < 0 || q >= out[3]) continue;
                const int64_t channel = c / (C / a.groups) * K + k;
                y[static_cast<size_t>(((n * out[1] + channel) * out[2] + p) * out[3] + q)] +=
                    static_cast<double>(x.data<float>()[((n * C + c) * H + h) * W + v]) * w.data<float>()[((c * K + k) * R + r) * S + s];
              }
  Tensor result(DType::kF32, out);
  for (int64_t i = 0; i < result.count(); ++i)
    result.data<float>()[i] = static_cast<float>(y[static_cast<size_t>(i)] + (b ? b->data<float>()[i / (out[2] * out[3]) % out[1]] : 0.0f));
  return result;
}

inline Tensor run_pool(const PoolAttrs& a, const Tensor& x, const Shape& out) {
  Tensor y(DType::kF32, out);
  const int64_t H = x.shape()[2], W = x.shape()[3];
  int64_t i = 0;
  for (int64_t plane = 0; plane < out[0] * out[1]; ++plane)
    for (int64_t p = 0; p < out[2]; ++p)
      for (int64_t q = 0; q < out[3]; ++q, ++i) {
        double sum = 0, largest = -1e30;
        int64_t inside = 0;
        for (int64_t r = 0; r < a.kernel[0]; ++r)
          for (int64_t s = 0; s < a.kernel[1]; ++s) {
            const int64_t h = p * a.strides[0] - a.pads[0] + r * a.dilations[0], v = q * a.strides[1] - a.pads[1] + s * a.dilations[1];
            if (h < 0 || h >= H || v < 0 || v >= W) continue;
            const double value = x.data<float>()[(plane * H + h) * W + v];
            sum += value;
            largest = std::max(largest, value);
            ++inside;
          }
        const int64_t divisor = a.mode == PoolMode::kAverageIncludePad ? a.kernel[0] * a.kernel[1] : inside;
        y.data<float>()[i] = static_cast<float>(a.mode == PoolMode::kMax ? largest : sum / static_cast<double>(divisor));
      }
  return y;
}

inline Tensor run_channels(const Node& node, const std::vector<const Tensor*>& in, const Shape& out) {
  Tensor y(DType::kF32, out);
  const int64_t inner = element_count(out) / (out[0] * out[1]);
  const auto at = [&](size_t i, int64_t c) { return static_cast<double>(in[i]->data<float>()[c]); };
  for (int64_t i = 0; i < y.count(); ++i) {
    const int64_t c = i / inner % out[1];
    const double x = in[0]->data<float>()[i];
    y.data<float>()[i] =
        static_cast<float>(node.op() == OpKind::kScaleShift
                               ? x * at(1, c) + at(2, c)
                               : (x - at(3, c)) / std::sqrt(at(4, c) + std::get<BatchNormAttrs>(node.attrs).epsilon) * at(1, c) + at(2, c));
  }
  return y;
}

// Values of everything the nodes make, by id. Pool windows must not pass the padded end (no ceil_mode).
inline std::map<ValueId, Tensor> run_graph(const Graph& graph, const std::map<ValueId, Tensor>& inputs) {
  std::map<ValueId, Tensor> values = inputs;
  for (size_t v = 0; v < graph.values().size(); ++v)
    if (graph.values()[v].constant) values[static_cast<ValueId>(v)] = *graph.values()[v].constant;
  for (const Node& node : graph.nodes()) {
    std::vector<const Tensor*> in;
    for (ValueId id : node.inputs) in.push_back(id == kNoValue ? nullptr : &values.at(id));
    const Value& out = graph.value(node.output);
    Tensor result;
    if (const auto* conv = std::get_if<ConvAttrs>(&node.attrs))
      result = run_conv(*conv, *in[0], *in[1], in.size() > 2 ? in[2] : nullptr, out.shape);
    else if (const auto* transposed = std::get_if<ConvTransposeAttrs>(&node.attrs))
      result = run_conv_transpose(*transposed, *in[0], *in[1], in.size() > 2 ? in[2] : nullptr, out.shape);
    else if (const auto* pool = std::get_if<PoolAttrs>(&node.attrs))
      result = run_pool(*pool, *in[0], out.shape);
    else if (node.op() == OpKind::kScaleShift || node.op() == OpKind::kBatchNorm)
      result = run_channels(node, in, out.shape);
    else
      result = op_info(node.op()).evaluate(node.attrs, in, {out.dtype, out.shape});
    EXPECT_EQ(result.shape(), out.shape) << node.name;
    values[node.output] = result;
  }
  return values;
}

}  // namespace actmatch::test
