// The CPU program's own form of a graph: slots (buffers with a oneDNN descriptor) and steps over them. A value may live in several slots,
// one a layout; a step that needs another layout gets a reorder step in front, whose backward is the reorder of the gradient.
// The gradient of a slot always has the slot's own descriptor.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/backend/cpu/dnnl_compat.h"

namespace actmatch::cpu {

struct Slot {
  std::string name;
  MemoryDesc desc;  // for f32; for other types only `bytes` counts
  Shape shape;
  DType dtype = DType::kF32;
  size_t bytes = 0;
  bool persistent = false;       // data is allocated outside the arena: constants, inputs, exposed values
  bool persistent_grad = false;  // the same for the gradient (wanted values)
  bool has_grad = false;
  std::byte* data = nullptr;
  float* grad = nullptr;
  std::shared_ptr<const Tensor> constant;  // set when the content never changes

  float* f32() const { return reinterpret_cast<float*>(data); }
  size_t gradient_bytes() const { return bytes; }
  size_t floats() const { return bytes / sizeof(float); }  // with the padding of blocked layouts
};

// Scratch memory of a step, booked when the step is made.
struct Scratch {
  enum class When { kForward, kBackward, kSaved /* written forward, read backward */ };
  size_t bytes = 0;
  When when = When::kForward;
  std::byte* data = nullptr;
};

// A gradient that a step computes: d(loss)/d(slot), added to what is there when `accumulate` is set (decided after all steps are known).
struct GradTarget {
  Slot* slot = nullptr;
  bool accumulate = false;
  explicit operator bool() const { return slot != nullptr; }
};

class Step {
 public:
  virtual ~Step() = default;
  virtual void forward() = 0;
  virtual void backward() {}  // reads the outputs' gradients; may overwrite them
  virtual std::string implementation() const { return "loops"; }
  virtual void bind() {}                          // called once, when all addresses are known
  virtual size_t own_bytes() const { return 0; }  // memory beside the program's

  NodeId node = -1;
  std::vector<Slot*> reads;           // data read forward
  std::vector<Slot*> writes;          // data written forward
  std::vector<Slot*> backward_reads;  // data read backward
  std::vector<GradTarget*> grads;     // gradients written backward, in the order they are written
  std::vector<std::unique_ptr<Scratch>> scratch;
  Scratch* add_scratch(size_t bytes, Scratch::When when);
  // Called once the accumulate flags are known and before memory is planned: the last chance to book scratch.
  virtual void plan() {}
};

// Where a library primitive puts a gradient: straight into the target when layout and overwriting allow it, otherwise into scratch that
// finish() adds to (or reorders into) the target.
class GradSink {
 public:
  void set(GradTarget* target, MemoryDesc produced, MemoryDesc target_desc);
  void plan(Step& step);
  void bind(const dnnl::engine& engine);
  float* address() const;
  void finish(dnnl::stream& stream);

 private:
  GradTarget* target_ = nullptr;
  MemoryDesc produced_, target_desc_;
  Scratch* scratch_ = nullptr;
  dnnl::reorder reorder_;
  dnnl::memory from_, to_;
};

struct Activation {  // the epilogue fused into its producer
  bool present = false;
  bool relu = false;  // otherwise a clip
  float low = 0.0f, high = 0.0f;
};

// Constants in forms of our own, as opposed to layouts that a descriptor tells.
enum class WeightForm { kLayout, kWinograd, kWinogradTurned, kPanels /* of gemm.h */, kPanelsTurned };

// Constants in the layouts that primitives asked for, shared by all programs of a backend (one classifier is compiled for several batches).
class WeightCache {
 public:
  std::shared_ptr<const Tensor> get(const std::shared_ptr<const Tensor>& constant, const MemoryDesc& source, const MemoryDesc& desc,
                                    const dnnl::engine& engine);
  // As many floats as `desc` has, filled by `make(floats, row-major constant)`, which the form must determine.
  std::shared_ptr<const Tensor> get(const std::shared_ptr<const Tensor>& constant, WeightForm form, const MemoryDesc& desc,
                                    const std::function<void(float*, const float*)>& make);

 private:
  struct Entry {
    std::weak_ptr<const Tensor> constant;
    WeightForm form;
    MemoryDesc source, desc;
    std::weak_ptr<const Tensor> reordered;
  };
  template <class Make>
  std::shared_ptr<const Tensor> find_or_make(const Entry& wanted, const Make& make);
  std::vector<Entry> entries_;
  std::mutex mutex_;
};

// State while a graph is being lowered; what the operators' builders see.
class Lowering {
 public:
  Lowering(const Graph& graph, const CompileOptions& options, const GradientSchedule* schedule, dnnl::engine engine, WeightCache& weights);

  const Graph& graph() const { return graph_; }
  const dnnl::engine& engine() const { return engine_; }
  WeightCache& weight_cache() const { return weights_; }
  bool training() const { return schedule_ != nullptr; }
  int64_t pictures() const { return pictures_; }  // see CompileOptions

