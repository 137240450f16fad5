// Concatenation. Along the channels it stays in the layout that most of its inputs have, and brings the others there; otherwise row-major.
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
      each_run(p, [&](int64_t o) {
        std::memcpy(y_->data + static_cast<size_t>(p.y_offset + o * p.y_step) * unit, p.x->data + static_cast<size_t>(o * p.x_step) * unit,
                    static_cast<size_t>(p.run) * unit);
      });
  }
  void backward() override {
    for (const Part& p : parts_) {
      if (!p.target) continue;
      each_run(p, [&](int64_t o) { put(p.x->grad + o * p.x_step, y_->grad + p.y_offset + o * p.y_step, p.run, p.target.accumulate); });
    }
  }

 private:
  template <class Body>
  static void each_run(const Part& p, const Body& body) {
    parallel_ranges(p.outer, std::max<int64_t>(1, kGrain / std::max<int64_t>(p.run, 1)), [&](int64_t begin, int64_t end) {
      for (int64_t o = begin; o < end; ++o) body(o);
    });
  }
  std::vector<Part> parts_;
  Slot* y_;
};

// The layouts in which whole runs of channels are moved.
enum Form { kChannelsLast, kBlocks16, kBlocks8, kPlain };
constexpr dnnl::memory::format_tag kTags[] = {dnnl::memory::format_tag::nhwc, dnnl::memory::format_tag::nChw16c,
                                              dnnl::memory::format_tag::nChw8c, dnnl::memory::format_tag::nchw};
// Channels that cannot be parted.
int64_t block_of(Form form) { return form == kBlocks16 ? 16 : form == kBlocks8 ? 8 : 1; }

MemoryDesc desc_of(Form form, const Shape& shape) { return {Dims(shape.begin(), shape.end()), dnnl::memory::data_type::f32, kTags[form]}; }

// The form that most bytes of the inputs have, among those into which every input fits.
Form form_of_most(Lowering& l) {
  size_t bytes[std::size(kTags)] = {};
  bool fits[std::size(kTags)] = {true, true, true, true};
  for (size_t i = 0; i < l.input_count(); ++i) {
    const Slot& x = *l.input(i);
    int form = 0;
    while (form < kPlain && x.desc != desc_of(static_cast<Form>(form), x.shape)) ++form;
    bytes[form] += x.bytes;
    for (Form f : {kBlocks16, kBlocks8}) fits[f] = fits[f] && x.shape[1] % block_of(f) == 0;
  }
  Form best = kPlain;
  for (Form f : {kBlocks8, kBlocks16, kChannelsLast})
    if (fits[f] && bytes[f] >= bytes[best] && bytes[f] > 0) best = f;
  return best;
}

}  // namespace

void build_concat(Lowering& l) {
  const auto axis = static_cast<size_t>(std::get<ConcatAttrs>(l.node().attrs).axis);
  const Shape& out = l.output_shape();
  std::vector<bool> wanted(l.input_count());
  for (size_t i = 0; i < wanted.size(); ++i) wanted[i] = l.wants(i);
  const bool of_channels = axis == 1 && out.size() == 4 && l.graph().value(l.node().output).dtype == DType::kF32;
  const Form form = of_channels && !l.only_moved() ? form_of_most(l) : kPlain;
  // What lies side by side in an input lies so in the output: everything from `axis` on, or, channels last, the channels of a position.
  int64_t outer = 1, inner = 1, offset = 0;
  for (size_t i = 0; i < out.size(); ++i)
    if (i != axis) (i < axis || form == kChannelsLast ? outer : inner) *= out[i];
  Slot* y = form == kPlain ? l.output_plain() : l.output(desc_of(form, out));
  std::vector<Part> parts;
  for (size_t i = 0; i < l.input_count(); ++i) {
    Part p;
    p.x = form == kPlain ? l.input_plain(i) : l.input_as(i, desc_of(form, l.input_shape(i)));
    p.outer = outer;
    p.run = p.x_step = p.x->shape[axis] * inner;
    p.y_step = out[axis] * inner;
    p.y_offset = offset;
    offset += p.run;
    parts.push_back(p);
  }
  l.add_step(std::make_unique<ConcatStep>(std::move(parts), y, wanted));
}

}  // namespace actmatch::cpu
