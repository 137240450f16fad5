#include "onnx_import/initializers.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "engine/core/error.h"

namespace actmatch::onnx_import {
namespace {

using onnx::TensorProto;
static_assert(std::endian::native == std::endian::little, "raw_data of ONNX files is little-endian");

constexpr int64_t kMostSparse = int64_t{1} << 25;  // elements that a sparse tensor may stand for

// Types that onnx.proto has gained since the version that is the least needed here.
enum NewerType : int32_t {
  kFloat8E4M3Fn = 17,
  kFloat8E4M3Fnuz = 18,
  kFloat8E5M2 = 19,
  kFloat8E5M2Fnuz = 20,
  kUint4 = 21,
  kInt4 = 22,
  kFloat4E2M1 = 23,
  kFloat8E8M0 = 24,
  kUint2 = 25,
  kInt2 = 26,
};
constexpr const char* kNewerNames[] = {"FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ", "UINT4",      "INT4",
                                       "FLOAT4E2M1",   "FLOAT8E8M0",     "UINT2",      "INT2",           "FLOAT6E2M3", "FLOAT6E3M2"};

float half_to_float(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000u) << 16;
  const uint32_t exponent = (h >> 10) & 31u, mantissa = h & 1023u;
  if (exponent == 0) return std::copysign(static_cast<float>(mantissa) * 0x1p-24f, std::bit_cast<float>(sign));
  const uint32_t widened = exponent == 31 ? 255u : exponent + 112;  // 112: the difference of the two exponent biases
  return std::bit_cast<float>(sign | widened << 23 | mantissa << 13);
}

float bfloat_to_float(uint16_t b) { return std::bit_cast<float>(static_cast<uint32_t>(b) << 16); }

// Floats of few bits: sign, exponent, mantissa. `special`: what the patterns at the ends mean.
enum class Special : uint8_t { kIeee, kOnlyNan, kNegativeZeroIsNan, kNone };
float small_float(uint32_t bits, int exponent_bits, int mantissa_bits, int bias, Special special) {
  const uint32_t mantissa = bits & ((1u << mantissa_bits) - 1), exponents = (1u << exponent_bits) - 1;
  const uint32_t exponent = bits >> mantissa_bits & exponents;
  const bool negative = (bits >> (exponent_bits + mantissa_bits) & 1u) != 0;
  const float sign = negative ? -1.0f : 1.0f, nan = std::numeric_limits<float>::quiet_NaN();
  if (special == Special::kNegativeZeroIsNan && negative && exponent == 0 && mantissa == 0) return nan;
  if (exponent == exponents && special == Special::kIeee) return mantissa == 0 ? sign * std::numeric_limits<float>::infinity() : nan;
  if (exponent == exponents && special == Special::kOnlyNan && mantissa == (1u << mantissa_bits) - 1) return nan;
  const float fraction = std::ldexp(static_cast<float>(mantissa), -mantissa_bits);
  return sign * (exponent == 0 ? std::ldexp(fraction, 1 - bias) : std::ldexp(1.0f + fraction, static_cast<int>(exponent) - bias));
}

float float8_to_float(int32_t type, uint8_t b) {
  switch (type) {
    case kFloat8E4M3Fn: return small_float(b, 4, 3, 7, Special::kOnlyNan);
    case kFloat8E4M3Fnuz: return small_float(b, 4, 3, 8, Special::kNegativeZeroIsNan);
    case kFloat8E5M2: return small_float(b, 5, 2, 15, Special::kIeee);
    case kFloat8E5M2Fnuz: return small_float(b, 5, 2, 16, Special::kNegativeZeroIsNan);
    default: return b == 255 ? std::numeric_limits<float>::quiet_NaN() : std::ldexp(1.0f, static_cast<int>(b) - 127);  // E8M0
  }
}

// Values past 2^63 - 1 stay the largest there is.
int64_t from_unsigned(uint64_t v) { return static_cast<int64_t>(std::min<uint64_t>(v, std::numeric_limits<int64_t>::max())); }

int bits_of(int32_t type) {
  switch (type) {
    case TensorProto::DOUBLE:
    case TensorProto::INT64:
    case TensorProto::UINT64: return 64;
    case TensorProto::FLOAT:
    case TensorProto::INT32:
    case TensorProto::UINT32: return 32;
    case TensorProto::FLOAT16:
    case TensorProto::BFLOAT16:
    case TensorProto::INT16:
    case TensorProto::UINT16: return 16;
    case TensorProto::INT8:
    case TensorProto::UINT8:
    case TensorProto::BOOL:
    case kFloat8E4M3Fn:
    case kFloat8E4M3Fnuz:
    case kFloat8E5M2:
    case kFloat8E5M2Fnuz:
    case kFloat8E8M0: return 8;
    case kUint4:
    case kInt4:
    case kFloat4E2M1: return 4;
    case kUint2:
    case kInt2: return 2;
    default: return 0;
  }
}

// Element i of several packed into a byte, the first in the lowest bits; for signed types with its sign.
int64_t packed_element(const std::byte* bytes, int64_t i, int bits, bool is_signed) {
  const int64_t in_byte = 8 / bits;
  const auto shift = static_cast<unsigned>(i % in_byte * bits);
  const unsigned value = std::to_integer<unsigned>(bytes[i / in_byte]) >> shift & ((1u << bits) - 1);
  const bool negative = is_signed && (value >> (bits - 1) & 1u) != 0;
  return static_cast<int64_t>(value) - (negative ? int64_t{1} << bits : 0);
}

template <class T, class Out, class Convert>
void convert(const std::byte* bytes, Out* out, int64_t count, Convert element) {
  for (int64_t i = 0; i < count; ++i) {
    T value;
    std::memcpy(&value, bytes + static_cast<size_t>(i) * sizeof(T), sizeof(T));
    out[i] = element(value);
  }
}

// `count` elements as raw_data holds them; of packed types from the first of a byte on.
template <class Out>
void decode(int32_t type, const std::byte* bytes, Out* out, int64_t count) {
  const auto same = [](auto v) { return static_cast<Out>(v); };
  switch (type) {
    case TensorProto::FLOAT: return convert<float>(bytes, out, count, same);
    case TensorProto::DOUBLE: return convert<double>(bytes, out, count, same);
    case TensorProto::FLOAT16: return convert<uint16_t>(bytes, out, count, [](uint16_t v) { return static_cast<Out>(half_to_float(v)); });
    case TensorProto::BFLOAT16:
      return convert<uint16_t>(bytes, out, count, [](uint16_t v) { return static_cast<Out>(bfloat_to_float(v)); });
    case TensorProto::INT8: return convert<int8_t>(bytes, out, count, same);
    case TensorProto::UINT8: return convert<uint8_t>(bytes, out, count, same);
    case TensorProto::INT16: return convert<int16_t>(bytes, out, count, same);
    case TensorProto::UINT16: return convert<uint16_t>(bytes, out, count, same);
    case TensorProto::INT32: return convert<int32_t>(bytes, out, count, same);
    case TensorProto::UINT32: return convert<uint32_t>(bytes, out, count, same);
    case TensorProto::INT64: return convert<int64_t>(bytes, out, count, same);
    case TensorProto::UINT64: return convert<uint64_t>(bytes, out, count, [](uint64_t v) { return static_cast<Out>(from_unsigned(v)); });
    case TensorProto::BOOL: return convert<uint8_t>(bytes, out, count, [](uint8_t v) { return static_cast<Out>(v != 0 ? 1 : 0); });
    case kFloat4E2M1:
      for (int64_t i = 0; i < count; ++i)
        out[i] = static_cast<Out>(small_float(static_cast<uint32_t>(packed_element(bytes, i, 4, false)), 2, 1, 1, Special::kNone));
      return;
    case kUint4:
    case kInt4:
    case kUint2:
    case kInt2:
      for (int64_t i = 0; i < count; ++i)
        out[i] = static_cast<Out>(packed_element(bytes, i, bits_of(type), type == kInt4 || type == kInt2));
      return;
    default: return convert<uint8_t>(bytes, out, count, [&](uint8_t v) { return static_cast<Out>(float8_to_float(type, v)); });
  }
}

void decode_into(int32_t type, const std::byte* bytes, Tensor& out, int64_t first, int64_t count) {
  switch (out.dtype()) {
    case DType::kF32: return decode(type, bytes, out.data<float>() + first, count);
    case DType::kI64: return decode(type, bytes, out.data<int64_t>() + first, count);
    case DType::kBool: return decode(type, bytes, out.data<uint8_t>() + first, count);
  }
}

// The typed field as the bytes that raw_data would have.
template <class Narrow, class Field>
std::string as_raw(const Field& field) {
  std::string raw(static_cast<size_t>(field.size()) * sizeof(Narrow), '\0');
  for (int i = 0; i < field.size(); ++i) {
    const auto value = static_cast<Narrow>(field.Get(i));
    std::memcpy(raw.data() + static_cast<size_t>(i) * sizeof(Narrow), &value, sizeof(Narrow));
  }
  return raw;
}

std::string typed_bytes(const TensorProto& t) {
  switch (t.data_type()) {
    case TensorProto::FLOAT: return as_raw<float>(t.float_data());
    case TensorProto::DOUBLE: return as_raw<double>(t.double_data());
    case TensorProto::INT64: return as_raw<int64_t>(t.int64_data());
    case TensorProto::UINT64: return as_raw<uint64_t>(t.uint64_data());
    case TensorProto::UINT32: return as_raw<uint32_t>(t.uint64_data());
    case TensorProto::INT32: return as_raw<int32_t>(t.int32_data());
    default: return bits_of(t.data_type()) == 16 ? as_raw<uint16_t>(t.int32_data()) : as_raw<uint8_t>(t.int32_data());
  }
}

}  // namespace

