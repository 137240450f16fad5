#include "onnx_import/skeleton.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <span>

#include "engine/core/error.h"

namespace actmatch::onnx_import {
namespace {

constexpr uint64_t kInline = 4096;                    // data of a tensor up to this size stays
constexpr uint64_t kMostBytes = uint64_t{1} << 28;    // of a skeleton
constexpr int64_t kMostFields = int64_t{1} << 21;     // a field of two bytes becomes a message of some two hundred
constexpr uint64_t kLongestList = uint64_t{1} << 20;  // bytes of an attribute of numbers, of which one can take a byte
constexpr int kDeepest = 16;                          // subgraphs in subgraphs
constexpr const char* kStretchKey = "#stretch";       // of an entry of external_data, which says the number of the stretch

enum class Kind : uint8_t { kCopied, kDropped, kModel, kGraph, kNode, kAttribute, kTensor, kFunction, kData, kList };

struct FieldRule {
  uint32_t number;
  Kind kind;
  uint32_t becomes = 0;  // another number in the skeleton
};

// What is inside a message and matters here; the numbers are those of onnx.proto. Fields not listed are copied.
std::span<const FieldRule> rules_of(Kind kind) {
  static constexpr std::array<FieldRule, 5> kModel{
      {{6, Kind::kDropped}, {7, Kind::kGraph}, {14, Kind::kDropped}, {20, Kind::kDropped}, {25, Kind::kFunction}}};
  static constexpr std::array<FieldRule, 6> kGraph{
      {{1, Kind::kNode}, {5, Kind::kTensor}, {10, Kind::kDropped}, {13, Kind::kDropped}, {14, Kind::kDropped}, {16, Kind::kDropped}}};
  static constexpr std::array<FieldRule, 4> kNode{{{5, Kind::kAttribute}, {6, Kind::kDropped}, {8, Kind::kCopied, 6}, {9, Kind::kDropped}}};
  static constexpr std::array<FieldRule, 7> kAttribute{{{5, Kind::kTensor},
                                                        {6, Kind::kGraph},
                                                        {7, Kind::kList},
                                                        {8, Kind::kList},
                                                        {10, Kind::kTensor},
                                                        {11, Kind::kGraph},
                                                        {13, Kind::kDropped}}};
  static constexpr std::array<FieldRule, 4> kTensor{{{4, Kind::kData}, {9, Kind::kData}, {12, Kind::kDropped}, {16, Kind::kDropped}}};
  static constexpr std::array<FieldRule, 6> kFunction{
      {{7, Kind::kNode}, {8, Kind::kDropped}, {11, Kind::kAttribute}, {12, Kind::kDropped}, {13, Kind::kCopied, 8}, {14, Kind::kDropped}}};
  switch (kind) {
    case Kind::kModel: return kModel;
    case Kind::kGraph: return kGraph;
    case Kind::kNode: return kNode;
    case Kind::kAttribute: return kAttribute;
    case Kind::kTensor: return kTensor;
    case Kind::kFunction: return kFunction;
    default: return {};
  }
}

void put_varint(std::string& out, uint64_t value) {
  for (; value >= 128; value >>= 7) out.push_back(static_cast<char>(value | 128));
  out.push_back(static_cast<char>(value));
}

std::string bytes_field(uint32_t number, const std::string& content) {
  std::string out;
  put_varint(out, number << 3 | 2);
  put_varint(out, content.size());
  return out + content;
}

class Walker {
 public:
  Walker(const ByteSource& source, const std::string& path) : source_(source), path_(path), buffer_(size_t{1} << 16) {}

  Skeleton walk() {
    Skeleton skeleton;
    skeleton_ = &skeleton;
    message(Kind::kModel, source_.size(), 0, true, skeleton.bytes);
    return skeleton;
  }

 private:
  [[noreturn]] void damaged() const {
    throw Error(ErrorCode::kFormat,
                "'" + path_ + "' is not an ONNX file, or it is truncated or damaged; check that it was copied completely");
  }
  [[noreturn]] void too_much(const std::string& what) const {
    throw Error(ErrorCode::kUnsupported, "'" + path_ + "' " + what + "; simplify the model when exporting");
  }

  uint8_t byte() {
    if (at_ < begin_ || at_ >= begin_ + filled_) {
      if (at_ >= source_.size()) damaged();
      begin_ = at_;
      filled_ = std::min<uint64_t>(buffer_.size(), source_.size() - at_);
      source_.read(begin_, {buffer_.data(), filled_});
    }
    return static_cast<uint8_t>(buffer_[at_++ - begin_]);
  }

  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 70; shift += 7) {
      const uint8_t b = byte();
      value |= static_cast<uint64_t>(b & 127u) << std::min(shift, 63);
      if (b < 128) return value;
    }
    damaged();
  }

