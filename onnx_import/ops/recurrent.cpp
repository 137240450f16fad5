// LSTM, GRU and RNN, one step after the other: the number of steps is known from the input's shape. What a step takes from the input
// alone is one product over all steps.
#include <algorithm>
#include <cctype>
#include <functional>

#include "onnx_import/ops/control_flow.h"
#include "onnx_import/ops/ops.h"
#include "onnx_import/ops/steps.h"

namespace actmatch::onnx_import {
namespace {

using Activation = std::function<ValueId(ValueId)>;

// The activations that a node names, with their constants; these are listed for those that have any, in their order.
class Activations {
 public:
  Activations(NodeContext& c, const std::vector<std::string>& otherwise, size_t directions) : c_(c) {
    std::vector<std::string> names = c.attributes.texts("activations");
    const size_t count = otherwise.size() * directions;
    if (names.empty())
      for (size_t i = 0; i < count; ++i) names.push_back(otherwise[i % otherwise.size()]);
    if (names.size() != count)
      throw Unsupported("attribute 'activations' has " + std::to_string(names.size()) + " entries in place of " + std::to_string(count));
    const std::vector<float> alphas = c.attributes.numbers("activation_alpha"), betas = c.attributes.numbers("activation_beta");
    size_t alpha = 0, beta = 0;
    for (const std::string& name : names) all_.push_back(make(name, alphas, alpha, betas, beta));
  }

  ValueId apply(size_t index, ValueId x) const { return all_[index](x); }

 private:
  Activation make(const std::string& name, const std::vector<float>& alphas, size_t& alpha, const std::vector<float>& betas, size_t& beta) {
    const auto next = [](const std::vector<float>& list, size_t& at, float otherwise) { return at < list.size() ? list[at++] : otherwise; };
    const auto plain = [&](UnaryAttrs attrs) -> Activation { return [this, attrs](ValueId x) { return c_.step(attrs, {x}); }; };
    std::string lower = name;  // "case insensitive"
    std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
    if (lower == "tanh") return plain({UnaryKind::kTanh});
    if (lower == "sigmoid") return plain({UnaryKind::kSigmoid});
    if (lower == "relu") return plain({UnaryKind::kRelu});
    if (lower == "softplus") return plain({UnaryKind::kSoftplus});
    if (lower == "leakyrelu") return plain({UnaryKind::kLeakyRelu, next(alphas, alpha, 0.01f)});
    if (lower == "elu") return plain({UnaryKind::kElu, next(alphas, alpha, 1.0f)});
    if (lower == "hardsigmoid") {
      const float slope = next(alphas, alpha, 0.2f);
      return plain({UnaryKind::kHardSigmoid, slope, next(betas, beta, 0.5f)});
    }
    if (lower == "affine") {
      const float slope = next(alphas, alpha, 1.0f), offset = next(betas, beta, 0.0f);
      return [this, slope, offset](ValueId x) { return add(c_, multiply(c_, x, c_.scalar(slope)), c_.scalar(offset)); };
    }
    throw Unsupported("its activation '" + name + "' is not supported");
  }

  NodeContext& c_;
  std::vector<Activation> all_;
};

// What the three have in common. Sizes: T steps, a batch of B, I inputs, H hidden values, G gates.
struct Recurrent {
  NodeContext& c;
  int64_t gates;
  bool batch_first, backwards_first, both;
  int64_t steps = 0, batch = 0, inputs = 0, hidden = 0;
  ValueId x = kNoValue;  // T x B x I
  float clip = 0.0f;     // 0: none

  Recurrent(NodeContext& context, int64_t gate_count) : c(context), gates(gate_count) {
    const std::string direction = c.attributes.text("direction", "forward");
    if (direction != "forward" && direction != "reverse" && direction != "bidirectional")
      throw Unsupported("the direction '" + direction + "' is not defined");
    backwards_first = direction == "reverse";
    both = direction == "bidirectional";
    batch_first = c.attributes.flag("layout", false);
    clip = c.attributes.number("clip", 0.0f);
    if (!(clip >= 0)) throw Unsupported("its clip is negative");
    const Shape given = c.shape(c.input(0)), weights = c.shape(c.input(1)), recurrent = c.shape(c.input(2));
    if (given.size() != 3 || weights.size() != 3 || recurrent.size() != 3)
      throw Unsupported("its input and weights must have three axes, not " + to_string(given) + ", " + to_string(weights) + " and " +
                        to_string(recurrent));
    x = batch_first ? transpose(c, c.input(0), {1, 0, 2}) : c.input(0);
    steps = given[batch_first ? 1 : 0], batch = given[batch_first ? 0 : 1], inputs = given[2], hidden = recurrent[2];
    if (steps < 1 || steps > kMostTurns)
      throw Unsupported("it takes " + std::to_string(steps) + " steps; 1 to " + std::to_string(kMostTurns) + " are possible here");
    if (c.attributes.integer("hidden_size", hidden) != hidden || weights != Shape{directions(), gates * hidden, inputs} ||
        recurrent != Shape{directions(), gates * hidden, hidden})
      throw Unsupported("its weights " + to_string(weights) + " and " + to_string(recurrent) + " do not fit the input " + to_string(given));
    if (c.has(4)) {
      const Tensor& lengths = c.need_constant(4, "the list of lengths");
      if (lengths.dtype() != DType::kI64 ||
          std::any_of(lengths.data<int64_t>(), lengths.data<int64_t>() + lengths.count(), [&](int64_t length) { return length != steps; }))
        throw Unsupported("sequences of different lengths are not supported");
    }
  }

