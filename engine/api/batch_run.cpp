// Many pictures, several at once.
#include <algorithm>
#include <deque>
#include <thread>

#include "engine/api/explain_session.h"
#include "engine/api/pipeline.h"
#include "engine/api/watch.h"
#include "engine/backend/trace_range.h"
#include "engine/core/lost_device.h"

namespace actmatch::api {

namespace {

struct Waiting {
  size_t index = 0;
  PreparedPicture picture;
};
size_t decoders() { return std::clamp<size_t>(std::thread::hardware_concurrency() / 2, 1, 4); }

}  // namespace

// On the thread of the deliveries.
bool ExplainSession::deliver(Finished done, const ResultSink& sink) const {
  const TraceRange range(model_->backend(), "draw and hand on");
  if (done.picture.error) return sink(done.index, nullptr, done.picture.error);
  if (done.outcome.error) return sink(done.index, nullptr, done.outcome.error);
  std::unique_ptr<Result> result;
  try {
    result = std::make_unique<Result>(finish(std::move(done.picture), std::move(done.outcome), done.batch));
  } catch (...) {
    return sink(done.index, nullptr, std::current_exception());
  }
  return sink(done.index, std::move(result), nullptr);
}

// Each picture may have another label, and so another classifier.
void ExplainSession::run_one_by_one(std::span<const Picture> pictures, const ExplainProgressCallback& progress, const ResultSink& sink) {
  Delivery<Finished> delivery(2, [&](Finished done) { return deliver(std::move(done), sink); });
  for (size_t i = 0; i < pictures.size(); ++i) {
    const ExplainProgressCallback report = [&](ExplainProgress p) {
      p.picture = static_cast<int64_t>(i);
      return !delivery.refused() && (!progress || progress(p));
    };
    Finished done{i, prepare(pictures[i]), {}, 1};
    try {
      if (!done.picture.error) done.outcome = explain(done.picture, settings_.seed, report);
    } catch (const Error& e) {
      if (ends_the_run(e)) throw;
      done.picture.error = std::current_exception();
    }
    if (!delivery.push(std::move(done))) throw Error(ErrorCode::kCancelled, "stopped");
  }
  delivery.finish();
  if (delivery.refused()) throw Error(ErrorCode::kCancelled, "stopped");
}

void ExplainSession::run_batch(std::span<const Picture> pictures, int64_t batch, const ExplainProgressCallback& progress,
                               const ResultSink& sink) {
  if (batch < 0 || batch > 4096)
    throw Error(ErrorCode::kInvalidArgument, "the number of pictures at once must be from 1 to 4096; 0 takes what suits the device");
  if (pictures.empty()) return;
  if (by_label() && label_ < 0) return run_one_by_one(pictures, progress, sink);
  BatchSize size(*explainer_, *classifier_, batch, static_cast<int64_t>(pictures.size()));
  // Twice a batch each way: one in hand and one in the making.
  const auto ahead = static_cast<size_t>(2 * size.get());
  Delivery<Finished> delivery(ahead, [&](Finished done) { return deliver(std::move(done), sink); });
  Prefetch<PreparedPicture> prefetch(pictures.size(), ahead, decoders(), [&](size_t i) { return prepare(pictures[i]); });

  std::vector<size_t> numbers;  // of the pictures in the batch that runs
  const ExplainProgressCallback listener = [&](const ExplainProgress& p) { return !delivery.refused() && (!progress || progress(p)); };
  Watch watch(*classifier_, listener);
  const ExplainProgressCallback report =
      watch.callback([&](int64_t place) { return static_cast<int64_t>(numbers[static_cast<size_t>(place)]); });
  const auto hand_on = [&](Finished done) {
    if (!delivery.push(std::move(done))) throw Error(ErrorCode::kCancelled, "stopped");
  };
  std::deque<Waiting> waiting;
  for (size_t next = 0; next < pictures.size() || !waiting.empty();) {
    // So many that a batch is full; those that cannot be read keep their place between the others.
    const auto good = [](const Waiting& w) { return !w.picture.error; };
    while (next < pictures.size() && std::count_if(waiting.begin(), waiting.end(), good) < size.get()) {
      PreparedPicture picture = prefetch.take([&] { watch.poll(); });
      const size_t index = next++;
      if (!picture.error || !waiting.empty())
        waiting.push_back({index, std::move(picture)});
      else
        hand_on({index, std::move(picture), {}, 1});
    }
    std::vector<ExplainInput> inputs;
    numbers.clear();
    size_t taken = 0;
    for (; taken < waiting.size() && static_cast<int64_t>(inputs.size()) < size.get(); ++taken) {
      if (!good(waiting[taken])) continue;
      inputs.push_back(std::move(waiting[taken].picture.input));
      numbers.push_back(waiting[taken].index);
    }
    std::vector<Explainer::Outcome> outcomes;
    bool again = false;
    try {
      outcomes = explainer_->explain_batch(inputs, settings_, report);
    } catch (const Error& e) {
      if (!made_smaller(size, e)) throw;
      again = true;
    }
    for (size_t i = 0, place = 0; i < taken; ++i)
      if (good(waiting[i])) waiting[i].picture.input = std::move(inputs[place++]);
    if (again) continue;
    const auto count = static_cast<int64_t>(outcomes.size());
    for (size_t i = 0, place = 0; i < taken; ++i) {
      Waiting& w = waiting[i];
      Explainer::Outcome outcome;
      if (good(w)) outcome = std::move(outcomes[place++]);
      if (by_label()) outcome.label = label_;
      hand_on({w.index, std::move(w.picture), std::move(outcome), count});
    }
    waiting.erase(waiting.begin(), waiting.begin() + static_cast<std::ptrdiff_t>(taken));
  }
  delivery.finish();
  if (delivery.refused()) throw Error(ErrorCode::kCancelled, "stopped");
}

}  // namespace actmatch::api
