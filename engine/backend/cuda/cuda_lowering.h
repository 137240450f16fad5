// The CUDA program's own form of a graph: slots (buffers in a layout and a type) and steps over them. A value may live in several slots; a
// step that needs another form gets a conversion in front, whose backward converts the gradient. The gradient of a slot has the slot's
// layout.
//
// Feature maps lie channels-last, and activations and gradients are stored in the precision's type. What the caller sees (inputs, outputs,
// parameters, taps, their gradients) is fp32, and row-major but for what is taken in place.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/backend/cuda/check.h"
#include "engine/backend/cuda/cuda_form.h"
#include "engine/backend/cuda/cuda_weights.h"
#include "engine/backend/cuda/libraries.h"

namespace actmatch::cuda {

// What programs run on. Libraries may be null: kernels of our own then do their work.
struct Engine {
  cudaStream_t stream = nullptr;
  Precision precision = Precision::kF32;
  ConvLibrary* convolutions = nullptr;
  MatMulLibrary* products = nullptr;
  std::shared_ptr<MemoryCount> memory;  // counts what is allocated; may be null

  Store store() const { return precision == Precision::kBf16 ? Store::kBf16 : Store::kF32; }
  ConvPrecision library_precision() const {
    return precision == Precision::kBf16   ? ConvPrecision::kBf16
           : precision == Precision::kTf32 ? ConvPrecision::kTf32
                                           : ConvPrecision::kF32;
  }
};

struct Slot {
  std::string name;
  Shape shape;
  Form form;
  Store grad_store = Store::kF32;
  size_t bytes = 0;
  bool persistent = false;       // data is allocated outside the arena: constants, inputs, exposed values
  bool persistent_grad = false;  // the same for the gradient (wanted values)
  bool has_grad = false;
  Slot* shares_gradient = nullptr;  // has no gradient of its own: what is written goes to that slot's, which lies alike
  // Its gradient begins as that slot's is when that slot's producer runs backward, and where it lies.
  Slot* continues = nullptr;
  std::byte *data = nullptr, *grad = nullptr;
  std::shared_ptr<const DeviceMemory> constant;
  // What the producer did to its result last. Backward, the producer takes the derivative first, in place, unless the step that wrote the
  // gradient last has done so (`derivative_taken`). That step may not where the gradient itself is asked for.
  Clip clip;
  bool derivative_taken = false, grad_is_read = false;

  int64_t count() const { return element_count(shape); }
  size_t gradient_bytes() const { return static_cast<size_t>(count()) * size_of(grad_store); }
  Form grad_form() const { return {form.layout, grad_store}; }
  std::vector<int64_t> strides() const { return strides_of(shape, form.layout); }
  template <class T>
  T* as() const {
    ACTMATCH_CHECK(form.store == store_of<T>(), "'" + name + "' is stored as another type");
    return reinterpret_cast<T*>(data);
  }
  template <class T>
  T* grad_as() const {
    ACTMATCH_CHECK(grad_store == store_of<T>(), "the gradient of '" + name + "' is stored as another type");
    return reinterpret_cast<T*>(grad);
  }
};

// Scratch memory of a step, booked when the step is made.
struct Scratch {
  enum class When { kForward, kBackward, kSaved /* written forward, read backward */ };
  size_t bytes = 0;
  When when = When::kForward;
  std::byte* data = nullptr;
  // Backward only: the step writes the gradient of this slot here, and moves it (Slot::grad) for all that run after it. Each pass begins
  // with the gradient where it was.
  Slot* becomes_gradient_of = nullptr;
};

// A gradient that a step computes: d(loss)/d(slot). Decided after all steps are known: whether it is added to what is there, and whether it
// is the last to be written.
struct GradTarget {
  Slot* slot = nullptr;
  bool accumulate = false, last = false;
  explicit operator bool() const { return slot != nullptr; }
};

class Step {
 public:
  explicit Step(const Engine& engine) : engine_(engine) {}
  virtual ~Step() = default;
  virtual void forward() = 0;
  virtual void backward() {}  // reads the outputs' gradients; may overwrite them
  virtual std::string implementation() const { return "kernel"; }

  NodeId node = -1;
  std::vector<Slot*> reads;           // data read forward
  std::vector<Slot*> writes;          // data written forward
  std::vector<Slot*> backward_reads;  // data read backward
  std::vector<GradTarget*> grads;     // gradients written backward, in the order they are written
  std::vector<std::unique_ptr<Scratch>> scratch;
  // Called once it is known which gradients are added to, and before memory is planned: the last chance to book scratch.
  virtual void plan() {}

 protected:
  Scratch* add_scratch(size_t bytes, Scratch::When when);  // null for 0 bytes
  static void* address(const Scratch* s) { return s ? s->data : nullptr; }
  // Declares a gradient when it is wanted.
  void differentiate(GradTarget& target, Slot* slot, bool wanted);
  cudaStream_t stream() const { return engine_.stream; }
  const Engine& engine() const { return engine_; }
  // The derivative of the activation at the end of the step, in place, where it is not taken yet.
  template <class T>
  void undo_clip(const Slot& y) const {
    if (y.clip.changes() && !y.derivative_taken)
      ACTMATCH_CUDA(kernels::cuda::clip_backward(stream(), y.grad_as<T>(), y.grad_as<T>(), y.as<T>(), y.clip, y.count()));
  }

 private:
  const Engine& engine_;
};

// to (+)= from, the same elements in another form.
void convert(cudaStream_t stream, void* to, Form to_form, const void* from, Form from_form, const Shape& shape, bool accumulate);

// State while a graph is being lowered; what the operators' builders see.
class Lowering {
 public:
  Lowering(const Graph& graph, const CompileOptions& options, const GradientSchedule* schedule, const Engine& engine, WeightCache& weights);

