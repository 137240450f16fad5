#include "engine/backend/cuda/cuda_lowering.h"

#include <algorithm>

#include "engine/core/error.h"

namespace actmatch::cuda {

namespace launch = kernels::cuda;

namespace {

// Puts a value into another form; backward, the gradient travels the other way.
class ConvertStep : public Step {
 public:
  ConvertStep(const Engine& engine, Slot* from, Slot* to, bool with_gradient) : Step(engine), from_(from), to_(to) {
    reads = {from};
    writes = {to};
    differentiate(target_, from, with_gradient && from->has_grad);
  }
  void forward() override { convert(stream(), to_->data, to_->form, from_->data, from_->form, to_->shape, false); }
  void backward() override {
    convert(stream(), from_->grad, from_->grad_form(), to_->grad, to_->grad_form(), to_->shape, target_.accumulate);
  }
  std::string implementation() const override { return "conversion"; }

 private:
  Slot *from_, *to_;
  GradTarget target_;
};

}  // namespace

// The parameters that are used in bf16, all at once at the beginning of a pass. Their gradients are written where the caller reads them.
class NarrowStep : public Step {
 public:
  using Step::Step;
  void add(Slot* from, Slot* to) {
    reads.push_back(from);
    writes.push_back(to);
  }
  void forward() override {
    std::vector<launch::Narrowing> arrays;
    for (size_t i = 0; i < reads.size(); ++i) arrays.push_back({writes[i]->as<bfloat16>(), reads[i]->as<float>(), reads[i]->count()});
    ACTMATCH_CUDA(launch::narrow(stream(), arrays));
  }
  std::string implementation() const override { return "conversion"; }
};

namespace {

// Brings a seed (a gradient the caller wrote) into the gradient of the value's slot, after everything else has been added to that. It
// writes nothing forward.
class SeedStep : public Step {
 public:
  SeedStep(const Engine& engine, Slot* seed, Slot* value) : Step(engine), seed_(seed), value_(value) {
    differentiate(target_, value, true);
  }
  void forward() override {}
  void backward() override {
    convert(stream(), value_->grad, value_->grad_form(), seed_->grad, seed_->grad_form(), value_->shape, target_.accumulate);
  }
  std::string implementation() const override { return "seed"; }

 private:
  Slot *seed_, *value_;
  GradTarget target_;
};

// A seed that the caller writes into the gradient of the value's slot itself, before the pass begins: what runs backward adds to it. It
// only has to be in the list, as the first to write there.
class SeedInPlace : public Step {
 public:
  SeedInPlace(const Engine& engine, Slot* value) : Step(engine) { differentiate(target_, value, true); }
  void forward() override {}
  std::string implementation() const override { return "seed in place"; }

 private:
  GradTarget target_;
};

// Hands the gradient of an activation to the caller: a copy, since the producer's backward may overwrite its own.
class WantedStep : public Step {
 public:
  WantedStep(const Engine& engine, Slot* value, Slot* copy) : Step(engine), value_(value), copy_(copy) {
    writes = {value};  // nothing of it forward, but its gradient is read backward
    differentiate(target_, copy, true);
  }
  void forward() override {}
  void backward() override { convert(stream(), copy_->grad, copy_->grad_form(), value_->grad, value_->grad_form(), value_->shape, false); }
  std::string implementation() const override { return "wanted"; }

