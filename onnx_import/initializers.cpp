#include "onnx_import/initializers.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "engine/core/error.h"

namespace actmatch::onnx_import {
namespace {

using onnx::TensorProto;
static_assert(std::endian::native == std::endian::little, "raw_data of ONNX files is little-endian");

float half_to_float(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000u) << 16;
  const uint32_t exponent = (h >> 10) & 31u, mantissa = h & 1023u;
  if (exponent == 0) return std::copysign(static_cast<float>(mantissa) * 0x1p-24f, std::bit_cast<float>(sign));
  const uint32_t widened = exponent == 31 ? 255u : exponent + 112;  // 112: the difference of the two exponent biases
  return std::bit_cast<float>(sign | widened << 23 | mantissa << 13);
}

float bfloat_to_float(uint16_t b) { return std::bit_cast<float>(static_cast<uint32_t>(b) << 16); }

// Where the elements of a type lie and how wide they are in raw_data.
struct Storage {
  size_t raw_size;
  int64_t typed_count;
};

Storage storage_of(const TensorProto& t) {
  switch (t.data_type()) {
    case TensorProto::FLOAT: return {4, t.float_data_size()};
    case TensorProto::DOUBLE: return {8, t.double_data_size()};
    case TensorProto::FLOAT16:
    case TensorProto::BFLOAT16:
    case TensorProto::INT16:
    case TensorProto::UINT16: return {2, t.int32_data_size()};
    case TensorProto::INT8:
    case TensorProto::UINT8:
    case TensorProto::BOOL: return {1, t.int32_data_size()};
    case TensorProto::INT32: return {4, t.int32_data_size()};
    case TensorProto::UINT32: return {4, t.uint64_data_size()};
    case TensorProto::INT64: return {8, t.int64_data_size()};
    case TensorProto::UINT64: return {8, t.uint64_data_size()};
    default: return {0, 0};
  }
}

// out[i] = convert(element i), elements of type T in raw bytes that need not be aligned.
template <class T, class Out, class Convert>
void convert_raw(const std::string& raw, Out* out, int64_t count, Convert convert) {
  for (int64_t i = 0; i < count; ++i) {
    T element;
    std::memcpy(&element, raw.data() + static_cast<size_t>(i) * sizeof(T), sizeof(T));
    out[i] = convert(element);
  }
}

template <class Field, class Out, class Convert>
void convert_field(const Field& field, Out* out, Convert convert) {
  for (int i = 0; i < field.size(); ++i) out[i] = convert(field.Get(i));
}

void fill_floats(const TensorProto& t, float* out, int64_t count) {
  const auto narrow = [](double v) { return static_cast<float>(v); };
  const auto same = [](float v) { return v; };
  const auto half = [](auto v) { return half_to_float(static_cast<uint16_t>(v)); };
  const auto bfloat = [](auto v) { return bfloat_to_float(static_cast<uint16_t>(v)); };
  const bool raw = t.has_raw_data();
  switch (t.data_type()) {
    case TensorProto::FLOAT: return raw ? convert_raw<float>(t.raw_data(), out, count, same) : convert_field(t.float_data(), out, same);
    case TensorProto::DOUBLE:
      return raw ? convert_raw<double>(t.raw_data(), out, count, narrow) : convert_field(t.double_data(), out, narrow);
    case TensorProto::FLOAT16:
      return raw ? convert_raw<uint16_t>(t.raw_data(), out, count, half) : convert_field(t.int32_data(), out, half);
    default: return raw ? convert_raw<uint16_t>(t.raw_data(), out, count, bfloat) : convert_field(t.int32_data(), out, bfloat);
  }
}

void fill_integers(const TensorProto& t, int64_t* out, int64_t count) {
  const auto widen = [](auto v) { return static_cast<int64_t>(v); };
  if (!t.has_raw_data()) {
    switch (t.data_type()) {
      case TensorProto::INT64: return convert_field(t.int64_data(), out, widen);
      case TensorProto::UINT32:
      case TensorProto::UINT64: return convert_field(t.uint64_data(), out, widen);
      default: return convert_field(t.int32_data(), out, widen);
    }
  }
  const std::string& raw = t.raw_data();
  switch (t.data_type()) {
    case TensorProto::INT8: return convert_raw<int8_t>(raw, out, count, widen);
    case TensorProto::UINT8: return convert_raw<uint8_t>(raw, out, count, widen);
    case TensorProto::INT16: return convert_raw<int16_t>(raw, out, count, widen);
    case TensorProto::UINT16: return convert_raw<uint16_t>(raw, out, count, widen);
    case TensorProto::INT32: return convert_raw<int32_t>(raw, out, count, widen);
    case TensorProto::UINT32: return convert_raw<uint32_t>(raw, out, count, widen);
    default: return convert_raw<int64_t>(raw, out, count, widen);  // UINT64 too: values past 2^63 mean nothing to a classifier
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

bool is_half(int32_t onnx_type) { return onnx_type == TensorProto::FLOAT16 || onnx_type == TensorProto::BFLOAT16; }

std::string type_name(int32_t onnx_type) {
  if (onnx::TensorProto_DataType_IsValid(onnx_type))
    return onnx::TensorProto_DataType_Name(static_cast<onnx::TensorProto_DataType>(onnx_type));
  return "type " + std::to_string(onnx_type);
}

Tensor read_tensor(const TensorProto& t, const std::string& where) {
  if (t.data_location() == TensorProto::EXTERNAL || t.external_data_size() > 0)
    throw Error(ErrorCode::kUnsupported,
                where + " keeps its data in another file, which is not read; save the model as one file, with the weights inside");
  const auto dtype = widened_type(t.data_type());
  if (!dtype)
    throw Error(ErrorCode::kUnsupported, where + " has the element type " + type_name(t.data_type()) + ", which is not supported");
  if (t.has_segment()) throw Error(ErrorCode::kUnsupported, where + " is stored in segments, which is not supported");

  if (t.dims_size() > kMaxRank)
    throw Error(ErrorCode::kUnsupported,
                where + " has " + std::to_string(t.dims_size()) + " dimensions; at most " + std::to_string(kMaxRank) + " are supported");
  Shape shape(t.dims().begin(), t.dims().end());
  for (int64_t extent : shape)
    if (extent < 0) throw Error(ErrorCode::kFormat, where + " has the negative extent " + std::to_string(extent) + "; the file is damaged");
  const int64_t count = element_count(shape);
  const Storage storage = storage_of(t);
  const bool raw = t.has_raw_data();
  const int64_t stored = raw ? static_cast<int64_t>(t.raw_data().size() / storage.raw_size) : storage.typed_count;
  if (stored != count || (raw && t.raw_data().size() % storage.raw_size != 0))
    throw Error(ErrorCode::kFormat, where + " has the shape " + to_string(shape) + " but holds " +
                                        (raw ? std::to_string(t.raw_data().size()) + " bytes" : std::to_string(stored) + " elements") +
                                        " of " + type_name(t.data_type()) + "; the file is damaged, export it again");

  Tensor out(*dtype, std::move(shape));
  if (*dtype == DType::kF32) {
    fill_floats(t, out.data<float>(), count);
  } else if (*dtype == DType::kI64) {
    fill_integers(t, out.data<int64_t>(), count);
  } else if (raw) {
    convert_raw<uint8_t>(t.raw_data(), out.data<uint8_t>(), count, [](uint8_t v) { return static_cast<uint8_t>(v != 0); });
  } else {
    convert_field(t.int32_data(), out.data<uint8_t>(), [](int32_t v) { return static_cast<uint8_t>(v != 0); });
  }
  return out;
}

int64_t find_non_finite(const Tensor& tensor, bool infinite) {
  if (tensor.dtype() != DType::kF32) return -1;
  const auto values = tensor.view<float>();
  for (size_t i = 0; i < values.size(); ++i)
    if (infinite ? !std::isfinite(values[i]) : std::isnan(values[i])) return static_cast<int64_t>(i);
  return -1;
}

}  // namespace actmatch::onnx_import
