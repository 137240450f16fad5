// Loops shared by the operators: parallel ranges, elementwise helpers compiled for several instruction sets, channel layouts.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <optional>

#include "engine/backend/cpu/lowering.h"
#include "kernels/vectorise.h"

namespace actmatch::cpu {

// While it lives, OpenMP takes so many threads in this thread; 0 leaves it alone. oneDNN settles the number when a primitive is made.
class ThreadLimit {
 public:
  explicit ThreadLimit(int threads) : before_(omp_get_max_threads()) {
    if (threads > 0) omp_set_num_threads(threads);
  }
  ~ThreadLimit() { omp_set_num_threads(before_); }
  ThreadLimit(const ThreadLimit&) = delete;
  ThreadLimit& operator=(const ThreadLimit&) = delete;

 private:
  int before_;
};

// Calls body(begin, end) on ranges that cover [0, count). Ranges do not influence results: bodies never reduce across elements.
template <class Body>
void parallel_ranges(int64_t count, int64_t grain, const Body& body) {
  const int64_t parts = std::min<int64_t>(omp_get_max_threads(), (count + grain - 1) / std::max<int64_t>(grain, 1));
  if (parts <= 1) {
    if (count > 0) body(int64_t{0}, count);
    return;
  }
#pragma omp parallel for schedule(static) num_threads(static_cast <int>(parts))
  for (int64_t i = 0; i < parts; ++i) body(count * i / parts, count * (i + 1) / parts);
}
inline constexpr int64_t kGrain = 1 << 15;  // elements a thread should get at least

void add_to(float* y, const float* x, int64_t n);                // y += x
void copy(float* y, const float* x, int64_t n);                  // y = x
void add(float* y, const float* a, const float* b, int64_t n);   // y = a + b
void put(float* y, const float* x, int64_t n, bool accumulate);  // y = x or y += x
void put_scaled(float* y, const float* x, float scale, int64_t n, bool accumulate);
void put_product(float* y, const float* a, const float* b, int64_t n, bool accumulate);  // y (+)= a*b
void activation_forward(float* y, const Activation& a, int64_t n);                       // in place
// dy *= [low < y < high] (relu: y > 0), in place, from the activation's output
void activation_backward(float* dy, const float* y, const Activation& a, int64_t n);

// How channels and positions of an NC... tensor lie: address(n, c, p) = n*batch + (c / block)*outer + p*position + c % block.
// Covers row-major (block 1), channels-last (one block of all channels) and oneDNN's blocked formats.
struct ChannelLayout {
  int64_t N = 0, C = 0, P = 0, block = 1, batch = 0, outer = 0, position = 0;
};
std::optional<ChannelLayout> channel_layout(const Slot& slot);
bool is_plain(const MemoryDesc& desc, const Shape& shape);
bool same_layout(const Slot& a, const Slot& b);
bool unpadded(const Slot& slot);  // every float of the buffer is an element

}  // namespace actmatch::cpu
