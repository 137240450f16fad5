// Scaled dot-product attention and rotary position embeddings, in steps.
#include <cmath>
#include <limits>

#include "onnx_import/ops/ops.h"
#include "onnx_import/ops/steps.h"

namespace actmatch::onnx_import {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

// batch x length x (heads * size) -> batch x heads x length x size; four axes stay as they are.
ValueId split_heads(NodeContext& c, ValueId x, int64_t heads) {
  const Shape shape = c.shape(x);
  if (shape.size() == 4) return x;
  if (shape.size() != 3 || heads < 1 || shape[2] % heads != 0)
    throw Unsupported("an operand of shape " + to_string(shape) + " does not divide into " + std::to_string(heads) + " heads");
  return transpose(c, c.reshape(x, {shape[0], shape[1], heads, shape[2] / heads}), {0, 2, 1, 3});
}

ValueId join_heads(NodeContext& c, ValueId x) {
  const Shape shape = c.shape(x);
  return c.reshape(transpose(c, x, {0, 2, 1, 3}), {shape[0], shape[2], shape[1] * shape[3]});
}

// Heads of key and value that serve several of the query are repeated, each beside itself.
ValueId repeat_heads(NodeContext& c, ValueId x, int64_t heads) {
  const Shape s = c.shape(x);
  if (s[1] == heads) return x;
  if (s[1] < 1 || heads % s[1] != 0)
    throw Unsupported(std::to_string(s[1]) + " heads of keys do not serve " + std::to_string(heads) + " of queries");
  const ValueId repeated = expand(c, c.reshape(x, {s[0], s[1], 1, s[2], s[3]}), {s[0], s[1], heads / s[1], s[2], s[3]});
  return c.reshape(repeated, {s[0], heads, s[2], s[3]});
}

// What is added to the scores: 0 where a query may look, minus infinity where it may not. kNoValue: it may look everywhere.
class Bias {
 public:
  explicit Bias(NodeContext& c) : c_(c) {}
  ValueId value = kNoValue;

  void add_bias(ValueId other) { value = value == kNoValue ? other : add(c_, value, other); }
  void allow_only(ValueId allowed) { add_bias(where(c_, allowed, c_.scalar(0.0f), c_.scalar(kMinusInfinity))); }

 private:
  NodeContext& c_;
};

// The mask at the length of the keys; what it leaves out at the end is not looked at.
void add_mask(NodeContext& c, ValueId mask, int64_t keys, Bias& bias) {
  const Shape shape = c.shape(mask);
  if (!shape.empty() && shape.back() < keys && shape.back() != 1) {
    const bool flags = c.dtype(mask) == DType::kBool;
    Shape missing = shape;
    missing.back() = keys - shape.back();
    const ValueId none = expand(c, flags ? c.constant(Tensor::scalar<uint8_t>(0)) : c.scalar(kMinusInfinity), missing);
    mask = concat(c, {mask, none}, shape.size() - 1);
  }
  if (c.dtype(mask) == DType::kBool)
    bias.allow_only(mask);
  else
    bias.add_bias(mask);
}

// Where key j may be seen from query i, by their distance j - i - offset. `offsets`: one for each batch, or kNoValue for `offset`.
void limit_distance(NodeContext& c, int64_t queries, int64_t keys, int64_t offset, ValueId offsets, int64_t low, int64_t high, Bias& bias) {
  bounded_count({queries, keys});
  Tensor table(DType::kI64, {queries, keys});
  for (int64_t i = 0; i < table.count(); ++i) table.data<int64_t>()[i] = i % keys - i / keys - offset;
  ValueId distance = c.constant(std::move(table));
  if (offsets != kNoValue) distance = subtract(c, distance, c.reshape(offsets, {c.shape(offsets)[0], 1, 1, 1}));
  const auto number = [&](int64_t value) { return c.constant(Tensor::scalar(value)); };
  if (high < std::numeric_limits<int64_t>::max()) bias.allow_only(binary(c, BinaryKind::kLessOrEqual, distance, number(high)));
  if (low > std::numeric_limits<int64_t>::min()) bias.allow_only(binary(c, BinaryKind::kGreaterOrEqual, distance, number(low)));
}

}  // namespace