  const Graph& graph() const { return graph_; }
  const Engine& engine() const { return engine_; }
  Store store() const { return engine_.store(); }  // of activations

  // --- for the builder of one node ---
  const Node& node() const { return *node_; }
  const Clip& clip() const { return clip_; }  // to be applied to the output (and undone backward); the output's slot has it too
  bool has_residual() const { return residual_ != kNoValue; }
  Slot* residual();  // a value like the output to be added before the clip, in the precision's type, channels-last
  bool wants_residual() const { return wants_residual_; }
  size_t input_count() const { return node_->inputs.size(); }
  bool has_input(size_t i) const { return i < node_->inputs.size() && node_->inputs[i] != kNoValue; }
  const Shape& input_shape(size_t i) const { return graph_.value(node_->inputs[i]).shape; }
  DType input_dtype(size_t i) const { return graph_.value(node_->inputs[i]).dtype; }
  const Shape& output_shape() const { return graph_.value(node_->output).shape; }
  bool wants(size_t i) const;  // the gradient of input i is to be computed
  bool input_is_constant(size_t i) const { return graph_.is_constant(node_->inputs[i]); }
  const Tensor& constant(size_t i) const { return *graph_.value(node_->inputs[i]).constant; }

  Slot* input(size_t i);  // in whatever layout it has; floats in the precision's type
  Slot* input_as(size_t i, Layout layout);
  // As fp32, with a gradient in fp32: biases and the like.
  Slot* input_f32(size_t i, Layout layout = Layout::kRows);
  // In the precision's type, but with a gradient in fp32: weights.
  Slot* input_weights(size_t i, Layout layout);
  // A constant in a form that the operator makes itself; see WeightCache.
  Slot* constant_as(size_t i, const std::string& kind, Store store, const std::function<std::vector<std::byte>(const Tensor&)>& make);
  Slot* output(Layout layout);  // the output's slot (of what was fused to the node, when something was)
  void add_step(std::unique_ptr<Step> step);
  // A table of the operator's own, e.g. indices.
  template <class E>
  Slot* table(const std::string& what, const std::vector<E>& values) {
    return table_of(what, values.data(), values.size() * sizeof(E));
  }

  // --- for the program ---
  void run();
  std::vector<std::unique_ptr<Slot>>& slots() { return slots_; }
  std::vector<std::unique_ptr<Step>>& steps() { return steps_; }
  Slot* exposed(ValueId value) const;   // fp32, persistent; null when the value is not exposed
  Slot* seed(ValueId value) const;      // its `grad` is what the caller writes; null when not a seed
  Slot* gradient(ValueId value) const;  // of a wanted value: its `grad` is what the caller reads; null when no seed reaches it

 private:
  // What runs as one step: a node, and what is fused behind it.
  struct Group {
    NodeId node = -1;
    ValueId residual = kNoValue;
    bool wants_residual = false;
    Clip clip;
    ValueId output = kNoValue;
  };
  void find_groups();
  bool private_to_one_consumer(ValueId value) const;
  Slot* new_slot(std::string name, const Shape& shape, Form form);
  Slot* table_of(const std::string& what, const void* bytes, size_t size);
  Slot* value_slot(ValueId value);
  Slot* in_form(ValueId value, Form form, Store grad_store);
  Slot* narrowed(Slot* parameter, Form form);
  Form caller_form(ValueId value, Layout layout) const;
  void add_seed(ValueId value, Slot* slot);
  void lower(const Group& group);
  void expose(ValueId value);

  const Graph& graph_;
  const GradientSchedule* schedule_;
  const Engine& engine_;
  WeightCache& weights_;
  const Node* node_ = nullptr;
  NodeId node_id_ = -1;
  Clip clip_;
  ValueId residual_ = kNoValue;
  bool wants_residual_ = false;
  ValueId output_value_ = kNoValue;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<std::unique_ptr<Step>> steps_;
  class NarrowStep* narrow_step_ = nullptr;         // the first of all, where there is one
  std::map<ValueId, std::vector<Slot*>> versions_;  // first: the one the producer wrote
  std::map<ValueId, Slot*> exposed_, seeds_, wanted_gradients_;
  std::vector<std::vector<NodeId>> consumers_;
  std::vector<bool> is_exposed_, is_in_place_, is_wanted_;  // by value
  std::vector<std::vector<bool>> wanted_;                   // by node
  std::vector<Group> groups_;                               // by the last node that runs in it; node -1 where none ends
};

// The row of an operator in the CUDA backend's table.
struct CudaOp {
  OpKind kind;
  std::string (*why_unsupported)(const Graph&, const Node&);  // empty: fine
  void (*build)(Lowering&);
  bool fuses_clip;  // build() honours Lowering::clip()
};
const CudaOp& cuda_op(OpKind kind);
std::string why_unsupported(const Graph& graph, const Node& node);

// Builders, one file a family of operators under ops/.
void build_conv(Lowering&);
void build_conv_transpose(Lowering&);
void build_matmul(Lowering&);
void build_pool(Lowering&);
void build_reduce(Lowering&);
void build_unary(Lowering&);
void build_binary(Lowering&);
void build_softmax(Lowering&);
void build_concat(Lowering&);
void build_reshape(Lowering&);
void build_strided(Lowering&);  // transpose, slice, expand: one strided copy
void build_pad(Lowering&);
void build_gather(Lowering&);
void build_where(Lowering&);
void build_scale_shift(Lowering&);
void build_cast(Lowering&);
void build_resize(Lowering&);

}  // namespace actmatch::cuda
