// Work beside the device: what is needed next is made ahead of time, what is finished is handed on, while the calling thread does neither.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace actmatch::api {

// Makes items 0..count-1 on threads of its own, never more than `ahead` of them before they are taken, and gives them out in order.
template <class T>
class Prefetch {
 public:
  // `make(i)` runs on any of the threads; what it throws comes out of take().
  Prefetch(size_t count, size_t ahead, size_t threads, std::function<T(size_t)> make)
      : count_(count), ahead_(ahead), make_(std::move(make)), slots_(ahead) {
    for (size_t i = 0; i < std::min(threads, count); ++i) threads_.emplace_back([this] { work(); });
  }
  ~Prefetch() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  Prefetch(const Prefetch&) = delete;
  Prefetch& operator=(const Prefetch&) = delete;

  // The next item. While it is not there yet, `idle` is called a few times a second; what that throws ends the wait.
  T take(const std::function<void()>& idle) {
    std::unique_lock lock(mutex_);
    std::optional<Item>& slot = slots_[taken_ % ahead_];
    while (!slot) {
      if (changed_.wait_for(lock, std::chrono::milliseconds(50), [&] { return slot.has_value(); })) break;
      lock.unlock();
      idle();
      lock.lock();
    }
    Item item = std::move(*slot);
    slot.reset();
    ++taken_;
    lock.unlock();
    changed_.notify_all();
    if (item.error) std::rethrow_exception(item.error);
    return std::move(*item.value);
  }

 private:
  struct Item {
    std::optional<T> value;
    std::exception_ptr error;
  };
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] { return stop_ || begun_ == count_ || begun_ < taken_ + ahead_; });
      if (stop_ || begun_ == count_) return;
      const size_t index = begun_++;
      lock.unlock();
      Item item;
      try {
        item.value.emplace(make_(index));
      } catch (...) {
        item.error = std::current_exception();
      }
      lock.lock();
      slots_[index % ahead_] = std::move(item);
      changed_.notify_all();
    }
  }

  const size_t count_, ahead_;
  const std::function<T(size_t)> make_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::optional<Item>> slots_;
  size_t begun_ = 0, taken_ = 0;
  bool stop_ = false;
  std::vector<std::thread> threads_;  // last: they use the rest
};

// Hands items on, one after the other, on a thread of its own. At most `capacity` of them wait; whoever brings more waits too.
template <class T>
class Delivery {
 public:
  // `deliver` must not throw. Once it has returned false nothing more is delivered.
  Delivery(size_t capacity, std::function<bool(T)> deliver)
      : capacity_(capacity), deliver_(std::move(deliver)), thread_([this] { work(); }) {}
  ~Delivery() { finish(); }
  Delivery(const Delivery&) = delete;
  Delivery& operator=(const Delivery&) = delete;

  // False: the receiver wants no more.
  bool push(T item) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return refused_ || waiting_.size() < capacity_; });
    if (refused_) return false;
    waiting_.push_back(std::move(item));
    changed_.notify_all();
    return true;
  }
  bool refused() {
    const std::lock_guard lock(mutex_);
    return refused_;
  }
  // Waits until everything has been delivered.
  void finish() {
    {
      const std::lock_guard lock(mutex_);
      end_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] { return end_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      T item = std::move(waiting_.front());
      waiting_.pop_front();
      changed_.notify_all();
      lock.unlock();
      const bool more = deliver_(std::move(item));
      lock.lock();
      if (more) continue;
      refused_ = true;
      waiting_.clear();
      changed_.notify_all();
    }
  }

  const size_t capacity_;
  const std::function<bool(T)> deliver_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<T> waiting_;
  bool end_ = false, refused_ = false;
  std::thread thread_;  // last: it uses the rest
};

}  // namespace actmatch::api
