#include "kernels/bench/case.h"

#include <algorithm>
#include <random>

namespace actmatch::kernels::bench {

namespace {

// Values repeat after so many: the kernels' time does not depend on it, making them would take longer than timing.
constexpr int64_t kPeriod = 1 << 18;

}  // namespace

Memory::~Memory() {
  for (void* block : blocks_) cudaFree(block);
}

void* Memory::take(size_t bytes, bool counts) {
  if (bytes == 0) return nullptr;
  void* block = nullptr;
  check(cudaMalloc(&block, bytes), "cudaMalloc");
  blocks_.push_back(block);
  check(cudaMemset(block, 0, bytes), "cudaMemset");
  bytes_ += bytes;
  if (counts) traffic_ += bytes;
  return block;
}

void Memory::upload(void* device, const void* host, size_t bytes) {
  if (bytes != 0) check(cudaMemcpy(device, host, bytes, cudaMemcpyHostToDevice), "cudaMemcpy");
}

template <class T, class Next>
T* Memory::repeated(int64_t count, Next next) {
  T* memory = output<T>(count);
  const int64_t period = std::min(count, kPeriod);
  std::vector<T> some(static_cast<size_t>(period));
  for (T& v : some) v = next();
  upload(memory, some.data(), some.size() * sizeof(T));
  for (int64_t done = period, more = 0; done < count; done += more) {
    more = std::min(done, count - done);
    check(cudaMemcpy(memory + done, memory, static_cast<size_t>(more) * sizeof(T), cudaMemcpyDeviceToDevice), "cudaMemcpy");
  }
  return memory;
}

template <class T>
T* Memory::input(int64_t count, double low, double high) {
  std::mt19937_64 random(static_cast<uint64_t>(blocks_.size()));
  return repeated<T>(count,
                     [&] { return from_float<T>(static_cast<float>(low + (high - low) * static_cast<double>(random() >> 11) * 0x1p-53)); });
}
template float* Memory::input(int64_t, double, double);
template bfloat16* Memory::input(int64_t, double, double);

template <class T>
T* Memory::indices(int64_t count, int64_t low, int64_t high) {
  std::mt19937_64 random(static_cast<uint64_t>(blocks_.size()));
  return repeated<T>(count, [&] { return static_cast<T>(low + static_cast<int64_t>(random() % static_cast<uint64_t>(high - low))); });
}
template int32_t* Memory::indices(int64_t, int64_t, int64_t);
template int64_t* Memory::indices(int64_t, int64_t, int64_t);
template uint8_t* Memory::indices(int64_t, int64_t, int64_t);

std::vector<Case> all_cases(const Sizes& sizes) {
  Cases cases(sizes);
  for (auto* add : {add_mask_cases, add_tap_cases, add_loss_cases, add_step_cases, add_method_cases, add_select_cases, add_conv_cases,
                    add_depthwise_cases, add_elementwise_cases, add_broadcast_cases, add_movement_cases, add_reduce_cases, add_window_cases,
                    add_matrix_cases})
    add(cases);
  return std::move(cases.list);
}

}  // namespace actmatch::kernels::bench