void lower_attention(NodeContext& c) {
  const AttributeReader& a = c.attributes;
  a.ignore("softmax_precision");  // everything is computed in float32
  const bool flat = c.rank(c.input(0)) == 3;
  const int64_t query_heads = a.integer("q_num_heads", 0, 0), key_heads = a.integer("kv_num_heads", 0, 0);
  const ValueId q = split_heads(c, c.input(0), query_heads);
  ValueId k = split_heads(c, c.input(1), key_heads), v = split_heads(c, c.input(2), key_heads);
  if (c.rank(q) != 4 || c.rank(k) != 4 || c.rank(v) != 4) throw Unsupported("its operands must have three or four axes");
  int64_t past = 0;
  if (c.has(4) != c.has(5)) throw Unsupported("of past keys and values only one is given");
  if (c.has(4)) {
    past = c.shape(c.input(4)).size() == 4 ? c.shape(c.input(4))[2] : 0;
    k = concat(c, {c.input(4), k}, 2);
    v = concat(c, {c.input(5), v}, 2);
  }
  const ValueId present_key = k, present_value = v;
  const Shape qs = c.shape(q);
  const int64_t queries = qs[2], keys = c.shape(k)[2];
  k = repeat_heads(c, k, qs[1]);
  v = repeat_heads(c, v, qs[1]);

  Bias bias(c);
  if (c.has(3)) add_mask(c, c.input(3), keys, bias);
  ValueId offsets = kNoValue;
  if (c.has(6)) {
    const ValueId valid = c.input(6);
    if (c.shape(valid) != Shape{qs[0]}) throw Unsupported("the numbers of valid keys do not fit the batch");
    offsets = subtract(c, valid, c.constant(Tensor::scalar(queries)));
    const ValueId numbers = c.reshape(positions(c, keys), {1, 1, 1, keys});
    bias.allow_only(binary(c, BinaryKind::kLess, numbers, c.reshape(valid, {qs[0], 1, 1, 1})));
  }
  constexpr int64_t kNoLow = std::numeric_limits<int64_t>::min(), kNoHigh = std::numeric_limits<int64_t>::max();
  if (a.flag("is_causal", false)) limit_distance(c, queries, keys, past, offsets, kNoLow, 0, bias);
  const int64_t left = a.integer("left_window_size", -1, -1), right = a.integer("right_window_size", -1, -1);
  if (left >= 0 || right >= 0)
    limit_distance(c, queries, keys, past, offsets, left >= 0 ? -left : kNoLow, right >= 0 ? right : kNoHigh, bias);

  // A query that may look nowhere gives zeros; the softmax must not see a row of infinities, nor its gradient.
  ValueId blind = kNoValue;
  if (bias.value != kNoValue) {
    const int64_t last = c.rank(bias.value) - 1;
    blind = binary(c, BinaryKind::kEqual, reduce(c, ReduceKind::kMax, {last}, bias.value), c.scalar(kMinusInfinity));
    bias.value = where(c, blind, c.scalar(0.0f), bias.value);
  }
  const float scale = std::sqrt(a.number("scale", 1.0f / std::sqrt(static_cast<float>(qs[3]))));
  if (!(scale >= 0)) throw Unsupported("its scale is negative");
  const ValueId factor = c.scalar(scale);
  const ValueId raw = c.step(MatMulAttrs{false, true}, {multiply(c, q, factor), multiply(c, k, factor)});
  const float cap = a.number("softcap", 0.0f);
  const ValueId capped = cap > 0 ? multiply(c, unary(c, UnaryKind::kTanh, divide(c, raw, c.scalar(cap))), c.scalar(cap)) : raw;
  const ValueId biased = bias.value == kNoValue ? capped : add(c, capped, bias.value);
  ValueId weights = c.step(SoftmaxAttrs{3, false}, {biased});
  if (blind != kNoValue) weights = where(c, blind, c.scalar(0.0f), weights);
  const ValueId y = c.step(MatMulAttrs{}, {weights, v});

  c.alias(flat ? join_heads(c, y) : y);
  if (c.output_used(1)) c.alias(present_key, 1);
  if (c.output_used(2)) c.alias(present_value, 2);
  const int64_t mode = a.integer("qk_matmul_output_mode", 0, 0, 3);
  if (!c.output_used(3)) return;
  const ValueId infinite = blind == kNoValue || mode != 2 ? kNoValue : where(c, blind, c.scalar(kMinusInfinity), biased);
  c.alias(mode == 0 ? raw : mode == 1 ? capped : mode == 2 ? (infinite == kNoValue ? biased : infinite) : weights, 3);
}

namespace {

// softmax(q k' / sqrt(size) + bias) v of batch x length x (heads * size) each, and what ONNX Runtime's operators leave to options.
void plain_attention(NodeContext& c, ValueId query, ValueId key, ValueId value, ValueId bias) {
  const int64_t heads = c.attributes.integer("num_heads", 0, 1);
  c.attributes.ignore("mask_filter_value");
  if (c.attributes.flag("unidirectional", false))
    throw Unsupported("attention to what came before alone (unidirectional) is not supported");
  for (size_t i = 1; i < c.output_count(); ++i) c.refuse_output(i, "of keys and values");
  const ValueId q = split_heads(c, query, heads), k = split_heads(c, key, heads), v = split_heads(c, value, heads);
  const float given = c.attributes.number("scale", 0.0f);
  const float scale = given == 0.0f ? 1.0f / std::sqrt(static_cast<float>(c.shape(q)[3])) : given;
  ValueId scores = c.step(MatMulAttrs{false, true}, {multiply(c, q, c.scalar(scale)), k});
  if (bias != kNoValue) scores = add(c, scores, bias);
  c.alias(join_heads(c, c.step(MatMulAttrs{}, {c.step(SoftmaxAttrs{3, false}, {scores}), v})));
}

void refuse_inputs(const NodeContext& c, std::initializer_list<size_t> inputs) {
  for (size_t i : inputs)
    if (c.has(i)) throw Unsupported("its input " + std::to_string(i) + " (a mask or past keys and values) is not supported");
}

}  // namespace

