// Constants in other layouts and forms, made once for all programs of a backend.
#include "engine/backend/cpu/lowering.h"

namespace actmatch::cpu {

template <class Make>
std::shared_ptr<const Tensor> WeightCache::find_or_make(const Entry& wanted, const Make& make) {
  const std::lock_guard lock(mutex_);
  std::erase_if(entries_, [](const Entry& e) { return e.constant.expired() || e.reordered.expired(); });
  for (const Entry& e : entries_)
    if (e.constant.lock() == wanted.constant.lock() && e.form == wanted.form && e.source == wanted.source && e.desc == wanted.desc)
      if (auto found = e.reordered.lock()) return found;  // its last user may be going away in another thread
  auto made = std::make_shared<Tensor>(DType::kF32, Shape{static_cast<int64_t>(wanted.desc.get_size() / sizeof(float))});
  make(*made);
  entries_.push_back(wanted);
  entries_.back().reordered = made;
  return made;
}

std::shared_ptr<const Tensor> WeightCache::get(const std::shared_ptr<const Tensor>& constant, const MemoryDesc& source,
                                               const MemoryDesc& desc, const dnnl::engine& engine) {
  return find_or_make({constant, WeightForm::kLayout, source, desc, {}}, [&](Tensor& reordered) {
    dnnl::stream stream(engine);
    dnnl::memory from(source, engine, const_cast<void*>(constant->raw()));
    dnnl::memory to(desc, engine, reordered.raw());
    make_reorder(engine, source, desc, false).execute(stream, from, to);
    stream.wait();
  });
}

std::shared_ptr<const Tensor> WeightCache::get(const std::shared_ptr<const Tensor>& constant, WeightForm form, const MemoryDesc& desc,
                                               const std::function<void(float*, const float*)>& make) {
  return find_or_make({constant, form, desc, desc, {}}, [&](Tensor& made) { make(made.data<float>(), constant->data<float>()); });
}

}  // namespace actmatch::cpu