  void copy(uint64_t length, std::string& out) {
    if (out.size() + length > kMostBytes) too_much("describes more than " + std::to_string(kMostBytes >> 20) + " MB beside its weights");
    const size_t before = out.size();
    out.resize(before + length);
    const auto target = std::as_writable_bytes(std::span(out.data() + before, length));
    if (at_ >= begin_ && at_ + length <= begin_ + filled_)
      std::memcpy(target.data(), buffer_.data() + (at_ - begin_), length);
    else
      source_.read(at_, target);
    at_ += length;
  }

  // The fields up to `end`. `outer`: in the graph of the model itself, whose tensors are looked for later.
  void message(Kind kind, uint64_t end, int depth, bool outer, std::string& out) {
    const auto rules = rules_of(kind);
    Stretch stretch;
    while (at_ < end) {
      const uint64_t tag = varint();
      const auto number = static_cast<uint32_t>(tag >> 3), wire = static_cast<uint32_t>(tag & 7);
      if (number == 0 || tag >> 32 != 0) damaged();
      if (++fields_ > kMostFields) too_much("has more than " + std::to_string(kMostFields) + " nodes, attributes and names");
      const auto rule = std::find_if(rules.begin(), rules.end(), [&](const FieldRule& r) { return r.number == number; });
      const Kind inner = rule == rules.end() ? Kind::kCopied : rule->kind;
      if (wire != 2) {
        scalar(tag, wire, inner, out);
        continue;
      }
      const uint64_t length = varint();
      if (at_ > end || length > end - at_) damaged();
      if (inner == Kind::kDropped) {
        at_ += length;
      } else if (inner == Kind::kData && outer && length > kInline) {
        if (number == 4 && stretch.length > 0) damaged();  // one list of floats in two pieces: no writer does that
        stretch = {at_, length, number == 4};
        at_ += length;
      } else if (inner == Kind::kCopied || inner == Kind::kData || inner == Kind::kList) {
        if (inner == Kind::kList && length > kLongestList) too_much("has an attribute of more than a million bytes");
        put_varint(out, inner == Kind::kCopied && rule != rules.end() ? rule->becomes << 3 | 2 : tag);
        put_varint(out, length);
        copy(length, out);
      } else {
        if (inner == Kind::kGraph && depth > kDeepest) too_much("nests subgraphs deeper than " + std::to_string(kDeepest));
        std::string nested;
        const bool in_subgraph = inner == Kind::kFunction || (inner == Kind::kGraph && kind != Kind::kModel);
        message(inner, at_ + length, depth + (inner == Kind::kGraph ? 1 : 0), outer && !in_subgraph, nested);
        if (kind == Kind::kFunction && inner == Kind::kAttribute) {
          nested = bytes_field(4, kDefaultsOp) + bytes_field(5, nested);
          put_varint(out, 7u << 3 | 2);
        } else {
          put_varint(out, tag);
        }
        put_varint(out, nested.size());
        if (out.size() + nested.size() > kMostBytes)
          too_much("describes more than " + std::to_string(kMostBytes >> 20) + " MB beside its weights");
        out += nested;
      }
    }
    if (at_ != end) damaged();
    if (stretch.length == 0) return;
    out += bytes_field(13, bytes_field(1, kStretchKey) + bytes_field(2, std::to_string(skeleton_->stretches.size())));
    skeleton_->stretches.push_back(stretch);
  }

  void scalar(uint64_t tag, uint32_t wire, Kind kind, std::string& out) {
    std::string value;
    switch (wire) {
      case 0: put_varint(value, varint()); break;
      case 1:
      case 5: {
        const uint64_t width = wire == 1 ? 8 : 4;
        if (width > source_.size() - at_) damaged();
        copy(width, value);
        break;
      }
      default: damaged();  // groups, which ONNX does not use
    }
    if (kind == Kind::kDropped) return;
    put_varint(out, tag);
    out += value;
  }

  const ByteSource& source_;
  const std::string& path_;
  std::vector<std::byte> buffer_;
  uint64_t begin_ = 0, filled_ = 0, at_ = 0;
  int64_t fields_ = 0;
  Skeleton* skeleton_ = nullptr;
};

}  // namespace

Skeleton read_skeleton(const ByteSource& source, const std::string& path) { return Walker(source, path).walk(); }

const Stretch* stretch_of(const onnx::TensorProto& tensor, const std::vector<Stretch>& stretches) {
  for (const auto& entry : tensor.external_data()) {
    if (entry.key() != kStretchKey) continue;
    size_t index = 0;
    const std::string& text = entry.value();
    std::from_chars(text.data(), text.data() + text.size(), index);
    if (index < stretches.size()) return &stretches[index];
  }
  return nullptr;
}

}  // namespace actmatch::onnx_import
