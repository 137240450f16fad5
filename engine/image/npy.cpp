#include "engine/image/npy.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "engine/core/error.h"
#include "engine/image/byte_reader.h"
#include "engine/image/file.h"

namespace actmatch {
namespace {

static_assert(std::endian::native == std::endian::little, "elements are copied as they lie in the file");

constexpr char kMagic[] = "\x93NUMPY";
constexpr size_t kMagicSize = 6;

// The header: a Python dictionary literal with the keys descr, fortran_order and shape.
struct Header {
  std::string descr;
  bool fortran_order = false;
  Shape shape;
};

class HeaderParser {
 public:
  HeaderParser(std::string text, const std::string& name) : text_(std::move(text)), name_(name) {}

  Header parse() {
    Header header;
    unsigned seen = 0;
    expect('{');
    while (!take('}')) {
      const std::string key = quoted();
      expect(':');
      if (key == "descr") {
        if (!at_quote()) throw Error(ErrorCode::kUnsupported, "'" + name_ + "' holds records; store one plain array a file");
        header.descr = quoted();
        seen |= 1u;
      } else if (key == "fortran_order") {
        header.fortran_order = boolean();
        seen |= 2u;
      } else if (key == "shape") {
        header.shape = tuple();
        seen |= 4u;
      } else {
        fail("has the unknown key '" + key + "'");
      }
      if (!take(',')) {
        expect('}');
        break;
      }
    }
    skip_space();
    if (at_ != text_.size()) fail("goes on behind its dictionary");
    if (seen != 7u) fail("lacks descr, fortran_order or shape");
    return header;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorCode::kFormat, "'" + name_ + "' is a damaged .npy file: its header " + what + "; save it again with numpy.save");
  }
  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r')) ++at_;
  }
  bool take(char c) {
    skip_space();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!take(c)) fail(std::string("lacks a '") + c + "'");
  }
  bool at_quote() {
    skip_space();
    return at_ < text_.size() && (text_[at_] == '\'' || text_[at_] == '"');
  }
  std::string quoted() {
    if (!at_quote()) fail("lacks a quoted name");
    const size_t end = text_.find(text_[at_], at_ + 1);
    if (end == std::string::npos || end - at_ > 64) fail("has a name without an end");
    const std::string word = text_.substr(at_ + 1, end - at_ - 1);
    for (char c : word)
      if (c < ' ' || c > '~') fail("has a name with unprintable letters");
    at_ = end + 1;
    return word;
  }
  bool boolean() {
    skip_space();
    for (const char* word : {"True", "False"})
      if (text_.compare(at_, std::strlen(word), word) == 0) {
        at_ += std::strlen(word);
        return word[0] == 'T';
      }
    fail("lacks True or False");
  }
  Shape tuple() {
    constexpr size_t kMaxRank = 32;  // NumPy's own limit for long
    Shape shape;
    expect('(');
    while (!take(')')) {
      skip_space();
      int64_t value = 0;
      const size_t begin = at_;
      for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
        if (value > (std::numeric_limits<int64_t>::max() - 9) / 10) fail("has an impossible shape");
        value = value * 10 + (text_[at_] - '0');
      }
      if (at_ == begin || shape.size() == kMaxRank) fail("has an impossible shape");
      shape.push_back(value);
      if (!take(',')) {
        expect(')');
        break;
      }
    }
    return shape;
  }

  std::string text_;
  const std::string& name_;
  size_t at_ = 0;
};

float widen_half(uint16_t half) {
  const int exponent = half >> 10 & 31;
  const int mantissa = half & 1023;
  float value = 0;
  if (exponent == 31)
    value = mantissa ? std::numeric_limits<float>::quiet_NaN() : std::numeric_limits<float>::infinity();
  else
    value = std::ldexp(static_cast<float>(exponent ? mantissa + 1024 : mantissa), (exponent ? exponent : 1) - 25);
  return half & 0x8000 ? -value : value;
}

template <class Stored, class Out, class Convert>
Tensor convert(const Shape& shape, std::span<const std::byte> data, Convert to_out) {
  Tensor tensor(dtype_of<Out>(), shape);
  Out* out = tensor.template data<Out>();
  for (int64_t i = 0; i < tensor.count(); ++i) {
    Stored value;
    std::memcpy(&value, data.data() + static_cast<size_t>(i) * sizeof(Stored), sizeof(Stored));
    out[i] = to_out(value);
  }
  return tensor;
}

template <class Stored>
Tensor integers(const Shape& shape, std::span<const std::byte> data) {
  return convert<Stored, int64_t>(shape, data, [](Stored v) { return static_cast<int64_t>(v); });
}