  int64_t directions() const { return both ? 2 : 1; }

  // One direction of a tensor with the directions along its first axis.
  ValueId of_direction(ValueId value, int64_t direction) const {
    Shape shape = c.shape(value);
    const ValueId one = slice(c, value, 0, direction, 1);
    shape.erase(shape.begin());
    return c.reshape(one, std::move(shape));
  }

  // Half `half` of the biases (0: with the input's weights, 1: with the recurrent ones), G H numbers; kNoValue where there are none.
  ValueId bias(int64_t direction, int64_t half) const {
    if (!c.has(3)) return kNoValue;
    if (c.shape(c.input(3)) != Shape{directions(), 2 * gates * hidden})
      throw Unsupported("its biases have the shape " + to_string(c.shape(c.input(3))));
    return slice(c, of_direction(c.input(3), direction), 0, half * gates * hidden, gates * hidden);
  }

  // B x H at the start; kNoValue: zeros.
  ValueId initial(size_t index, int64_t direction) const {
    if (!c.has(index)) return kNoValue;
    ValueId value = batch_first ? transpose(c, c.input(index), {1, 0, 2}) : c.input(index);
    const Shape shape = c.shape(value);
    if (shape.size() != 3 || shape[0] != directions() || (shape[1] != batch && shape[1] != 1) || shape[2] != hidden)
      throw Unsupported("its initial state has the shape " + to_string(c.shape(c.input(index))));
    return expand(c, of_direction(value, direction), {batch, hidden});
  }

  ValueId product(ValueId rows, ValueId weights) const { return c.step(MatMulAttrs{false, true}, {rows, weights}); }

  // Gates [first, first + count) of a B x G H tensor.
  ValueId part(ValueId value, int64_t first, int64_t count = 1) const { return slice(c, value, 1, first * hidden, count * hidden); }
  ValueId limited(ValueId value) const { return clip > 0 ? c.step(UnaryAttrs{UnaryKind::kClip, -clip, clip}, {value}) : value; }

  // What `begin` gives for a direction is called for one step after the other, with the input's share in it (B x G H), and gives h. Binds
  // the outputs Y and Y_h.
  void run(const std::function<std::function<ValueId(ValueId)>(int64_t direction)>& begin, bool recurrent_bias_with_input) const {
    std::vector<ValueId> outputs, last;
    for (int64_t direction = 0; direction < directions(); ++direction) {
      const bool backwards = backwards_first || direction == 1;
      ValueId share = product(c.reshape(x, {steps * batch, inputs}), of_direction(c.input(1), direction));
      if (const ValueId b = bias(direction, 0); b != kNoValue)
        share = add(c, share, recurrent_bias_with_input ? add(c, b, bias(direction, 1)) : b);
      const auto step = begin(direction);
      std::vector<ValueId> hs;
      for (int64_t i = 0; i < steps; ++i) hs.push_back(step(slice(c, share, 0, (backwards ? steps - 1 - i : i) * batch, batch)));
      last.push_back(c.reshape(hs.back(), {1, batch, hidden}));
      if (backwards) std::reverse(hs.begin(), hs.end());
      if (c.output_used(0)) outputs.push_back(c.reshape(concat(c, std::move(hs), 0), {steps, 1, batch, hidden}));
    }
    if (!outputs.empty()) {
      const ValueId y = concat(c, std::move(outputs), 1);
      c.alias(batch_first ? transpose(c, y, {2, 0, 1, 3}) : y, 0);
    }
    give_last(std::move(last), 1);
  }

