// What the programs of all backends have in common: a program is a list of steps over slots (buffers), and this says which steps run
// backward, which gradients are added to, and where everything lies in memory. Pure host code.
//
// A backend's types have these members, and more of its own:
//   Slot        bytes, gradient_bytes(), has_grad, persistent, persistent_grad, constant (converts to bool), data and grad (pointers);
//   where
//               a backend has it continues (Slot*, of a later step)
//   GradTarget  slot, accumulate
//   Scratch     bytes, when (Scratch::When: kForward, kBackward, kSaved), data; where a backend has it becomes_gradient_of (Slot*)
//   Step        reads, writes, backward_reads (Slot*), grads (GradTarget*, in the order in which they are written), scratch
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <memory>
#include <set>
#include <unordered_map>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/core/error.h"
#include "engine/memory/planner.h"

namespace actmatch {

// The gradient of such a value would be both the caller's and the program's.
inline void require_seeds_unwanted(const Graph& graph, const GradientRequest& request) {
  for (ValueId id : request.wanted)
    if (std::count(request.seeds.begin(), request.seeds.end(), id) > 0)
      throw Error(ErrorCode::kInvalidArgument,
                  "value '" + graph.value(id).name + "' is a seed and a wanted gradient at once; put an identity behind it and seed that");
}

// Walks the steps backward and returns those that run, in that order; tells each gradient whether it is the first one written to its slot.
// A step without writes is a seed. Gradients that nobody writes are dropped.
template <class Slot, class Step>
std::vector<Step*> plan_gradients(std::vector<std::unique_ptr<Slot>>& slots, std::vector<std::unique_ptr<Step>>& steps) {
  std::vector<Step*> order;
  std::set<const Slot*> written;
  for (size_t k = steps.size(); k-- > 0;) {
    Step& step = *steps[k];
    if (step.grads.empty()) continue;
    bool active = step.writes.empty();
    for (const Slot* slot : step.writes) active = active || written.count(slot) != 0;
    if (!active) {
      step.grads.clear();
      continue;
    }
    for (auto* target : step.grads) target->accumulate = !written.insert(target->slot).second;
    order.push_back(&step);
  }
  for (auto& slot : slots)
    if (slot->has_grad && !slot->persistent_grad && written.count(slot.get()) == 0) slot->has_grad = false;
  return order;
}

// Gives every slot and scratch its address: constants and persistent ones memory of their own by `allocate(bytes)`, the others a place in
// one arena that they share by lifetime. Constants are placed by the caller, who sets their `data`.
template <class Slot, class Step>
void plan_program_memory(std::vector<std::unique_ptr<Slot>>& slots, std::vector<std::unique_ptr<Step>>& steps,
                         const std::vector<Step*>& backward_steps, size_t alignment, const std::function<std::byte*(size_t)>& allocate,
                         MemoryReport& report) {
  using Data = decltype(Slot::data);
  using Grad = decltype(Slot::grad);
  struct Range {
    int first = -1, last = -1;
    void touch(int t) {
      first = first < 0 ? t : std::min(first, t);
      last = std::max(last, t);
    }
  };
  const int forward_count = static_cast<int>(steps.size());
  std::unordered_map<const Slot*, Range> data_life, grad_life;
  for (int k = 0; k < forward_count; ++k)
    for (const auto* list : {&steps[static_cast<size_t>(k)]->reads, &steps[static_cast<size_t>(k)]->writes})
      for (const Slot* slot : *list) data_life[slot].touch(k);
  std::unordered_map<const Step*, int> when_backward;
  for (size_t k = 0; k < backward_steps.size(); ++k) {
    const int t = forward_count + static_cast<int>(k);
    Step& step = *backward_steps[k];
    when_backward[&step] = t;
    for (const Slot* slot : step.backward_reads) data_life[slot].touch(t);
    for (const Slot* slot : step.writes) grad_life[slot].touch(t);
    for (const auto* target : step.grads) grad_life[target->slot].touch(t);
  }

  // A gradient that continues another one lies in that one's memory. Slots stand in the order in which they are written forward, so in a
  // chain each comes before the one that it continues.
  const auto continues = [](const Slot& slot) -> const Slot* {
    if constexpr (requires { slot.continues; }) return slot.continues;
    return nullptr;
  };
  for (const auto& slot : slots)
    if (const Slot* other = continues(*slot)) grad_life[other].touch(grad_life[slot.get()].last);

  std::vector<LifetimeRequest> requests;
  std::vector<std::function<void(std::byte*)>> place;
  const auto request = [&](size_t bytes, Range life, std::function<void(std::byte*)> put) {
    requests.push_back({bytes, life.first, life.last});
    place.push_back(std::move(put));
  };
  for (int k = 0; k < forward_count; ++k) {
    Step& step = *steps[static_cast<size_t>(k)];
    const auto back = when_backward.find(&step);
    for (auto& owned : step.scratch) {
      auto* scratch = owned.get();
      using When = decltype(scratch->when);
      Range life;
      if (scratch->when != When::kBackward) life.touch(k);
      if (scratch->when != When::kForward && back != when_backward.end()) life.touch(back->second);
      // Of several for one slot the last one backward comes first here, and leaves the others the time before it.
      if constexpr (requires { scratch->becomes_gradient_of; }) {
        if (scratch->becomes_gradient_of && back != when_backward.end()) {
          Range& gradient = grad_life[scratch->becomes_gradient_of];
          life.touch(gradient.last);
          gradient.last = back->second;
        }
      }
      if (life.first >= 0) request(scratch->bytes, life, [scratch](std::byte* at) { scratch->data = at; });
    }
  }
  for (auto& owned : slots) {
    Slot* slot = owned.get();
    if (slot->constant) {
      report.weight_bytes += slot->bytes;
    } else if (slot->persistent) {
      slot->data = reinterpret_cast<Data>(allocate(slot->bytes));
      report.exposed_bytes += slot->bytes;
    } else if (data_life.count(slot)) {
      request(slot->bytes, data_life[slot], [slot](std::byte* at) { slot->data = reinterpret_cast<Data>(at); });
    }
    if (slot->has_grad && slot->persistent_grad) {
      slot->grad = reinterpret_cast<Grad>(allocate(slot->gradient_bytes()));
      report.exposed_bytes += slot->gradient_bytes();
    } else if (slot->has_grad && !continues(*slot) && grad_life.count(slot)) {
      request(slot->gradient_bytes(), grad_life[slot], [slot](std::byte* at) { slot->grad = reinterpret_cast<Grad>(at); });
    }
  }
  const MemoryPlan plan = plan_memory(requests, alignment);
  std::byte* arena = allocate(plan.total_bytes);
  report.arena_bytes += plan.total_bytes;
  for (size_t i = 0; i < requests.size(); ++i) place[i](arena + plan.offsets[i]);
}

}  // namespace actmatch