std::optional<DType> widened_type(int32_t onnx_type) {
  switch (onnx_type) {
    case TensorProto::FLOAT:
    case TensorProto::DOUBLE:
    case TensorProto::FLOAT16:
    case TensorProto::BFLOAT16: return DType::kF32;
    case TensorProto::INT8:
    case TensorProto::UINT8:
    case TensorProto::INT16:
    case TensorProto::UINT16:
    case TensorProto::INT32:
    case TensorProto::UINT32:
    case TensorProto::INT64:
    case TensorProto::UINT64: return DType::kI64;
    case TensorProto::BOOL: return DType::kBool;
    default: return std::nullopt;
  }
}

std::optional<DType> stored_type(int32_t onnx_type) {
  switch (onnx_type) {
    case kUint4:
    case kInt4:
    case kUint2:
    case kInt2: return DType::kI64;
    case kFloat8E4M3Fn:
    case kFloat8E4M3Fnuz:
    case kFloat8E5M2:
    case kFloat8E5M2Fnuz:
    case kFloat8E8M0:
    case kFloat4E2M1: return DType::kF32;
    default: return widened_type(onnx_type);
  }
}

bool is_half(int32_t onnx_type) { return onnx_type == TensorProto::FLOAT16 || onnx_type == TensorProto::BFLOAT16; }

