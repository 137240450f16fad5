#include "engine/explain/masked_pictures.h"

#include <algorithm>

#include "engine/backend/kernels.h"
#include "engine/core/error.h"

namespace actmatch {

using kernels::SelectJob;

namespace {

int64_t count_jobs(std::span<MaskedQuestion* const> questions) {
  int64_t count = 0;
  for (const MaskedQuestion* q : questions) count += static_cast<int64_t>(q->jobs.size());
  return count;
}

// Calls body(question, its first job, jobs, place of the first one in the batch) for what lies in the batch of `count` jobs from `first`
// on.
template <class Body>
void each_part(std::span<MaskedQuestion* const> questions, int64_t first, int64_t count, const Body& body) {
  int64_t start = 0;
  for (MaskedQuestion* q : questions) {
    const auto jobs = static_cast<int64_t>(q->jobs.size());
    const int64_t from = std::max(first, start), to = std::min(first + count, start + jobs);
    if (from < to) body(*q, from - start, to - from, from - first);
    start += jobs;
  }
}

void compose(Classifier& classifier, std::span<MaskedQuestion* const> questions, float* input, int64_t first, int64_t count) {
  const ClassifierShape& shape = classifier.shape();
  each_part(questions, first, count, [&](const MaskedQuestion& q, int64_t job, int64_t n, int64_t place) {
    classifier.backend().kernels().select_compose(input + place * classifier.image_floats(), q.picture->sources(), q.picture->jobs() + job,
                                                  q.complement, n, shape.channels, shape.height, shape.width);
  });
}

void find_logits(Classifier& classifier, std::span<MaskedQuestion* const> questions) {
  const int64_t count = count_jobs(questions), classes = classifier.shape().classes;
  std::vector<float> logits(static_cast<size_t>(count * classes));
  classifier.logits_of(logits.data(), count,
                       [&](float* input, int64_t first, int64_t n) { compose(classifier, questions, input, first, n); });
  auto next = logits.begin();
  for (MaskedQuestion* q : questions) {
    const auto end = next + static_cast<std::ptrdiff_t>(q->jobs.size()) * classes;
    q->answer.assign(next, end);
    next = end;
  }
}

void find_gains(Classifier& classifier, std::span<MaskedQuestion* const> questions) {
  const ClassifierShape& shape = classifier.shape();
  classifier.back_to_images(
      count_jobs(questions), [&](float* input, int64_t first, int64_t n) { compose(classifier, questions, input, first, n); },
      [&](std::span<float> row, int64_t job) {
        each_part(questions, job, 1, [&](const MaskedQuestion& q, int64_t, int64_t, int64_t) { q.gradient_of(row); });
      },
      [&](const float* gradient, int64_t first, int64_t n) {
        each_part(questions, first, n, [&](const MaskedQuestion& q, int64_t job, int64_t rows, int64_t place) {
          classifier.backend().kernels().select_gain(q.picture->gain(), gradient + place * classifier.image_floats(), q.picture->sources(),
                                                     q.picture->jobs() + job, q.sign, q.inside, rows, shape.channels, shape.height,
                                                     shape.width, job > 0);
        });
      },
      true);
  for (MaskedQuestion* q : questions) q->answer = q->picture->download_gain();
}

}  // namespace

MaskedPicture::MaskedPicture(Backend& backend, const Problem& problem, std::shared_ptr<BackgroundSets> sets)
    : backend_(backend),
      pixels_(static_cast<int64_t>(problem.x.size() / std::max<size_t>(1, problem.colour.size()))),
      sets_(std::move(sets)),
      x_(backend, problem.x),
      colour_(backend, problem.colour) {
  const int64_t K = problem.criterion.backgrounds;
  if (!sets_) sets_ = std::make_shared<BackgroundSets>(backend, problem.backgrounds, problem.image_index, K);
  ACTMATCH_CHECK(sets_->serves(problem.backgrounds, problem.image_index, K), "these are another problem's backgrounds");
}

void MaskedPicture::take_masks(std::span<const HardMask> masks) {
  std::vector<uint8_t> bytes;
  bytes.reserve(masks.size() * static_cast<size_t>(pixels_));
  for (const HardMask& mask : masks) bytes.insert(bytes.end(), mask.begin(), mask.end());
  const auto count = static_cast<int64_t>(bytes.size());
  if (count > masks_.count()) masks_ = DeviceArray<uint8_t>(backend_, count);
  masks_.upload(bytes);
}

void MaskedPicture::take_jobs(std::span<const SelectJob> jobs) {
  const auto count = static_cast<int64_t>(jobs.size());
  if (count > jobs_.count()) jobs_ = DeviceArray<SelectJob>(backend_, count);
  jobs_.upload(jobs);
  sources_ = {};
  sources_.x = x_.data(), sources_.colour = colour_.data(), sources_.masks = masks_.data();
  for (const SelectJob& job : jobs)
    if (job.set >= 0) sources_.sets[job.set] = sets_->get(static_cast<BackgroundSets::Set>(job.set));
}

float* MaskedPicture::gain() {
  if (gain_.count() == 0) gain_ = DeviceBuffer(backend_, pixels_);
  return gain_.data();
}

void answer_together(Classifier& classifier, std::span<MaskedQuestion* const> questions) {
  std::vector<MaskedQuestion*> forward, backward;
  for (MaskedQuestion* q : questions) {
    q->answer.clear();
    if (q->jobs.empty()) continue;
    if (!q->masks.empty()) q->picture->take_masks(q->masks);
    q->picture->take_jobs(q->jobs);
    (q->gradient_of ? backward : forward).push_back(q);
  }
  if (!forward.empty()) find_logits(classifier, forward);
  if (!backward.empty()) find_gains(classifier, backward);
}

void AnswersAtOnce::answer(MaskedQuestion& question) {
  MaskedQuestion* const one[] = {&question};
  answer_together(classifier_, one);
}

}  // namespace actmatch
