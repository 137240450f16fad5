// Reports progress between the batches of the checks, too: a stop request gets through within one of them.
#pragma once

#include "engine/core/error.h"
#include "engine/explain/explainer.h"

namespace actmatch::api {

class Watch {
 public:
  Watch(Classifier& classifier, const ExplainProgressCallback& progress) : classifier_(classifier), progress_(progress) {
    latest_.phase = "prepare";
    if (progress_) classifier_.before_each_batch([this] { poll(); });
  }
  ~Watch() { classifier_.before_each_batch({}); }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  // Of the explainer; `first` is added to its numbers of pictures by `number`.
  ExplainProgressCallback callback(std::function<int64_t(int64_t)> number = {}) {
    if (!progress_) return {};
    return [this, number = std::move(number)](const ExplainProgress& p) {
      latest_ = p;
      if (number) latest_.picture = number(p.picture);
      const bool go_on = progress_(latest_);
      latest_.optimise.losses = nullptr;  // they end with the optimisation
      return go_on;
    };
  }
  // Throws kCancelled where a stop is wanted.
  void poll() const {
    if (progress_ && !progress_(latest_)) throw Error(ErrorCode::kCancelled, "stopped");
  }

 private:
  Classifier& classifier_;
  const ExplainProgressCallback& progress_;
  ExplainProgress latest_;
};

}  // namespace actmatch::api
