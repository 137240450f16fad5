// Builders of steps that are templates over the type of activations.
#pragma once

#include <memory>
#include <utility>

#include "engine/backend/cuda/cuda_lowering.h"

namespace actmatch::cuda {

template <template <class> class S, class... Arguments>
void add_step_for(Lowering& l, Store store, Arguments&&... arguments) {
  with_real(store, [&](auto t) { l.add_step(std::make_unique<S<decltype(t)>>(l, std::forward<Arguments>(arguments)...)); });
}

}  // namespace actmatch::cuda