bool is_small_integer(int32_t onnx_type) { return stored_type(onnx_type) == DType::kI64 && bits_of(onnx_type) <= 8; }

std::string type_name(int32_t onnx_type) {
  if (onnx_type >= kFloat8E4M3Fn && onnx_type < kFloat8E4M3Fn + static_cast<int32_t>(std::size(kNewerNames)))
    return kNewerNames[onnx_type - kFloat8E4M3Fn];
  if (onnx::TensorProto_DataType_IsValid(onnx_type))
    return onnx::TensorProto_DataType_Name(static_cast<onnx::TensorProto_DataType>(onnx_type));
  return "type " + std::to_string(onnx_type);
}

uint64_t stored_bytes(int32_t onnx_type, int64_t count) {
  const auto bits = static_cast<uint64_t>(bits_of(onnx_type));
  return bits >= 8 ? static_cast<uint64_t>(count) * (bits / 8) : (static_cast<uint64_t>(count) * bits + 7) / 8;
}

StoredTensor describe_tensor(const TensorProto& t, const std::string& where) {
  const auto dtype = stored_type(t.data_type());
  if (!dtype)
    throw Error(ErrorCode::kUnsupported, where + " has the element type " + type_name(t.data_type()) + ", which is not supported");
  if (t.has_segment()) throw Error(ErrorCode::kUnsupported, where + " is stored in segments, which is not supported");
  if (t.dims_size() > kMaxRank)
    throw Error(ErrorCode::kUnsupported,
                where + " has " + std::to_string(t.dims_size()) + " dimensions; at most " + std::to_string(kMaxRank) + " are supported");
  StoredTensor stored{t.data_type(), *dtype, {t.dims().begin(), t.dims().end()}, nullptr, 0};
  for (int64_t extent : stored.shape)
    if (extent < 0) throw Error(ErrorCode::kFormat, where + " has the negative extent " + std::to_string(extent) + "; the file is damaged");
  element_count(stored.shape);  // throws where it overflows
  return stored;
}

