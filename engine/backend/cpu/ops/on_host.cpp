// Operators on integers and booleans that depend on the input: indices, counts, flags. There are few elements and no gradients, so they run
// through the functions that fold constants; each run allocates the result.
#include <cstring>

#include "engine/backend/cpu/loops.h"
#include "engine/core/error.h"
#include "engine/graph/op_table.h"

namespace actmatch::cpu {

namespace {

class HostStep : public Step {
 public:
  explicit HostStep(Lowering& l) : attrs_(l.node().attrs), name_(l.node().name), evaluate_(op_info(l.node().op()).evaluate) {
    for (size_t i = 0; i < l.input_count(); ++i) {
      if (!l.has_input(i)) {
        operands_.emplace_back();
        continue;
      }
      reads.push_back(l.input_plain(i));
      operands_.push_back({reads.back(), Tensor(reads.back()->dtype, reads.back()->shape)});
    }
    y_ = l.output_plain();
    writes = {y_};
  }
  void forward() override {
    std::vector<const Tensor*> inputs;
    for (Operand& operand : operands_) {
      if (operand.slot && operand.tensor.bytes() > 0) std::memcpy(operand.tensor.raw(), operand.slot->data, operand.tensor.bytes());
      inputs.push_back(operand.slot ? &operand.tensor : nullptr);
    }
    try {
      const Tensor result = evaluate_(attrs_, inputs, {y_->dtype, y_->shape});
      if (result.bytes() > 0) std::memcpy(y_->data, result.raw(), result.bytes());
    } catch (const Error& error) {
      throw Error(error.code(), "node '" + name_ + "': " + error.what());
    }
  }
  std::string implementation() const override { return "host"; }

 private:
  struct Operand {
    Slot* slot = nullptr;
    Tensor tensor;
  };
  Attributes attrs_;
  std::string name_;
  decltype(OpInfo::evaluate) evaluate_;
  std::vector<Operand> operands_;
  Slot* y_ = nullptr;
};

}  // namespace

void build_on_host(Lowering& l) { l.add_step(std::make_unique<HostStep>(l)); }
void build_top_k(Lowering& l) { build_on_host(l); }

}  // namespace actmatch::cpu