  // 1 x B x H of each direction.
  void give_last(std::vector<ValueId> states, size_t output) const {
    if (!c.output_used(output)) return;
    const ValueId joined = concat(c, std::move(states), 0);
    c.alias(batch_first ? transpose(c, joined, {1, 0, 2}) : joined, output);
  }
};

}  // namespace

// h = f(x W' + h R' + b)
void lower_rnn(NodeContext& c) {
  const Recurrent r(c, 1);
  const Activations activations(c, {"Tanh"}, static_cast<size_t>(r.directions()));
  r.run(
      [&](int64_t direction) {
        const ValueId weights = r.of_direction(c.input(2), direction);
        return [&, weights, direction, h = r.initial(5, direction)](ValueId share) mutable {
          if (h != kNoValue) share = add(c, share, r.product(h, weights));
          return h = activations.apply(static_cast<size_t>(direction), r.limited(share));
        };
      },
      true);
}

// Gates z, r and h: h' = g(x Wh' + (r h) Rh' + bh), h = (1 - z) h' + z h. With linear_before_reset r stands before h Rh' and its bias.
void lower_gru(NodeContext& c) {
  const Recurrent r(c, 3);
  const bool linear = c.attributes.flag("linear_before_reset", false);
  const Activations activations(c, {"Sigmoid", "Tanh"}, static_cast<size_t>(r.directions()));
  r.run(
      [&](int64_t direction) {
        const ValueId weights = r.of_direction(c.input(2), direction);
        const ValueId of_gates = slice(c, weights, 0, 0, 2 * r.hidden), of_new = slice(c, weights, 0, 2 * r.hidden, r.hidden);
        const ValueId biases = r.bias(direction, 1);
        const auto bias = [&c, &r, biases](ValueId value, int64_t first, int64_t count) {
          return biases == kNoValue ? value : add(c, value, slice(c, biases, 0, first * r.hidden, count * r.hidden));
        };
        ValueId h = r.initial(5, direction);
        if (h == kNoValue)
          h = c.constant(Tensor::of<float>({r.batch, r.hidden}, std::vector<float>(static_cast<size_t>(r.batch * r.hidden))));
        return [&, of_gates, of_new, bias, direction, h](ValueId share) mutable {
          const auto f = static_cast<size_t>(2 * direction);
          const ValueId gates = activations.apply(f, r.limited(bias(add(c, r.part(share, 0, 2), r.product(h, of_gates)), 0, 2)));
          const ValueId z = r.part(gates, 0), reset = r.part(gates, 1);
          const ValueId past =
              linear ? multiply(c, reset, bias(r.product(h, of_new), 2, 1)) : bias(r.product(multiply(c, reset, h), of_new), 2, 1);
          const ValueId fresh = activations.apply(f + 1, r.limited(add(c, r.part(share, 2), past)));
          return h = add(c, fresh, multiply(c, z, subtract(c, h, fresh)));
        };
      },
      false);
}

// Gates i, o, f and c, with peepholes p: cell = f cell + i g(c), h = o h(cell).
void lower_lstm(NodeContext& c) {
  const Recurrent r(c, 4);
  const bool coupled = c.attributes.flag("input_forget", false);
  const Activations activations(c, {"Sigmoid", "Tanh", "Tanh"}, static_cast<size_t>(r.directions()));
  if (c.has(7) && c.shape(c.input(7)) != Shape{r.directions(), 3 * r.hidden})
    throw Unsupported("its peepholes have the shape " + to_string(c.shape(c.input(7))));
  std::vector<ValueId> last_cells(static_cast<size_t>(r.directions()), kNoValue);
  r.run(
      [&](int64_t direction) {
        const ValueId weights = r.of_direction(c.input(2), direction);
        const ValueId peepholes = c.has(7) ? r.of_direction(c.input(7), direction) : kNoValue;
        return [&, weights, peepholes, direction, h = r.initial(5, direction), cell = r.initial(6, direction)](ValueId share) mutable {
          const auto f = static_cast<size_t>(3 * direction);
          if (h != kNoValue) share = add(c, share, r.product(h, weights));
          const auto gate = [&](int64_t which, ValueId seen) {
            ValueId value = r.part(share, which);
            if (peepholes != kNoValue && seen != kNoValue)
              value = add(c, value, multiply(c, seen, slice(c, peepholes, 0, which * r.hidden, r.hidden)));
            return activations.apply(f, r.limited(value));
          };
          const ValueId in = gate(0, cell), fresh = activations.apply(f + 1, r.limited(r.part(share, 3)));
          ValueId next = multiply(c, in, fresh);
          if (cell != kNoValue) {
            const ValueId forget = coupled ? subtract(c, c.scalar(1.0f), in) : gate(2, cell);
            next = add(c, multiply(c, forget, cell), next);
          }
          cell = next;
          last_cells[static_cast<size_t>(direction)] = c.reshape(cell, {1, r.batch, r.hidden});
          return h = multiply(c, gate(1, cell), activations.apply(f + 2, cell));
        };
      },
      true);
  r.give_last(std::move(last_cells), 2);
}

}  // namespace actmatch::onnx_import