// Query, key and value are one product of the input.
void lower_microsoft_attention(NodeContext& c) {
  refuse_inputs(c, {3, 4, 6});
  const ValueId x = c.input(0), weights = c.input(1);
  if (c.rank(x) != 3 || c.rank(weights) != 2) throw Unsupported("its input must have three axes and its weights two");
  std::vector<int64_t> sizes = c.attributes.integers("qkv_hidden_sizes", 1, AttributeReader::kLargest);
  const int64_t columns = c.shape(weights)[1];
  if (sizes.empty()) sizes.assign(3, columns / 3);
  if (sizes.size() != 3 || sizes[0] + sizes[1] + sizes[2] != columns)
    throw Unsupported("its weights " + to_string(c.shape(weights)) + " do not divide into those of query, key and value");
  ValueId all = c.step(MatMulAttrs{}, {x, weights});
  if (c.has(2)) all = add(c, all, c.input(2));
  plain_attention(c, slice(c, all, 2, 0, sizes[0]), slice(c, all, 2, sizes[0], sizes[1]), slice(c, all, 2, sizes[0] + sizes[1], sizes[2]),
                  c.has(5) ? c.input(5) : kNoValue);
}

void lower_microsoft_multi_head_attention(NodeContext& c) {
  refuse_inputs(c, {4, 6, 7, 8, 9});
  ValueId query = c.input(0);
  if (!c.has(1) || !c.has(2)) throw Unsupported("keys and values packed with the query are not supported");
  ValueId key = c.input(1), value = c.input(2);
  if (c.rank(query) != 3 || c.rank(key) != 3 || c.rank(value) != 3) throw Unsupported("query, key and value must have three axes");
  if (c.has(3)) {
    const ValueId bias = c.input(3);
    const int64_t q = c.shape(query)[2], k = c.shape(key)[2], v = c.shape(value)[2];
    if (c.shape(bias) != Shape{q + k + v}) throw Unsupported("its bias has the shape " + to_string(c.shape(bias)));
    query = add(c, query, slice(c, bias, 0, 0, q));
    key = add(c, key, slice(c, bias, 0, q, k));
    value = add(c, value, slice(c, bias, 0, q + k, v));
  }
  plain_attention(c, query, key, value, c.has(5) ? c.input(5) : kNoValue);
}

// Pairs of features turned by an angle that depends on the position.
void lower_rotary_embedding(NodeContext& c) {
  const AttributeReader& a = c.attributes;
  const ValueId given = c.input(0);
  const bool flat = c.rank(given) == 3;
  const ValueId x = split_heads(c, given, a.integer("num_heads", 0, 0));  // batch x heads x length x size
  const Shape s = c.shape(x);
  if (s.size() != 4) throw Unsupported("its input must have three or four axes");
  int64_t turned = a.integer("rotary_embedding_dim", 0, 0);
  if (turned == 0) turned = s[3];
  if (turned > s[3] || turned % 2 != 0)
    throw Unsupported("it turns " + std::to_string(turned) + " of " + std::to_string(s[3]) + " features");
  const auto table = [&](size_t i) {  // batch x 1 x length x pairs
    ValueId t = c.input(i);
    if (c.has(3)) t = gather(c, t, 0, c.input(3));
    if (c.rank(t) != 3 || c.shape(t)[2] != turned / 2) throw Unsupported("its tables do not fit the input " + to_string(c.shape(given)));
    const Shape ts = c.shape(t);
    return c.reshape(t, {ts[0], 1, ts[1], ts[2]});
  };
  const ValueId cosine = table(1), sine = table(2);
  const bool interleaved = a.flag("interleaved", false);
  const int64_t half = turned / 2;
  const ValueId first = slice(c, x, 3, 0, half, interleaved ? 2 : 1);
  const ValueId second = slice(c, x, 3, interleaved ? 1 : half, half, interleaved ? 2 : 1);
  const ValueId real = subtract(c, multiply(c, cosine, first), multiply(c, sine, second));
  const ValueId imaginary = add(c, multiply(c, sine, first), multiply(c, cosine, second));
  ValueId y = kNoValue;
  if (interleaved) {
    const Shape pair{s[0], s[1], s[2], half, 1};
    y = c.reshape(concat(c, {c.reshape(real, pair), c.reshape(imaginary, pair)}, 4), {s[0], s[1], s[2], turned});
  } else {
    y = concat(c, {real, imaginary}, 3);
  }
  if (turned < s[3]) y = concat(c, {y, slice(c, x, 3, turned, s[3] - turned)}, 3);
  c.alias(flat ? join_heads(c, y) : y);
}

}  // namespace actmatch::onnx_import
