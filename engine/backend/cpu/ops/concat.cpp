// Concatenation. Along the channels it stays in the inputs' layout when they agree and whole blocks can be moved; otherwise row-major.
#include <cstring>

#include "engine/backend/cpu/loops.h"

namespace actmatch::cpu {

namespace {

// Copies between the output and one input: `outer` runs of `run` floats, at `y_step` apart in the output and `x_step` in the input.
struct Part {
  Slot* x = nullptr;
  int64_t outer = 0, run = 0, x_step = 0, y_step = 0, y_offset = 0;
  GradTarget target;
};

class ConcatStep : public Step {
 public:
  ConcatStep(std::vector<Part> parts, Slot* y, const std::vector<bool>& wanted) : parts_(std::move(parts)), y_(y) {
    writes = {y};
    for (size_t i = 0; i < parts_.size(); ++i) {
      reads.push_back(parts_[i].x);
      if (!wanted[i]) continue;
      parts_[i].target.slot = parts_[i].x;
      grads.push_back(&parts_[i].target);
    }
  }
  void forward() override {
    const size_t unit = size_of(y_->dtype);
    for (const Part& p : parts_)
      for (int64_t o = 0; o < p.outer; ++o)
        std::memcpy(y_->data + static_cast<size_t>(p.y_offset + o * p.y_step) * unit, p.x->data + static_cast<size_t>(o * p.x_step) * unit,
                    static_cast<size_t>(p.run) * unit);
  }
  void backward() override {
    for (const Part& p : parts_) {
      if (!p.target) continue;
      for (int64_t o = 0; o < p.outer; ++o) put(p.x->grad + o * p.x_step, y_->grad + p.y_offset + o * p.y_step, p.run, p.target.accumulate);
    }
  }

 private:
  std::vector<Part> parts_;
  Slot* y_;
};

// All inputs in oneDNN's blocked (or row-major) form with the same block, and the block divides every input but the last.
bool blocked_alike(Lowering& l, int64_t& block) {
  block = 0;
  for (size_t i = 0; i < l.input_count(); ++i) {
    const auto layout = channel_layout(*l.input(i));
    if (!layout || (layout->block > 1 && layout->outer == 0)) return false;
    if (block == 0) block = layout->block;
    if (layout->block != block || layout->C % block != 0) return false;
    if (layout->position != layout->block || layout->outer != layout->block * layout->P) return false;
  }
  return true;
}

MemoryDesc blocked_desc(const Shape& shape, int64_t block) {
  const Dims dims(shape.begin(), shape.end());
  if (block == 8) return {dims, dnnl::memory::data_type::f32, dnnl::memory::format_tag::nChw8c};
  if (block == 16) return {dims, dnnl::memory::data_type::f32, dnnl::memory::format_tag::nChw16c};
  return plain_desc(shape);
}

}  // namespace

void build_concat(Lowering& l) {
  const auto axis = static_cast<size_t>(std::get<ConcatAttrs>(l.node().attrs).axis);
  const Shape& out = l.output_shape();
  std::vector<bool> wanted(l.input_count());
  for (size_t i = 0; i < wanted.size(); ++i) wanted[i] = l.wants(i);
  int64_t block = 0;
  const bool in_blocks = axis == 1 && out.size() == 4 && l.graph().value(l.node().output).dtype == DType::kF32 && blocked_alike(l, block) &&
                         (block == 1 || block == 8 || block == 16);
  std::vector<Part> parts;
  Slot* y = nullptr;
  if (in_blocks) {
    y = l.output(blocked_desc(out, block));
    for (size_t i = 0, offset = 0; i < l.input_count(); ++i) {
      Part p;
      p.x = l.input(i);
      p.outer = out[0];
      p.run = p.x_step = p.x->shape[1] * out[2] * out[3];
      p.y_step = out[1] * out[2] * out[3];
      p.y_offset = static_cast<int64_t>(offset);
      offset += static_cast<size_t>(p.run);
      parts.push_back(p);
    }
  } else {
    y = l.output_plain();
    int64_t outer = 1, inner = 1, offset = 0;
    for (size_t i = 0; i < axis; ++i) outer *= out[i];
    for (size_t i = axis + 1; i < out.size(); ++i) inner *= out[i];
    for (size_t i = 0; i < l.input_count(); ++i) {
      Part p;
      p.x = l.input_plain(i);
      p.outer = outer;
      p.run = p.x_step = p.x->shape[axis] * inner;
      p.y_step = out[axis] * inner;
      p.y_offset = offset;
      offset += p.run;
      parts.push_back(p);
    }
  }
  l.add_step(std::make_unique<ConcatStep>(std::move(parts), y, wanted));
}

}  // namespace actmatch::cpu
