// Convolutions whose weights have an instance axis: each part of the batch has weights of its own. Every part runs as the ordinary
// convolution it is, in a program of its own, so that it gets the bits it would get alone; the parts are copied in and out row-major. That
// is right rather than quick: the batched loop's reference, not a way to make the CPU faster.
#include <cstring>

#include "engine/backend/cpu/cpu_program.h"
#include "engine/backend/cpu/loops.h"

namespace actmatch::cpu {
namespace {

class ConvInstancesStep : public Step {
 public:
  static void build(Lowering& l) {
    auto step = std::make_unique<ConvInstancesStep>();
    const size_t count = l.has_input(2) ? 3 : 2;
    for (size_t i = 0; i < count; ++i) step->operands_[i].slot = l.input_plain(i);
    step->y_ = l.output_plain();
    bool training = false;
    for (size_t i = 0; i < count; ++i) {
      Operand& operand = step->operands_[i];
      step->reads.push_back(operand.slot);
      if (!l.wants(i)) continue;
      training = true;
      operand.gradient.slot = operand.slot;
      step->grads.push_back(&operand.gradient);
    }
    step->writes = {step->y_};
    step->count_ = instances_of(l.input_shape(1));
    for (int64_t n = 0; n < step->count_; ++n) step->add_part(l, n, training);
    l.add_step(std::move(step));
  }

  void forward() override {
    for (size_t n = 0; n < parts_.size(); ++n) {
      Program& part = *parts_[n];
      for (const Operand& operand : operands_)
        if (operand.slot && !operand.slot->constant)
          copy(part.data(operand.id), of_part(operand.slot->f32(), operand.slot, n), size(operand.slot));
      part.forward();
      copy(of_part(y_->f32(), y_, n), part.data(y_id_), size(y_));
    }
  }

  void backward() override {
    for (size_t n = 0; n < parts_.size(); ++n) {
      Program& part = *parts_[n];
      copy(part.gradient(y_id_), of_part(y_->grad, y_, n), size(y_));
      part.backward();
      for (const Operand& operand : operands_)
        if (operand.gradient)
          put(of_part(operand.slot->grad, operand.slot, n), part.gradient(operand.id), size(operand.slot), operand.gradient.accumulate);
    }
  }

  std::string implementation() const override { return std::to_string(count_) + " parts"; }
  size_t own_bytes() const override {
    size_t sum = 0;
    for (const auto& part : parts_) sum += part->memory().arena_bytes + part->memory().exposed_bytes;
    return sum;
  }

 private:
  struct Operand {
    Slot* slot = nullptr;
    ValueId id = kNoValue;  // in a part's graph, the same in all
    GradTarget gradient;
  };

  // All operands and the result begin with the axis that is cut.
  int64_t size(const Slot* slot) const { return element_count(slot->shape) / count_; }
  float* of_part(float* data, const Slot* slot, size_t n) const { return data + static_cast<int64_t>(n) * size(slot); }

  void add_part(Lowering& l, int64_t n, bool training) {
    Graph graph;
    CompileOptions options;
    std::vector<ValueId> ids;
    for (size_t i = 0; i < operands_.size(); ++i) {
      Operand& operand = operands_[i];
      if (!operand.slot) continue;
      Shape shape = operand.slot->shape;
      if (i == 0)
        shape[0] /= count_;
      else
        shape.erase(shape.begin());
      if (operand.slot->constant) {
        Tensor part(DType::kF32, shape);
        std::memcpy(part.raw(), operand.slot->constant->data<float>() + n * part.count(),
                    static_cast<size_t>(part.count()) * sizeof(float));
        operand.id = graph.add_constant(operand.slot->name, std::move(part));
      } else {
        operand.id = graph.add_input(operand.slot->name, DType::kF32, shape);
      }
      if (operand.gradient) options.gradients.wanted.push_back(operand.id);
      ids.push_back(operand.id);
    }
    y_id_ = graph.add_node(l.node().name, l.node().attrs, ids);
    if (const Activation& a = l.activation(); a.present)
      y_id_ =
          graph.add_node(l.node().name + ".activation", UnaryAttrs{a.relu ? UnaryKind::kRelu : UnaryKind::kClip, a.low, a.high}, {y_id_});
    graph.mark_output(y_id_);
    if (training) options.gradients.seeds = {y_id_};
    static const int kAsTheyAre = 0;  // threads: the program around sets them
    parts_.push_back(std::make_unique<CpuProgram>(graph, options, l.engine(), l.weight_cache(), &kAsTheyAre));
  }

  std::array<Operand, 3> operands_;
  Slot* y_ = nullptr;
  ValueId y_id_ = kNoValue;
  int64_t count_ = 1;
  std::vector<std::unique_ptr<Program>> parts_;
};

}  // namespace

void build_conv_instances(Lowering& l) { ConvInstancesStep::build(l); }

}  // namespace actmatch::cpu