  // --- for the builder of one node ---
  const Node& node() const { return *node_; }
  const Activation& activation() const { return activation_; }  // to be applied to the output (and undone backward)
  size_t input_count() const { return node_->inputs.size(); }
  bool has_input(size_t i) const { return i < node_->inputs.size() && node_->inputs[i] != kNoValue; }
  const Shape& input_shape(size_t i) const { return graph_.value(node_->inputs[i]).shape; }
  const Shape& output_shape() const { return graph_.value(node_->output).shape; }
  bool only_moved() const;     // whoever reads the output is a reshape or a transpose, which take it row-major
  bool wants(size_t i) const;  // the gradient of input i is to be computed
  bool input_is_constant(size_t i) const { return graph_.is_constant(node_->inputs[i]); }
  const Tensor& constant(size_t i) const { return *graph_.value(node_->inputs[i]).constant; }

  Slot* input(size_t i);                             // in whatever layout it has
  Slot* input_as(size_t i, const MemoryDesc& desc);  // reordered when necessary
  Slot* input_plain(size_t i);                       // row-major
  Slot* output(const MemoryDesc& desc);              // the output's slot (of the fused activation, when there is one)
  Slot* output_plain();
  // A constant (weights) in the wanted layout; reordered once, shared by equal requests. `source` describes the constant's row-major bytes.
  Slot* weights_as(size_t i, const MemoryDesc& source, const MemoryDesc& desc);
  // A constant in a form of our own; see WeightCache.
  Slot* weights_as(size_t i, WeightForm form, size_t floats, const std::function<void(float*, const float*)>& make);
  void add_step(std::unique_ptr<Step> step);

  // --- for the program ---
  void run();
  std::vector<std::unique_ptr<Slot>>& slots() { return slots_; }
  std::vector<std::unique_ptr<Step>>& steps() { return steps_; }
  Slot* exposed(ValueId value) const;   // plain, persistent; null when the value is not exposed
  Slot* seed(ValueId value) const;      // its `grad` is what the caller writes; null when not a seed
  Slot* gradient(ValueId value) const;  // of a wanted value: its `grad` is what the caller reads; null when no seed reaches it

 private:
  Slot* new_slot(std::string name, const Shape& shape, DType dtype, const MemoryDesc& desc);
  Slot* value_slot(ValueId value);
  Slot* converted(ValueId value, Slot* from, const MemoryDesc& source, const MemoryDesc& desc);
  void add_seed(ValueId value, Slot* slot);
  void lower_node(NodeId id);
  void expose(ValueId value);
  void fuse_activation(NodeId id);
  void find_swishes();

  const Graph& graph_;
  const GradientSchedule* schedule_;
  dnnl::engine engine_;
  WeightCache& weights_;
  const Node* node_ = nullptr;
  NodeId node_id_ = -1;
  Activation activation_;
  ValueId output_value_ = kNoValue;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<std::unique_ptr<Step>> steps_;
  struct Version {  // `slot` holds the bytes of `from`, read as `source`, in its own layout
    Slot *slot = nullptr, *from = nullptr;
    MemoryDesc source;
  };
  std::map<ValueId, std::vector<Version>> versions_;  // first: the one the producer wrote, which comes from nowhere
  int64_t pictures_;
  std::map<ValueId, Slot*> exposed_, seeds_, wanted_gradients_;
  std::vector<std::vector<NodeId>> consumers_;
  std::vector<bool> is_exposed_, is_wanted_, fused_away_;  // by value, by value, by node
  std::vector<bool> is_swish_;                             // by node: a product x sigmoid(x), whose other factor is fused away
  std::vector<std::vector<bool>> wanted_;                  // by node
};

// The row of an operator in the CPU backend's table.
struct CpuOp {
  OpKind kind;
  std::string (*why_unsupported)(const Graph&, const Node&);  // empty: fine
  void (*build)(Lowering&);
  bool fuses_activation;  // build() honours Lowering::activation()
};
const CpuOp& cpu_op(OpKind kind);

// Builders, one file an operator under ops/.
void build_conv(Lowering&);
void build_conv_transpose(Lowering&);
void build_conv_instances(Lowering&);  // either of the two, with weights for each part of the batch
void build_matmul(Lowering&);
void build_pool(Lowering&);
void build_reduce(Lowering&);
void build_unary(Lowering&);
void build_swish(Lowering&, size_t x);  // of input x of the node, which is its product with its sigmoid
void build_binary(Lowering&);
bool build_binary_with_channels(Lowering&, BinaryKind, size_t x);  // false: not of that form, or in another layout
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
void build_top_k(Lowering&);
// Any operator that the graph can fold, without a gradient: computed by the same function at run time. For integers and booleans.
void build_on_host(Lowering&);
std::string pool_unsupported(const Graph&, const Node&);
std::string conv_transpose_unsupported(const Graph&, const Node&);

}  // namespace actmatch::cpu
