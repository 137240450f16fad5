#include "engine/backend/cpu/lowering.h"

#include <algorithm>

#include "engine/backend/cpu/loops.h"
#include "engine/core/error.h"

namespace actmatch::cpu {

namespace {

// Puts a value into another layout; backward, the gradient travels the other way.
class ReorderStep : public Step {
 public:
  ReorderStep(Slot* from, const MemoryDesc& source, Slot* to, const dnnl::engine& engine)
      : from_(from), to_(to), source_(source), engine_(engine), stream_(engine), forward_(make_reorder(engine, source, to->desc, false)) {
    reads = {from};
    writes = {to};
    if (from->has_grad) {
      target_.slot = from;
      grads = {&target_};
    }
  }
  void plan() override {
    if (target_) backward_ = make_reorder(engine_, to_->desc, source_, target_.accumulate);
  }
  void bind() override {
    from_memory_ = dnnl::memory(source_, engine_, from_->data);
    to_memory_ = dnnl::memory(to_->desc, engine_, to_->data);
    if (target_) {
      from_grad_ = dnnl::memory(source_, engine_, from_->grad);
      to_grad_ = dnnl::memory(to_->desc, engine_, to_->grad);
    }
  }
  void forward() override { forward_.execute(stream_, from_memory_, to_memory_); }
  void backward() override { backward_.execute(stream_, to_grad_, from_grad_); }
  std::string implementation() const override { return "reorder"; }

 private:
  Slot *from_, *to_;
  MemoryDesc source_;
  dnnl::engine engine_;
  dnnl::stream stream_;
  GradTarget target_;
  dnnl::reorder forward_, backward_;
  dnnl::memory from_memory_, to_memory_, from_grad_, to_grad_;
};

// Brings a seed (a gradient the caller wrote, row-major) into the gradient of the value's slot. It writes nothing forward.
class SeedStep : public Step {
 public:
  SeedStep(Slot* seed, Slot* value, const dnnl::engine& engine) : seed_(seed), value_(value), engine_(engine), stream_(engine) {
    target_.slot = value;
    grads = {&target_};
  }
  void plan() override { reorder_ = make_reorder(engine_, seed_->desc, value_->desc, target_.accumulate); }
  void bind() override {
    from_ = dnnl::memory(seed_->desc, engine_, seed_->grad);
    to_ = dnnl::memory(value_->desc, engine_, value_->grad);
  }
  void forward() override {}
  void backward() override { reorder_.execute(stream_, from_, to_); }
  std::string implementation() const override { return "seed"; }

 private:
  Slot *seed_, *value_;
  dnnl::engine engine_;
  dnnl::stream stream_;
  GradTarget target_;
  dnnl::reorder reorder_;
  dnnl::memory from_, to_;
};

// Hands the gradient of an activation to the caller, row-major: a copy, since the producer's backward may overwrite its own.
class WantedStep : public Step {
 public:
  WantedStep(Slot* value, Slot* copy, const dnnl::engine& engine) : value_(value), copy_(copy), engine_(engine), stream_(engine) {
    writes = {value};  // nothing of it forward, but its gradient is read backward
    target_.slot = copy;
    grads = {&target_};
  }
  void plan() override { reorder_ = make_reorder(engine_, value_->desc, copy_->desc, false); }
  void bind() override {
    from_ = dnnl::memory(value_->desc, engine_, value_->grad);
    to_ = dnnl::memory(copy_->desc, engine_, copy_->grad);
  }
  void forward() override {}
  void backward() override { reorder_.execute(stream_, from_, to_); }
  std::string implementation() const override { return "wanted"; }