StoredTensor stored_tensor(const TensorProto& t, const Stretch& stretch, std::shared_ptr<const ByteSource> source,
                           const std::string& where) {
  StoredTensor stored = describe_tensor(t, where);
  const int64_t count = element_count(stored.shape);
  const bool other_data = t.has_raw_data() || t.float_data_size() > 0;
  if (other_data || (stretch.floats && t.data_type() != TensorProto::FLOAT) || stored_bytes(t.data_type(), count) != stretch.length)
    throw Error(ErrorCode::kFormat, where + " has the shape " + to_string(stored.shape) + " but holds " + std::to_string(stretch.length) +
                                        " bytes of " + type_name(t.data_type()) + "; the file is damaged, export it again");
  stored.source = std::move(source);
  stored.offset = stretch.offset;
  return stored;
}

Tensor read_stored(const StoredTensor& stored, DType as) {
  Tensor out(as, stored.shape);
  const int64_t count = out.count();
  if (as == DType::kF32 && stored.type == TensorProto::FLOAT) {
    stored.source->read(stored.offset, std::as_writable_bytes(std::span(out.data<float>(), static_cast<size_t>(count))));
    return out;
  }
  constexpr int64_t kPart = int64_t{1} << 17;  // elements, whole bytes of packed ones
  std::vector<std::byte> bytes(stored_bytes(stored.type, std::min(count, kPart)));
  for (int64_t first = 0; first < count; first += kPart) {
    const int64_t part = std::min(kPart, count - first);
    const std::span<std::byte> here(bytes.data(), stored_bytes(stored.type, part));
    stored.source->read(stored.offset + stored_bytes(stored.type, first), here);
    decode_into(stored.type, here.data(), out, first, part);
  }
  return out;
}

Tensor read_tensor(const TensorProto& t, const std::string& where) {
  if (t.data_location() == TensorProto::EXTERNAL || t.external_data_size() > 0)
    throw Error(ErrorCode::kUnsupported,
                where + " keeps its data in another file, which only initializers may do; save it inside the model");
  const StoredTensor description = describe_tensor(t, where);
  const int64_t count = element_count(description.shape);
  const bool raw = t.has_raw_data();
  const std::string typed = raw ? std::string() : typed_bytes(t);
  const std::string& bytes = raw ? t.raw_data() : typed;
  if (bytes.size() != stored_bytes(t.data_type(), count))
    throw Error(ErrorCode::kFormat,
                where + " has the shape " + to_string(description.shape) + " but holds " +
                    (raw ? std::to_string(bytes.size()) + " bytes"
                         : std::to_string(bytes.size() * 8 / static_cast<size_t>(bits_of(t.data_type()))) + " elements") +
                    " of " + type_name(t.data_type()) + "; the file is damaged, export it again");
  Tensor out(description.dtype, description.shape);
  decode_into(t.data_type(), reinterpret_cast<const std::byte*>(bytes.data()), out, 0, count);
  return out;
}

