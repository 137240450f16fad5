#include "engine/explain/together.h"

#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "engine/core/error.h"

namespace actmatch {
namespace {

struct Stopped {};  // unwinds a work that will get no answer

class Meeting {
 public:
  explicit Meeting(size_t count) : questions_(count), errors_(count) {}

  // A work's side. Throws Stopped.
  void ask(size_t seat, MaskedQuestion& question) {
    std::unique_lock lock(mutex_);
    if (stopped_) throw Stopped{};
    questions_[seat] = &question;
    step_back();
    answered_.wait(lock, [&] { return questions_[seat] == nullptr; });
    if (stopped_) throw Stopped{};
  }
  void leave(size_t seat, std::exception_ptr error) {
    const std::lock_guard lock(mutex_);
    errors_[seat] = std::move(error);
    step_back();
  }

  // The other side.
  void begin() {
    const std::lock_guard lock(mutex_);
    ++busy_;
  }
  // Waits until none is at work, and returns what they ask, by seat; nothing when all have left.
  std::vector<MaskedQuestion*> wait() {
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [&] { return busy_ == 0; });
    std::vector<MaskedQuestion*> asked;
    for (MaskedQuestion* q : questions_)
      if (q) asked.push_back(q);
    return asked;
  }
  void go_on(bool stop) {
    const std::lock_guard lock(mutex_);
    stopped_ |= stop;
    for (MaskedQuestion*& q : questions_)
      if (q) q = nullptr, ++busy_;
    answered_.notify_all();
  }
  std::exception_ptr first_error() {
    const std::lock_guard lock(mutex_);
    for (const std::exception_ptr& error : errors_)
      if (error) return error;
    return nullptr;
  }

 private:
  void step_back() {
    if (--busy_ == 0) idle_.notify_one();
  }

  std::mutex mutex_;
  std::condition_variable idle_, answered_;
  std::vector<MaskedQuestion*> questions_;  // by seat; null: none, or answered
  std::vector<std::exception_ptr> errors_;
  size_t busy_ = 0;  // works that neither wait nor have left
  bool stopped_ = false;
};

class Seat : public MaskedAnswers {
 public:
  Seat(Meeting& meeting, size_t number) : meeting_(meeting), number_(number) {}
  void answer(MaskedQuestion& question) override { meeting_.ask(number_, question); }

 private:
  Meeting& meeting_;
  size_t number_;
};

}  // namespace

void work_together(Classifier& classifier, size_t count, const std::function<void(size_t, MaskedAnswers&)>& work,
                   const std::function<void()>& before_answers) {
  Meeting meeting(count);
  std::exception_ptr failure;
  std::vector<std::jthread> threads;
  for (size_t i = 0; i < count && !failure; ++i) {
    meeting.begin();
    try {
      threads.emplace_back([&, i] {
        Seat seat(meeting, i);
        std::exception_ptr error;
        try {
          work(i, seat);
        } catch (const Stopped&) {
        } catch (...) {
          error = std::current_exception();
        }
        meeting.leave(i, std::move(error));
      });
    } catch (const std::system_error& e) {
      failure = std::make_exception_ptr(
          Error(ErrorCode::kOutOfMemory, std::string("no thread for another picture (") + e.what() + "); fewer at once need fewer"));
      meeting.leave(i, nullptr);
    }
  }
  for (;;) {
    const std::vector<MaskedQuestion*> questions = meeting.wait();
    if (questions.empty()) break;
    if (!failure) failure = meeting.first_error();
    if (!failure) {
      try {
        before_answers();
        answer_together(classifier, questions);
      } catch (...) {
        failure = std::current_exception();
      }
    }
    meeting.go_on(failure != nullptr);
  }
  threads.clear();  // joins
  if (!failure) failure = meeting.first_error();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace actmatch