 private:
  Slot *value_, *copy_;
  dnnl::engine engine_;
  dnnl::stream stream_;
  GradTarget target_;
  dnnl::reorder reorder_;
  dnnl::memory from_, to_;
};

}  // namespace

Scratch* Step::add_scratch(size_t bytes, Scratch::When when) {
  if (bytes == 0) return nullptr;
  scratch.push_back(std::make_unique<Scratch>(Scratch{bytes, when, nullptr}));
  return scratch.back().get();
}

void GradSink::set(GradTarget* target, MemoryDesc produced, MemoryDesc target_desc) {
  target_ = target;
  produced_ = std::move(produced);
  target_desc_ = std::move(target_desc);
}

void GradSink::plan(Step& step) {
  if (target_ && (target_->accumulate || produced_ != target_desc_))
    scratch_ = step.add_scratch(produced_.get_size(), Scratch::When::kBackward);
}

void GradSink::bind(const dnnl::engine& engine) {
  if (!scratch_ || produced_ == target_desc_) return;
  reorder_ = make_reorder(engine, produced_, target_desc_, target_->accumulate);
  from_ = dnnl::memory(produced_, engine, scratch_->data);
  to_ = dnnl::memory(target_desc_, engine, target_->slot->grad);
}

float* GradSink::address() const { return scratch_ ? reinterpret_cast<float*>(scratch_->data) : target_->slot->grad; }

void GradSink::finish(dnnl::stream& stream) {
  if (!scratch_) return;
  if (produced_ == target_desc_)
    add_to(target_->slot->grad, reinterpret_cast<float*>(scratch_->data), static_cast<int64_t>(target_->slot->floats()));
  else
    reorder_.execute(stream, from_, to_);
}

Lowering::Lowering(const Graph& graph, const CompileOptions& options, const GradientSchedule* schedule, dnnl::engine engine,
                   WeightCache& weights)
    : graph_(graph),
      schedule_(schedule),
      engine_(std::move(engine)),
      weights_(weights),
      pictures_(options.pictures),
      consumers_(graph.consumers()) {
  const size_t values = graph.values().size();
  is_exposed_.assign(values, false);
  is_wanted_.assign(values, false);
  fused_away_.assign(graph.nodes().size(), false);
  is_swish_.assign(graph.nodes().size(), false);
  wanted_.resize(graph.nodes().size());
  for (ValueId v : graph.outputs()) is_exposed_[static_cast<size_t>(v)] = true;
  for (ValueId v : options.exposed) is_exposed_[static_cast<size_t>(v)] = true;
  for (ValueId v : options.gradients.seeds) is_exposed_[static_cast<size_t>(v)] = true;
  for (ValueId v : options.gradients.wanted) is_wanted_[static_cast<size_t>(v)] = true;
  if (schedule)
    for (const BackwardStep& step : schedule->steps) wanted_[static_cast<size_t>(step.node)] = step.wanted;
}

Slot* Lowering::new_slot(std::string name, const Shape& shape, DType dtype, const MemoryDesc& desc) {
  auto slot = std::make_unique<Slot>();
  slot->name = std::move(name);
  slot->shape = shape;
  slot->dtype = dtype;
  slot->desc = desc;
  slot->bytes = dtype == DType::kF32 ? desc.get_size() : static_cast<size_t>(element_count(shape)) * size_of(dtype);
  slots_.push_back(std::move(slot));
  return slots_.back().get();
}

bool Lowering::wants(size_t i) const {
  const auto& wanted = wanted_[static_cast<size_t>(node_id_)];
  return i < wanted.size() && wanted[i];
}

bool Lowering::only_moved() const {
  const auto& readers = consumers_[static_cast<size_t>(node_->output)];
  return !readers.empty() && std::all_of(readers.begin(), readers.end(), [&](NodeId n) {
    return graph_.node(n).op() == OpKind::kReshape || graph_.node(n).op() == OpKind::kTranspose;
  });
}

Slot* Lowering::value_slot(ValueId id) {
  auto& versions = versions_[id];
  if (versions.empty()) {  // a constant, input or parameter on its first use
    const Value& value = graph_.value(id);
    ACTMATCH_CHECK(value.kind != ValueKind::kActivation, "value '" + value.name + "' is used before it is computed");
    Slot* slot = new_slot(value.name, value.shape, value.dtype, plain_desc(value.shape));
    slot->persistent = true;
    if (value.kind == ValueKind::kConstant) slot->constant = value.constant;
    slot->has_grad = schedule_ && schedule_->has_gradient[static_cast<size_t>(id)];
    slot->persistent_grad = slot->has_grad;
    versions.push_back({slot, nullptr, {}});
  }
  return versions.front().slot;
}

Slot* Lowering::input(size_t i) { return value_slot(node_->inputs[i]); }

Slot* Lowering::converted(ValueId id, Slot* from, const MemoryDesc& source, const MemoryDesc& desc) {
  const bool viewed = source != from->desc;  // other dims over the same bytes: never the slot itself unless the layouts agree
  if (!viewed && from->desc == desc) return from;
  auto& versions = versions_[id];
  for (const Version& v : versions)  // the same bytes may be read in two ways: convolution and transposed convolution swap two axes
    if (v.from == from && v.source == source && v.slot->desc == desc) return v.slot;
  Slot* to = new_slot(from->name, from->shape, from->dtype, desc);
  if (from->constant) {
    to->constant = weights_.get(from->constant, source, desc, engine_);
    to->persistent = true;
  } else {
    to->has_grad = from->has_grad;
    auto step = std::make_unique<ReorderStep>(from, source, to, engine_);
    step->node = node_id_;
    steps_.push_back(std::move(step));
  }
  versions.push_back({to, from, source});
  return to;
}

Slot* Lowering::input_as(size_t i, const MemoryDesc& desc) {
  Slot* from = input(i);
  return converted(node_->inputs[i], from, from->desc, desc);
}

Slot* Lowering::input_plain(size_t i) {
  Slot* from = input(i);
  if (from->dtype != DType::kF32) return from;
  return input_as(i, plain_desc(from->shape));
}

Slot* Lowering::weights_as(size_t i, const MemoryDesc& source, const MemoryDesc& desc) {
  return converted(node_->inputs[i], input_plain(i), source, desc);  // `source` speaks of row-major bytes
}

Slot* Lowering::weights_as(size_t i, WeightForm form, size_t floats, const std::function<void(float*, const float*)>& make) {
  Slot* from = input_plain(i);
  ACTMATCH_CHECK(from->constant != nullptr, "only constants are prepared ahead");
  const Shape shape{static_cast<int64_t>(floats)};
  Slot* to = new_slot(from->name, shape, from->dtype, plain_desc(shape));
  to->constant = weights_.get(from->constant, form, to->desc, make);
  to->persistent = true;
  return to;
}

Slot* Lowering::output(const MemoryDesc& desc) {
  const Value& value = graph_.value(output_value_);
  Slot* slot = new_slot(value.name, value.shape, value.dtype, desc);
  slot->has_grad = schedule_ && schedule_->has_gradient[static_cast<size_t>(output_value_)];
  versions_[output_value_] = {Version{slot, nullptr, {}}};
  return slot;
}

Slot* Lowering::output_plain() { return output(plain_desc(graph_.value(output_value_).shape)); }

void Lowering::add_step(std::unique_ptr<Step> step) {
  step->node = node_id_;
  steps_.push_back(std::move(step));
}

// A ReLU or clip that alone reads the node's output becomes part of the node.
void Lowering::fuse_activation(NodeId id) {
  activation_ = {};
  output_value_ = graph_.node(id).output;
  const auto produced = static_cast<size_t>(output_value_);
  if (!cpu_op(graph_.node(id).op()).fuses_activation || is_exposed_[produced] || is_wanted_[produced] || consumers_[produced].size() != 1)
    return;
  const NodeId next = consumers_[produced].front();
  const auto* unary = std::get_if<UnaryAttrs>(&graph_.node(next).attrs);
  if (!unary || graph_.value(output_value_).dtype != DType::kF32) return;
  if (unary->kind != UnaryKind::kRelu && !(unary->kind == UnaryKind::kClip && unary->alpha <= 0.0f && unary->beta > 0.0f)) return;
  activation_ = {true, unary->kind == UnaryKind::kRelu, unary->alpha, unary->beta};
  output_value_ = graph_.node(next).output;
  fused_away_[static_cast<size_t>(next)] = true;
}

// x sigmoid(x) where nobody else reads the sigmoid: one pass over memory in the place of two, and nothing to keep for backward but x.
void Lowering::find_swishes() {
  for (size_t n = 0; n < graph_.nodes().size(); ++n) {
    const Node& node = graph_.node(static_cast<NodeId>(n));
    const auto* product = std::get_if<BinaryAttrs>(&node.attrs);
    if (!product || product->kind != BinaryKind::kMul || graph_.value(node.output).dtype != DType::kF32) continue;
    for (size_t x = 0; x < 2; ++x) {
      const ValueId gate = node.inputs[1 - x];
      const NodeId maker = graph_.value(gate).producer;
      if (maker < 0 || is_exposed_[static_cast<size_t>(gate)] || is_wanted_[static_cast<size_t>(gate)] ||
          consumers_[static_cast<size_t>(gate)].size() != 1)
        continue;
      const Node& sigmoid = graph_.node(maker);
      const auto* unary = std::get_if<UnaryAttrs>(&sigmoid.attrs);
      if (!unary || unary->kind != UnaryKind::kSigmoid || sigmoid.inputs[0] != node.inputs[x]) continue;
      is_swish_[n] = fused_away_[static_cast<size_t>(maker)] = true;
      break;
    }
  }
}

void Lowering::lower_node(NodeId id) {
  node_id_ = id;
  node_ = &graph_.node(id);
  if (is_swish_[static_cast<size_t>(id)]) {
    activation_ = {};
    output_value_ = node_->output;
    const NodeId first = graph_.value(node_->inputs[0]).producer;
    const bool gate_first = first >= 0 && fused_away_[static_cast<size_t>(first)] && graph_.node(first).output == node_->inputs[0];
    build_swish(*this, gate_first ? 1 : 0);
  } else {
    fuse_activation(id);
    cpu_op(node_->op()).build(*this);
  }
  expose(output_value_);
  Slot* slot = value_slot(output_value_);
  if (is_wanted_[static_cast<size_t>(output_value_)] && slot->has_grad) {  // before the seed: backward, the seed has been added by then
    Slot* copy = new_slot(slot->name + ".gradient", slot->shape, DType::kF32, plain_desc(slot->shape));
    copy->has_grad = copy->persistent_grad = true;
    wanted_gradients_[output_value_] = copy;
    add_step(std::make_unique<WantedStep>(slot, copy, engine_));
  }
  if (schedule_ && schedule_->seeded[static_cast<size_t>(output_value_)]) add_seed(output_value_, slot);
}

void Lowering::expose(ValueId id) {
  if (!is_exposed_[static_cast<size_t>(id)]) return;
  Slot* slot = value_slot(id);
  const MemoryDesc plain = plain_desc(slot->shape);
  if (slot->dtype != DType::kF32 || slot->desc == plain) {
    slot->persistent = true;
    exposed_[id] = slot;
  } else {  // a copy of its own; seeds reach the value by their own step, so the copy carries no gradient
    Slot* copy = new_slot(slot->name, slot->shape, slot->dtype, plain);
    copy->persistent = true;
    const bool had_grad = slot->has_grad;
    slot->has_grad = false;
    auto step = std::make_unique<ReorderStep>(slot, slot->desc, copy, engine_);
    slot->has_grad = had_grad;
    step->node = node_id_;
    steps_.push_back(std::move(step));
    exposed_[id] = copy;
  }
}

void Lowering::add_seed(ValueId id, Slot* slot) {
  Slot* seed = new_slot(slot->name + ".seed", slot->shape, DType::kF32, plain_desc(slot->shape));
  seed->has_grad = seed->persistent_grad = true;
  seeds_[id] = seed;
  if (!slot->has_grad) return;
  auto step = std::make_unique<SeedStep>(seed, slot, engine_);
  step->node = node_id_;
  steps_.push_back(std::move(step));
}

void Lowering::run() {
  for (ValueId v : graph_.inputs()) exposed_[v] = value_slot(v);
  for (size_t v = 0; v < graph_.values().size(); ++v) {
    if (graph_.values()[v].kind == ValueKind::kParameter) exposed_[static_cast<ValueId>(v)] = value_slot(static_cast<ValueId>(v));
    if (is_exposed_[v] && graph_.values()[v].kind != ValueKind::kActivation)
      exposed_[static_cast<ValueId>(v)] = value_slot(static_cast<ValueId>(v));
    if (schedule_ && schedule_->seeded[v] && graph_.values()[v].kind != ValueKind::kActivation)
      add_seed(static_cast<ValueId>(v), value_slot(static_cast<ValueId>(v)));
  }
  find_swishes();
  for (size_t id = 0; id < graph_.nodes().size(); ++id)
    if (!fused_away_[id]) lower_node(static_cast<NodeId>(id));
}

Slot* Lowering::exposed(ValueId value) const {
  const auto it = exposed_.find(value);
  return it == exposed_.end() ? nullptr : it->second;
}

Slot* Lowering::seed(ValueId value) const {
  const auto it = seeds_.find(value);
  return it == seeds_.end() ? nullptr : it->second;
}

Slot* Lowering::gradient(ValueId value) const {
  if (const auto it = wanted_gradients_.find(value); it != wanted_gradients_.end()) return it->second;
  const auto it = versions_.find(value);
  return it == versions_.end() || !it->second.front().slot->persistent_grad ? nullptr : it->second.front().slot;
}

}  // namespace actmatch::cpu
