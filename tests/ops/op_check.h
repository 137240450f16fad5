// The two checks every operator goes through: the reference's gradient against central differences in double, and the backend against the
// reference, in several surroundings.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "engine/core/error.h"
#include "engine/graph/op_table.h"
#include "tests/support/program_run.h"

namespace actmatch::test {

enum class Leaf { kInput, kParameter, kConstant };

struct Operand {
  Doubles value;
  Leaf leaf = Leaf::kInput;
  DType dtype = DType::kF32;
};
inline Operand constant(Doubles value, DType dtype = DType::kF32) { return {std::move(value), Leaf::kConstant, dtype}; }
inline Operand parameter(Doubles value) { return {std::move(value), Leaf::kParameter, DType::kF32}; }
inline Operand flags(Doubles value) { return {std::move(value), Leaf::kInput, DType::kBool}; }
inline Operand left_out() { return {}; }

struct OpCase {
  std::string name;
  Attributes attrs;
  std::vector<Operand> operands;
};

inline bool differentiable(const OpCase& c, size_t i) {
  return c.operands[i].value.present && c.operands[i].dtype == DType::kF32 && (op_info(kind_of(c.attrs)).differentiable(c.attrs) >> i & 1);
}

// d/dx of sum(r * y(x)), r random, by central differences. The error of the formula is step^2/6 of the third derivative (tests keep that
// below about 100, so 2e-9 at step 1e-5), and rounding adds 2e-16 |f| / 1e-5 = 2e-11 |f|; 1e-7 of the largest entry or of 1 leaves room.
// Beyond so many elements, all move at once, each up or down by chance: sixteen such directions leave no wrong element unseen, and cost
// sixteen pairs of passes in place of one an element.
inline constexpr int64_t kElementByElement = 700;
inline void check_gradient(const OpCase& c, double step = 1e-5) {
  SCOPED_TRACE(c.name);
  RandomArrays random(7);
  std::vector<Doubles> values;
  for (const Operand& operand : c.operands) values.push_back(operand.value);
  const auto operands = [&] {
    oracle::Operands<double> in;
    for (const Doubles& v : values) in.push_back(v.present ? &v : nullptr);
    return in;
  };
  const Doubles y = oracle::forward<double>(c.attrs, operands());
  const Doubles dy = random.uniform(y.shape);
  const auto gradients = oracle::backward<double>(c.attrs, operands(), y, dy);
  ASSERT_EQ(gradients.size(), c.operands.size());
  const auto loss = [&] {
    const Doubles at = oracle::forward<double>(c.attrs, operands());
    double sum = 0;
    for (int64_t i = 0; i < at.count(); ++i) sum += at[i] * dy[i];
    return sum;
  };
  for (size_t k = 0; k < values.size(); ++k) {
    ASSERT_EQ(gradients[k].present, differentiable(c, k)) << "input " << k;
    if (!gradients[k].present) continue;
    ASSERT_EQ(gradients[k].shape, values[k].shape) << "input " << k;
    double largest = 1;
    for (double g : gradients[k].data) largest = std::max(largest, std::abs(g));
    if (values[k].count() > kElementByElement) {
      const Doubles kept = values[k];
      for (int n = 0; n < 16; ++n) {
        const Doubles signs = random.uniform(kept.shape);
        double along = 0;
        const auto loss_at = [&](double by) {
          for (int64_t i = 0; i < kept.count(); ++i) values[k][i] = kept[i] + (signs[i] < 0 ? -by : by);
          return loss();
        };
        for (int64_t i = 0; i < kept.count(); ++i) along += signs[i] < 0 ? -gradients[k][i] : gradients[k][i];
        const double up = loss_at(step), down = loss_at(-step);
        ASSERT_NEAR(along, (up - down) / (2 * step), 1e-7 * largest) << "input " << k << ", direction " << n;
      }
      values[k] = kept;
      continue;
    }
    for (int64_t i = 0; i < values[k].count(); ++i) {
      const double kept = values[k][i];
      values[k][i] = kept + step;
      const double up = loss();
      values[k][i] = kept - step;
      const double down = loss();
      values[k][i] = kept;
      ASSERT_NEAR(gradients[k][i], (up - down) / (2 * step), 1e-7 * largest) << "input " << k << ", element " << i;
    }
  }
}

// What stands around the operator in a graph.
struct Surroundings {
  bool behind_conv = false;  // 4-D inputs come out of a 1x1 convolution with the identity: any layout a convolution likes, same numbers
  bool shared = false;       // every input has a second consumer, whose gradient is there first
  enum class Activation { kNone, kRelu, kClip } activation = Activation::kNone;
};

inline std::string description_of(const Surroundings& s) {
  const char* activations[] = {"", " + relu", " + clip"};
  return std::string(s.behind_conv ? "behind a convolution" : "alone") + (s.shared ? ", inputs shared" : "") +
         activations[static_cast<int>(s.activation)];
}

inline ValueId identity_conv(Graph& graph, ValueId x, const std::string& name) {
  const int64_t channels = graph.value(x).shape[1];
  Doubles w({channels, channels, 1, 1});
  for (int64_t c = 0; c < channels; ++c) w[c * channels + c] = 1;
  return graph.add_node(name, ConvAttrs{}, {x, graph.add_constant(name + ".w", to_tensor(w))});
}

// One graph with the operator in it, run on the backend and in double. Seeds are zero where the output lies close to a kink of the
// activation, so that rounding cannot decide a branch that matters.
inline void check_in(Backend& backend, const OpCase& c, const Surroundings& around, Tolerance forward, Tolerance backward) {
  SCOPED_TRACE(c.name + ", " + description_of(around));
  RandomArrays random(11);
  Graph graph;
  Arrays inputs, seeds;
  CompileOptions options;
  std::vector<ValueId> leaves, operands;
  for (size_t k = 0; k < c.operands.size(); ++k) {
    const Operand& operand = c.operands[k];
    const std::string name = "x" + std::to_string(k);
    ValueId id = kNoValue;
    if (operand.value.present) {
      if (operand.leaf == Leaf::kInput) {
        id = graph.add_input(name, operand.dtype, operand.value.shape);
        inputs[id] = operand.value;
      } else if (operand.leaf == Leaf::kParameter) {
        id = graph.add_parameter(name, to_tensor(operand.value));
      } else {
        id = graph.add_constant(name, to_tensor(operand.value, operand.dtype));
      }
      if (differentiable(c, k) && operand.leaf != Leaf::kConstant) options.gradients.wanted.push_back(id);
    }
    leaves.push_back(id);
    const bool wrap = around.behind_conv && id != kNoValue && operand.leaf == Leaf::kInput && operand.dtype == DType::kF32 &&
                      operand.value.rank() == 4 && operand.value.count() > 0;
    operands.push_back(wrap ? identity_conv(graph, id, name + ".conv") : id);
  }
  const ValueId y = graph.add_node("op", c.attrs, operands);
  const bool smooth = graph.value(y).dtype == DType::kF32;
  ValueId out = y;
  UnaryAttrs clip{UnaryKind::kClip, -0.25f, 0.5f};
  if (around.activation == Surroundings::Activation::kRelu) out = graph.add_node("relu", UnaryAttrs{UnaryKind::kRelu}, {y});
  if (around.activation == Surroundings::Activation::kClip) out = graph.add_node("clip", clip, {y});
  graph.mark_output(out);
  std::vector<ValueId> seeded;
  if (smooth) seeded.push_back(out);
  if (around.shared)
    for (size_t k = 0; k < operands.size(); ++k)
      if (leaves[k] != kNoValue && differentiable(c, k) && c.operands[k].leaf != Leaf::kConstant) {
        seeded.push_back(graph.add_node("other" + std::to_string(k), UnaryAttrs{UnaryKind::kNeg}, {operands[k]}));
        graph.mark_output(seeded.back());
      }
  options.gradients.seeds = seeded;
  if (seeded.empty()) options.gradients.wanted.clear();

  const auto values = oracle::run<double>(graph, inputs, {}).values;
  for (ValueId id : seeded) seeds[id] = random.uniform(graph.value(id).shape);
  if (out != y) {
    const bool relu = around.activation == Surroundings::Activation::kRelu;
    for (int64_t i = 0; i < seeds[out].count(); ++i)
      for (double kink : {relu ? 0.0 : double{clip.alpha}, relu ? 0.0 : double{clip.beta}})
        if (std::abs(values[static_cast<size_t>(y)][i] - kink) < branch_margin()) seeds[out][i] = 0;
  }
  expect_like_oracle(backend, graph, options, inputs, seeds, forward, backward);
}

// All surroundings that make sense for the operator. A gradient that is shared has one rounding more.
inline void check_backend(const OpCase& c, Tolerance forward, Tolerance backward) {
  const Tolerance shared = backward.kind == Tolerance::Kind::kExact ? epsilons(2) : backward;
  bool has_map = false;
  for (const Operand& operand : c.operands)
    has_map =
        has_map || (operand.leaf == Leaf::kInput && operand.value.rank() == 4 && operand.dtype == DType::kF32 && operand.value.count() > 0);
  Graph probe;
  std::vector<ValueId> ids;
  for (const Operand& operand : c.operands)
    ids.push_back(operand.value.present ? probe.add_input("x", operand.dtype, operand.value.shape) : kNoValue);
  const bool floats = kind_of(c.attrs) == OpKind::kGather || probe.value(probe.add_node("op", c.attrs, ids)).dtype == DType::kF32;
  for (const bool behind_conv : {false, true}) {
    if (behind_conv && !has_map) continue;
    check_in(tested_backend(), c, {behind_conv, false, Surroundings::Activation::kNone}, forward, backward);
    if (!floats) continue;
    check_in(tested_backend(), c, {behind_conv, true, Surroundings::Activation::kNone}, forward, shared);
    check_in(tested_backend(), c, {behind_conv, false, Surroundings::Activation::kRelu}, forward, backward);
    check_in(tested_backend(), c, {behind_conv, false, Surroundings::Activation::kClip}, forward, backward);
  }
}

inline void check_op(const OpCase& c, Tolerance forward, Tolerance backward, double step = 1e-5) {
  check_gradient(c, step);
  check_backend(c, forward, backward);
}

}  // namespace actmatch::test