using Reader = Tensor (*)(const Shape&, std::span<const std::byte>);
struct ElementType {
  const char* descr;
  size_t size;
  Reader read;
};

constexpr ElementType kElementTypes[] = {
    {"<f4", 4, [](const Shape& s, std::span<const std::byte> d) { return convert<float, float>(s, d, [](float v) { return v; }); }},
    {"<f8", 8,
     [](const Shape& s, std::span<const std::byte> d) {
       return convert<double, float>(s, d, [](double v) { return static_cast<float>(v); });
     }},
    {"<f2", 2, [](const Shape& s, std::span<const std::byte> d) { return convert<uint16_t, float>(s, d, widen_half); }},
    {"<i8", 8, integers<int64_t>},
    {"<i4", 4, integers<int32_t>},
    {"<i2", 2, integers<int16_t>},
    {"|i1", 1, integers<int8_t>},
    {"|u1", 1, integers<uint8_t>},
    {"<u2", 2, integers<uint16_t>},
    {"<u4", 4, integers<uint32_t>},
    {"|b1", 1,
     [](const Shape& s, std::span<const std::byte> d) {
       return convert<uint8_t, uint8_t>(s, d, [](uint8_t v) { return uint8_t{v != 0}; });
     }},
};

}  // namespace

Tensor parse_npy(std::span<const std::byte> bytes, const std::string& name) {
  const ByteReader reader(bytes);
  const auto damaged = [&](const std::string& what) {
    return Error(ErrorCode::kFormat, "'" + name + "' is a damaged .npy file: it " + what + "; save it again with numpy.save");
  };
  if (!reader.starts_with(0, kMagic, kMagicSize))
    throw Error(ErrorCode::kFormat, "'" + name + "' is not a .npy file; save the array with numpy.save");
  const uint8_t version = reader.u8(6);
  if (!reader.has(0, 12)) throw damaged("is cut short");
  if (version < 1 || version > 3)
    throw Error(ErrorCode::kUnsupported,
                "'" + name + "' is in .npy format version " + std::to_string(version) + "; versions 1 to 3 are read");
  const size_t prefix = version == 1 ? 10 : 12;
  const size_t header_size = version == 1 ? reader.le16(8) : reader.le32(8);
  if (!reader.has(prefix, header_size)) throw damaged("is cut short");
  const Header header = HeaderParser(std::string(reinterpret_cast<const char*>(bytes.data()) + prefix, header_size), name).parse();
  if (header.fortran_order)
    throw Error(ErrorCode::kUnsupported, "'" + name + "' is in Fortran order; save numpy.ascontiguousarray(array) instead");
  for (const ElementType& type : kElementTypes) {
    if (header.descr != type.descr) continue;
    const auto count = static_cast<uint64_t>(element_count(header.shape));  // no overflow: element_count leaves a factor of 8
    const std::span<const std::byte> data = bytes.subspan(prefix + header_size);
    if (data.size() != count * type.size)
      throw damaged("holds " + std::to_string(data.size()) + " bytes of data where its shape " + to_string(header.shape) + " needs " +
                    std::to_string(count * type.size));
    return type.read(header.shape, data);
  }
  throw Error(ErrorCode::kUnsupported, "'" + name + "' holds elements of type '" + header.descr +
                                           "'; little-endian floats, integers and booleans are read, so save array.astype('float32')");
}

Tensor read_npy(const std::string& path) { return parse_npy(read_file(path), path); }

std::vector<std::byte> encode_npy(const Tensor& tensor) {
  constexpr size_t kAlignment = 64;
  const char* descr = tensor.dtype() == DType::kF32 ? "<f4" : tensor.dtype() == DType::kI64 ? "<i8" : "|b1";
  std::string header = std::string("{'descr': '") + descr + "', 'fortran_order': False, 'shape': (";
  for (int64_t extent : tensor.shape()) header += std::to_string(extent) + ", ";
  header += "), }";
  const size_t prefix = kMagicSize + 4;
  header.append((kAlignment - (prefix + header.size() + 1) % kAlignment) % kAlignment, ' ');
  header += '\n';
  std::string start(kMagic, kMagicSize);
  start += {'\x01', '\x00', static_cast<char>(header.size() & 255), static_cast<char>(header.size() >> 8)};
  start += header;
  std::vector<std::byte> bytes(start.size() + tensor.bytes());
  std::memcpy(bytes.data(), start.data(), start.size());
  if (tensor.bytes()) std::memcpy(bytes.data() + start.size(), tensor.raw(), tensor.bytes());
  return bytes;
}

void write_npy(const std::string& path, const Tensor& tensor) { write_file_atomically(path, encode_npy(tensor)); }

}  // namespace actmatch