Tensor read_sparse_tensor(const onnx::SparseTensorProto& proto, const std::string& where) {
  const Tensor values = read_tensor(proto.values(), where + " (its values)");
  const Tensor indices = read_tensor(proto.indices(), where + " (its indices)");
  const auto damaged = [&](const std::string& what) { throw Error(ErrorCode::kFormat, where + " " + what + "; the file is damaged"); };
  Shape shape(proto.dims().begin(), proto.dims().end());
  if (shape.size() > kMaxRank) damaged("has too many dimensions");
  for (int64_t extent : shape)
    if (extent < 0) damaged("has a negative extent");
  const int64_t count = element_count(shape), given = values.count();
  if (count > kMostSparse)
    throw Error(ErrorCode::kUnsupported, where + " is sparse and stands for " + std::to_string(count) +
                                             " elements, more than the limit of " + std::to_string(kMostSparse) + "; export it dense");
  const bool linear = indices.shape().size() == 1;
  const auto rank = static_cast<int64_t>(shape.size());
  if (indices.dtype() != DType::kI64 || values.shape().size() != 1 || indices.count() != (linear ? given : given * rank))
    damaged("has as many indices as do not fit its values");
  Tensor out(values.dtype(), shape);
  const size_t width = size_of(values.dtype());
  for (int64_t i = 0; i < given; ++i) {
    int64_t at = linear ? indices.data<int64_t>()[i] : 0;
    for (int64_t axis = 0; !linear && axis < rank; ++axis) {
      const int64_t index = indices.data<int64_t>()[i * rank + axis], extent = shape[static_cast<size_t>(axis)];
      if (index < 0 || index >= extent) damaged("has an index out of range");
      at = at * extent + index;
    }
    if (at < 0 || at >= count) damaged("has an index out of range");
    std::memcpy(static_cast<std::byte*>(out.raw()) + static_cast<size_t>(at) * width,
                static_cast<const std::byte*>(values.raw()) + static_cast<size_t>(i) * width, width);
  }
  return out;
}

int64_t find_non_finite(const StoredTensor& stored) {
  constexpr int64_t kPart = int64_t{1} << 16;
  constexpr uint32_t kAllButSign = 0x7fffffffu, kInfinity = 0x7f800000u;
  const int64_t count = element_count(stored.shape);
  std::vector<std::byte> bytes(stored_bytes(stored.type, std::min(count, kPart)));
  std::vector<float> values(static_cast<size_t>(std::min(count, kPart)));
  for (int64_t first = 0; first < count; first += kPart) {
    const int64_t part = std::min(kPart, count - first);
    const std::span<std::byte> here(bytes.data(), stored_bytes(stored.type, part));
    stored.source->read(stored.offset + stored_bytes(stored.type, first), here);
    decode(stored.type, here.data(), values.data(), part);
    uint32_t largest = 0;  // all at once, as fast as the memory; which one it is matters only where there is one
    for (int64_t i = 0; i < part; ++i) largest = std::max(largest, std::bit_cast<uint32_t>(values[static_cast<size_t>(i)]) & kAllButSign);
    if (largest < kInfinity) continue;
    for (int64_t i = 0; i < part; ++i)
      if (!std::isfinite(values[static_cast<size_t>(i)])) return first + i;
  }
  return -1;
}

int64_t find_non_finite(const Tensor& tensor, bool infinite) {
  if (tensor.dtype() != DType::kF32) return -1;
  const auto values = tensor.view<float>();
  for (size_t i = 0; i < values.size(); ++i)
    if (infinite ? !std::isfinite(values[i]) : std::isnan(values[i])) return static_cast<int64_t>(i);
  return -1;
}

}  // namespace actmatch::onnx_import