 private:
  Slot *value_, *copy_;
  GradTarget target_;
};

Store natural_store(DType dtype) { return dtype == DType::kF32 ? Store::kF32 : dtype == DType::kI64 ? Store::kI64 : Store::kBool; }

bool as_clip(const Node& node, Clip& clip) {
  const auto* unary = std::get_if<UnaryAttrs>(&node.attrs);
  if (!unary) return false;
  if (unary->kind == UnaryKind::kRelu)
    clip = kernels::kReluClip;
  else if (unary->kind == UnaryKind::kClip && unary->alpha < unary->beta)
    clip = {unary->alpha, unary->beta};
  else
    return false;
  return true;
}

}  // namespace

void convert(cudaStream_t stream, void* to, Form to_form, const void* from, Form from_form, const Shape& shape, bool accumulate) {
  const Dims to_strides = strides_of(shape, to_form.layout), from_strides = strides_of(shape, from_form.layout);
  with_type(to_form.store, [&](auto t) {
    with_type(from_form.store, [&](auto f) {
      ACTMATCH_CUDA(launch::copy_strided(stream, static_cast<decltype(t)*>(to), static_cast<const decltype(f)*>(from), Dims(shape),
                                         to_strides, from_strides, accumulate));
    });
  });
}

Scratch* Step::add_scratch(size_t bytes, Scratch::When when) {
  if (bytes == 0) return nullptr;
  scratch.push_back(std::make_unique<Scratch>(Scratch{bytes, when, nullptr}));
  return scratch.back().get();
}

void Step::differentiate(GradTarget& target, Slot* slot, bool wanted) {
  if (!wanted) return;
  target.slot = slot->shares_gradient ? slot->shares_gradient : slot;
  grads.push_back(&target);
}

Lowering::Lowering(const Graph& graph, const CompileOptions& options, const GradientSchedule* schedule, const Engine& engine,
                   WeightCache& weights)
    : graph_(graph), schedule_(schedule), engine_(engine), weights_(weights), consumers_(graph.consumers()) {
  const size_t values = graph.values().size();
  is_exposed_.assign(values, false);
  is_in_place_.assign(values, false);
  is_wanted_.assign(values, false);
  wanted_.resize(graph.nodes().size());
  for (const auto* list : {&graph.outputs(), &options.exposed, &options.gradients.seeds})
    for (ValueId v : *list) is_exposed_[static_cast<size_t>(v)] = true;
  for (ValueId v : options.in_place) is_in_place_[static_cast<size_t>(v)] = true;
  for (ValueId v : options.gradients.wanted) is_wanted_[static_cast<size_t>(v)] = true;
  if (schedule)
    for (const BackwardStep& step : schedule->steps) wanted_[static_cast<size_t>(step.node)] = step.wanted;
  find_groups();
}

bool Lowering::private_to_one_consumer(ValueId value) const {
  const auto v = static_cast<size_t>(value);
  return !is_exposed_[v] && !is_wanted_[v] && consumers_[v].size() == 1 && graph_.value(value).dtype == DType::kF32;
}

// A convolution takes along a sum with a value of its own size, and a ReLU or clip; other operators the latter. From the end: of two
// convolutions that are added, the later one takes the sum, since the other's result is there by then. A group runs where its last node
// stands.
void Lowering::find_groups() {
  const auto& nodes = graph_.nodes();
  groups_.resize(nodes.size());
  std::vector<bool> taken(nodes.size(), false);  // runs in another node's group
  std::vector<size_t> place(nodes.size(), 0);    // by node: where in groups_ the group stands that it leads
  const auto free_consumer = [&](ValueId value) -> size_t {
    if (!private_to_one_consumer(value)) return nodes.size();
    const auto consumer = static_cast<size_t>(consumers_[static_cast<size_t>(value)].front());
    return taken[consumer] ? nodes.size() : consumer;
  };
  for (size_t n = nodes.size(); n-- > 0;) {
    const Node& node = nodes[n];
    if (taken[n]) continue;
    Group group{static_cast<NodeId>(n), kNoValue, false, {}, node.output};
    place[n] = n;
    const size_t next = free_consumer(node.output);
    if (next < nodes.size()) {
      const auto* sum = std::get_if<BinaryAttrs>(&nodes[next].attrs);
      const auto& terms = nodes[next].inputs;
      if (node.op() == OpKind::kConv && sum && sum->kind == BinaryKind::kAdd && terms[0] != terms[1] &&
          graph_.value(terms[0]).shape == graph_.value(terms[1]).shape) {
        const size_t other = terms[0] == node.output ? 1 : 0;
        place[n] = place[next];
        group.residual = terms[other];
        group.wants_residual = other < wanted_[next].size() && wanted_[next][other];
        group.clip = groups_[place[n]].clip;  // the sum may have taken one along already
        group.output = groups_[place[n]].output;
        taken[next] = true;
      } else if (cuda_op(node.op()).fuses_clip && as_clip(nodes[next], group.clip)) {
        place[n] = next;
        group.output = nodes[next].output;
        taken[next] = true;
      }
    }
    groups_[place[n]] = group;
  }
}

Slot* Lowering::new_slot(std::string name, const Shape& shape, Form form) {
  auto slot = std::make_unique<Slot>();
  slot->name = std::move(name);
  slot->shape = shape;
  slot->form = form;
  slot->grad_store = form.store;
  slot->bytes = static_cast<size_t>(element_count(shape)) * size_of(form.store);
  slots_.push_back(std::move(slot));
  return slots_.back().get();
}

Slot* Lowering::table_of(const std::string& what, const void* bytes, size_t size) {
  Slot* slot = new_slot(node_->name + "." + what, {static_cast<int64_t>(size)}, {Layout::kRows, Store::kBool});
  auto memory = std::make_shared<DeviceMemory>(std::max<size_t>(size, 1), engine_.memory);
  copy_to_device(engine_.stream, memory->data(), bytes, size);
  slot->constant = std::move(memory);
  slot->persistent = true;
  return slot;
}

bool Lowering::wants(size_t i) const {
  const auto& wanted = wanted_[static_cast<size_t>(node_id_)];
  return i < wanted.size() && wanted[i];
}

// How the caller sees a value that the program has, or would have, in that layout.
Form Lowering::caller_form(ValueId id, Layout layout) const {
  const Value& value = graph_.value(id);
  const bool may_stay = is_in_place_[static_cast<size_t>(id)] &&
                        (value.kind == ValueKind::kParameter ? can_be_channels_last(value.shape) : value.shape.size() == 4);
  return {may_stay ? layout : Layout::kRows, natural_store(value.dtype)};
}

// The slot that the caller or the producer writes.
Slot* Lowering::value_slot(ValueId id) {
  auto& versions = versions_[id];
  if (versions.empty()) {  // an input, parameter or exposed constant on its first use
    const Value& value = graph_.value(id);
    ACTMATCH_CHECK(value.kind != ValueKind::kActivation, "value '" + value.name + "' is used before it is computed");
    Slot* slot = new_slot(value.name, value.shape, caller_form(id, Layout::kChannelsLast));
    slot->persistent = true;
    if (value.kind == ValueKind::kConstant) slot->constant = weights_.get(value.constant, slot->form);
    slot->has_grad = schedule_ && schedule_->has_gradient[static_cast<size_t>(id)];
    slot->persistent_grad = slot->has_grad;
    versions.push_back(slot);
  }
  return versions.front();
}

Slot* Lowering::in_form(ValueId id, Form form, Store grad_store) {
  const Value& value = graph_.value(id);
  if (!can_be_channels_last(value.shape)) form.layout = Layout::kRows;
  const auto fits = [&](const Slot& slot) {
    return slot.form.store == form.store && (slot.form.layout == form.layout || same_in_both_layouts(slot.shape)) &&
           ((!slot.has_grad && !slot.shares_gradient) || slot.grad_store == grad_store);
  };
  if (value.kind == ValueKind::kConstant) {
    auto& versions = versions_[id];
    for (Slot* slot : versions)
      if (fits(*slot)) return slot;
    Slot* slot = new_slot(value.name, value.shape, form);
    slot->persistent = true;
    slot->constant = weights_.get(value.constant, form);
    versions.push_back(slot);
    return slot;
  }
  Slot* from = value_slot(id);
  auto& versions = versions_[id];
  for (Slot* slot : versions)
    if (fits(*slot)) return slot;
  const bool lie_alike = from->form.layout == form.layout || same_in_both_layouts(from->shape);
  if (value.kind == ValueKind::kParameter && lie_alike && form.store == Store::kBf16 && grad_store == from->grad_store) {
    versions.push_back(narrowed(from, form));
    return versions.back();
  }
  Slot* to = new_slot(from->name, from->shape, form);
  to->grad_store = grad_store;
  to->has_grad = from->has_grad;
  auto step = std::make_unique<ConvertStep>(engine_, from, to, true);
  step->node = node_id_;
  steps_.push_back(std::move(step));
  versions.push_back(to);
  return to;
}

Slot* Lowering::narrowed(Slot* parameter, Form form) {
  Slot* to = new_slot(parameter->name, parameter->shape, form);
  to->grad_store = parameter->grad_store;
  to->shares_gradient = parameter;
  if (!narrow_step_) {
    auto step = std::make_unique<NarrowStep>(engine_);
    narrow_step_ = step.get();
    step->node = node_id_;
    steps_.insert(steps_.begin(), std::move(step));
  }
  narrow_step_->add(parameter, to);
  return to;
}

Slot* Lowering::input(size_t i) {
  const ValueId id = node_->inputs[i];
  const Value& value = graph_.value(id);
  const Store store = value.dtype == DType::kF32 ? engine_.store() : natural_store(value.dtype);
  const auto it = versions_.find(id);
  const Layout layout = it != versions_.end() && !it->second.empty() ? it->second.front()->form.layout : Layout::kRows;
  return in_form(id, {layout, store}, store);
}

Slot* Lowering::input_as(size_t i, Layout layout) {
  const Value& value = graph_.value(node_->inputs[i]);
  const Store store = value.dtype == DType::kF32 ? engine_.store() : natural_store(value.dtype);
  return in_form(node_->inputs[i], {layout, store}, store);
}

Slot* Lowering::input_f32(size_t i, Layout layout) { return in_form(node_->inputs[i], {layout, Store::kF32}, Store::kF32); }

Slot* Lowering::input_weights(size_t i, Layout layout) { return in_form(node_->inputs[i], {layout, engine_.store()}, Store::kF32); }

Slot* Lowering::residual() { return in_form(residual_, {Layout::kChannelsLast, engine_.store()}, engine_.store()); }

Slot* Lowering::constant_as(size_t i, const std::string& kind, Store store,
                            const std::function<std::vector<std::byte>(const Tensor&)>& make) {
  const Value& value = graph_.value(node_->inputs[i]);
  ACTMATCH_CHECK(value.kind == ValueKind::kConstant, "only constants are prepared ahead");
  Slot* slot = new_slot(value.name, value.shape, {Layout::kRows, store});
  slot->persistent = true;
  slot->constant = weights_.get(value.constant, kind, make);
  slot->bytes = slot->constant->bytes();
  return slot;
}

Slot* Lowering::output(Layout layout) {
  const Value& value = graph_.value(output_value_);
  if (!can_be_channels_last(value.shape)) layout = Layout::kRows;
  Slot* slot = new_slot(value.name, value.shape, {layout, value.dtype == DType::kF32 ? engine_.store() : natural_store(value.dtype)});
  slot->has_grad = schedule_ && schedule_->has_gradient[static_cast<size_t>(output_value_)];
  slot->clip = clip_;
  slot->grad_is_read = is_wanted_[static_cast<size_t>(output_value_)];
  versions_[output_value_] = {slot};
  return slot;
}

void Lowering::add_step(std::unique_ptr<Step> step) {
  step->node = node_id_;
  steps_.push_back(std::move(step));
}

void Lowering::lower(const Group& group) {
  node_id_ = group.node;
  node_ = &graph_.node(group.node);
  clip_ = group.clip;
  residual_ = group.residual;
  wants_residual_ = group.wants_residual;
  output_value_ = group.output;
  cuda_op(node_->op()).build(*this);
  expose(output_value_);
  Slot* slot = value_slot(output_value_);
  if (is_wanted_[static_cast<size_t>(output_value_)] && slot->has_grad) {  // before the seed: backward, the seed has been added by then
    Slot* copy = new_slot(slot->name + ".gradient", slot->shape, caller_form(output_value_, slot->form.layout));
    copy->has_grad = copy->persistent_grad = true;
    wanted_gradients_[output_value_] = copy;
    add_step(std::make_unique<WantedStep>(engine_, slot, copy));
  }
  if (schedule_ && schedule_->seeded[static_cast<size_t>(output_value_)]) add_seed(output_value_, slot);
}

void Lowering::expose(ValueId id) {
  if (!is_exposed_[static_cast<size_t>(id)]) return;
  Slot* slot = value_slot(id);
  const Form form = caller_form(id, slot->form.layout);
  const bool as_it_is = slot->form.store == form.store && (slot->form.layout == form.layout || same_in_both_layouts(slot->shape));
  if (as_it_is) {
    slot->persistent = true;
    exposed_[id] = slot;
    return;
  }
  // A copy of its own; seeds reach the value by their own step, so the copy carries no gradient.
  Slot* copy = new_slot(slot->name, slot->shape, form);
  copy->persistent = true;
  add_step(std::make_unique<ConvertStep>(engine_, slot, copy, false));
  exposed_[id] = copy;
}

void Lowering::add_seed(ValueId id, Slot* slot) {
  const Form form = caller_form(id, slot->form.layout);
  if (is_in_place_[static_cast<size_t>(id)] && slot->has_grad && slot->grad_form() == form) {
    slot->persistent_grad = true;
    seeds_[id] = slot;
    return;
  }
  Slot* seed = new_slot(slot->name + ".seed", slot->shape, form);
  seed->has_grad = seed->persistent_grad = true;
  seeds_[id] = seed;
  if (slot->has_grad) add_step(std::make_unique<SeedStep>(engine_, seed, slot));
}

void Lowering::run() {
  for (ValueId v : graph_.inputs()) exposed_[v] = value_slot(v);
  for (size_t v = 0; v < graph_.values().size(); ++v) {
    const Value& value = graph_.values()[v];
    const auto id = static_cast<ValueId>(v);
    if (value.kind == ValueKind::kParameter || (is_exposed_[v] && value.kind != ValueKind::kActivation)) exposed_[id] = value_slot(id);
    if (schedule_ && schedule_->seeded[v] && value.kind != ValueKind::kActivation) add_seed(id, value_slot(id));
  }
  for (const Group& group : groups_)
    if (group.node >= 0) lower(group);
  for (const auto& [id, seed] : seeds_)  // last: the backward pass begins with them
    if (seed == versions_.at(id).front()) {
      steps_.push_back(std::make_unique<SeedInPlace>(engine_, seed));
      steps_.back()->node = graph_.value(id).producer;
    }
}

namespace {
Slot* find(const std::map<ValueId, Slot*>& table, ValueId value) {
  const auto it = table.find(value);
  return it == table.end() ? nullptr : it->second;
}
}  // namespace

Slot* Lowering::exposed(ValueId value) const { return find(exposed_, value); }
Slot* Lowering::seed(ValueId value) const { return find(seeds_, value); }
Slot* Lowering::gradient(ValueId value) const {
  if (Slot* copy = find(wanted_gradients_, value)) return copy;
  const auto it = versions_.find(value);
  return it == versions_.end() || it->second.empty() || !it->second.front()->persistent_grad ? nullptr : it->second.front();
}

}  // namespace actmatch::cuda
