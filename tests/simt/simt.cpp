#include "simt.h"

#include <sys/mman.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define SIMT_ASAN 1
#else
#define SIMT_ASAN 0
#endif

#if !defined(__x86_64__)
#error "the switch between fibers is written for x86-64"
#endif

// Bounds of the section of all shared arrays, made by the linker; absent when no kernel has one.
extern "C" {
extern unsigned char __start_simt_shared[] __attribute__((weak));
extern unsigned char __stop_simt_shared[] __attribute__((weak));
// Saves the callee's registers on the present stack and that stack's pointer in *from; continues on the stack `to`, saved the same way.
void simt_switch(void** from, void* to);
}
__asm__(R"(
.text
.type simt_switch, @function
simt_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size simt_switch, . - simt_switch
)");

namespace simt {

Running running;

namespace {

constexpr size_t kPage = 4096, kStack = SIMT_ASAN ? 256 << 10 : 64 << 10;

struct Fiber {
  void* saved = nullptr;  // stack pointer while it does not run
  char* stack = nullptr;
  size_t size = 0;
  void* fake_stack = nullptr;  // the address sanitizer's
};

enum class State : uint8_t { kReady, kAtBarrier, kInWarp, kDone };

struct Thread {
  Index index;
  State state = State::kReady;
  Fiber* fiber = nullptr;  // null until it first runs
  Place place{"", 0};      // where it waits
};

struct Meeting {  // of the lanes of one warp
  WarpOp op;
  uint32_t mask, arrived;
  Place place;
};

struct Warp {
  uint32_t ended = 0;
  uint64_t value[32] = {}, result[32] = {};
  int source[32] = {};
  std::vector<Meeting> meetings;
};

bool same(Place a, Place b) { return a.line == b.line && std::string(a.file) == b.file; }
std::string describe(Place p) { return std::string(p.file) + ":" + std::to_string(p.line); }

// The block that runs. There is one, because the emulator belongs to one OS thread.
class Block {
 public:
  void run(const std::function<void()>& body, size_t count);
  void barrier(Place place);
  uint64_t warp_operation(WarpOp op, uint32_t mask, uint64_t value, int source, Place place);
  [[noreturn]] void fail(const char* what, Place place, Place second = {nullptr, 0});
  size_t current() const { return current_; }
  std::mt19937& random() { return random_; }

 private:
  static void fiber_entry();
  void fiber_loop();
  void switch_to(Fiber& from, Fiber& to);
  Fiber* free_fiber();
  void wait(State state, Place place);
  void release_barrier();
  void finish(Warp& warp, size_t meeting);
  void abandon();
  void enter(size_t thread) {
    current_ = thread;
    running.thread = threads_[thread].index;
  }

  const std::function<void()>* body_ = nullptr;
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  std::vector<size_t> start_order_;
  size_t next_ = 0, live_ = 0, arrived_ = 0, current_ = 0;
  Fiber scheduler_;
  Fiber* starting_ = nullptr;
  std::vector<Fiber*> free_;
  std::vector<std::unique_ptr<Fiber>> all_;
  const char* error_ = nullptr;  // what a kernel did wrong, where, and where it disagrees with
  Place error_place_{}, error_second_{};
  std::mt19937 random_{12345};
};

Block block;

void order_of(std::vector<size_t>* v, size_t n) {
  v->resize(n);
  std::iota(v->begin(), v->end(), size_t{0});
  if (order == Order::kReverse) std::reverse(v->begin(), v->end());
  if (order == Order::kRandom) std::shuffle(v->begin(), v->end(), block.random());
}

void Block::switch_to(Fiber& from, Fiber& to) {
#if SIMT_ASAN
  __sanitizer_start_switch_fiber(&from.fake_stack, to.stack, to.size);
#endif
  simt_switch(&from.saved, to.saved);
#if SIMT_ASAN
  __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
#endif
}

Fiber* Block::free_fiber() {
  if (!free_.empty()) {
    Fiber* fiber = free_.back();
    free_.pop_back();
    return fiber;
  }
  auto fiber = std::make_unique<Fiber>();
  fiber->size = kStack;
  // The lowest page stays closed: a stack that grows too far stops there.
  void* memory = mmap(nullptr, kStack + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, kPage, PROT_NONE) != 0) throw std::bad_alloc();
  fiber->stack = static_cast<char*>(memory) + kPage;
  // What simt_switch pops: six registers, then the address it returns to. The word above stands for that function's own return address,
  // which also gives it the alignment it expects.
  void** top = reinterpret_cast<void**>(fiber->stack + kStack);
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(&Block::fiber_entry);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  fiber->saved = top;
  all_.push_back(std::move(fiber));
  return all_.back().get();
}

void Block::fiber_entry() {
#if SIMT_ASAN
  const void* bottom = nullptr;
  size_t size = 0;
  __sanitizer_finish_switch_fiber(nullptr, &bottom, &size);  // where the scheduler lives
  block.scheduler_.stack = static_cast<char*>(const_cast<void*>(bottom));
  block.scheduler_.size = size;
#endif
  block.fiber_loop();
}

// Runs threads that have not started yet, one after another, on this stack: kernels that never wait cost no switch. A thread that waits
// keeps the stack; the scheduler then takes another fiber for the threads after it.
void Block::fiber_loop() {
  Fiber* const self = starting_;
  for (;;) {
    while (next_ < threads_.size() && error_ == nullptr) {
      const size_t t = start_order_[next_++];
      threads_[t].fiber = self;
      enter(t);
      (*body_)();
      threads_[t].state = State::kDone;
      --live_;
      Warp& warp = warps_[t / 32];
      warp.ended |= 1u << (t % 32);
      for (const Meeting& m : warp.meetings) {
        if (m.mask & (1u << (t % 32)) & ~m.arrived) fail("a warp operation waits for a lane that has ended", m.place);
      }
      release_barrier();
    }
    free_.push_back(self);
    switch_to(*self, scheduler_);
  }
}

void Block::wait(State state, Place place) {
  const size_t t = current_;
  threads_[t].state = state;
  threads_[t].place = place;
  switch_to(*threads_[t].fiber, scheduler_);
}

// Inside a kernel an exception cannot cross to the scheduler's stack; so the finding goes there, and this stack is given up with all that
// is on it: nothing that owns memory.
void Block::fail(const char* what, Place place, Place second) {
  error_ = what;
  error_place_ = place;
  error_second_ = second;
  Fiber lost;
  switch_to(lost, scheduler_);
  __builtin_unreachable();
}

// All stacks may hold threads that will never go on.
void Block::abandon() {
  for (const auto& fiber : all_) {
#if SIMT_ASAN
    __asan_unpoison_memory_region(fiber->stack, fiber->size);
#endif
    munmap(fiber->stack - kPage, fiber->size + kPage);
  }
  all_.clear();
  free_.clear();
}

void Block::run(const std::function<void()>& body, size_t count) {
  body_ = &body;
  next_ = arrived_ = 0;
  live_ = count;
  error_ = nullptr;
  threads_.assign(count, Thread{});
  warps_.assign((count + 31) / 32, Warp{});
  const Index size = running.block_size;
  for (unsigned i = 0; i < count; ++i) threads_[i].index = {i % size.x, i / size.x % size.y, i / (size.x * size.y)};
  if (count % 32 != 0) warps_.back().ended = ~0u << (count % 32);  // lanes that do not exist never come either
  order_of(&start_order_, count);
  std::vector<size_t> turn = start_order_;
  uint32_t resting = 0;  // warps, a bit each
  bool ran = true;
  while (live_ > 0) {
    bool moved = next_ < count;
    if (moved) {
      starting_ = free_fiber();
      switch_to(scheduler_, *starting_);
    } else {
      // In random order half of the warps rest for a while: the others get far ahead, as they may on a GPU.
      if (order == Order::kRandom && (!ran || random_() % 16 == 0)) resting = static_cast<uint32_t>(random_());
      ran = false;
      for (size_t t : turn) {
        if (threads_[t].state != State::kReady || error_ != nullptr) continue;
        moved = true;
        if (resting >> (t / 32) & 1) continue;
        ran = true;
        enter(t);
        switch_to(scheduler_, *threads_[t].fiber);
      }
      if (order == Order::kRandom) std::shuffle(turn.begin(), turn.end(), random_);
    }
    if (!moved && error_ == nullptr) {
      const auto stuck = std::find_if(threads_.begin(), threads_.end(), [](const Thread& t) { return t.state != State::kDone; });
      error_ = stuck->state == State::kAtBarrier ? "deadlock: a thread waits at a barrier for others that never come"
                                                 : "deadlock: a thread waits in a warp operation for lanes that never come";
      error_place_ = stuck->place;
      error_second_ = {nullptr, 0};
    }
    if (error_ != nullptr) {
      abandon();
      const Index at = running.block;
      throw Error(std::string(error_) + ", " + describe(error_place_) + (error_second_.file ? " and " + describe(error_second_) : "") +
                  ", in block (" + std::to_string(at.x) + ", " + std::to_string(at.y) + ", " + std::to_string(at.z) + ")");
    }
  }
}

void Block::release_barrier() {
  if (live_ == 0 || arrived_ < live_) return;
  arrived_ = 0;
  for (Thread& t : threads_)
    if (t.state == State::kAtBarrier) t.state = State::kReady;
}

void Block::barrier(Place place) {
  if (arrived_ > 0) {
    const auto other = std::find_if(threads_.begin(), threads_.end(), [](const Thread& t) { return t.state == State::kAtBarrier; });
    if (!same(other->place, place)) fail("threads of a block wait at different barriers", other->place, place);
  }
  ++arrived_;
  threads_[current_].state = State::kAtBarrier;
  threads_[current_].place = place;
  release_barrier();
  wait(threads_[current_].state, place);  // the last one to come takes its turn like the others
}

void Block::finish(Warp& warp, size_t index) {
  const Meeting m = warp.meetings[index];
  warp.meetings.erase(warp.meetings.begin() + static_cast<std::ptrdiff_t>(index));
  uint64_t ballot = 0;
  for (unsigned l = 0; l < 32; ++l)
    if ((m.mask >> l & 1) && warp.value[l] != 0) ballot |= uint64_t{1} << l;
  const auto first = static_cast<size_t>(&warp - warps_.data()) * 32;
  for (unsigned l = 0; l < 32; ++l) {
    if (!(m.mask >> l & 1)) continue;
    warp.result[l] = ballot;
    if (m.op == WarpOp::kShuffle) {
      if (!(m.mask >> warp.source[l] & 1)) fail("a shuffle reads from a lane outside it", m.place);
      warp.result[l] = warp.value[warp.source[l]];
    }
    threads_[first + l].state = State::kReady;
  }
}

uint64_t Block::warp_operation(WarpOp op, uint32_t mask, uint64_t value, int source, Place place) {
  const size_t t = current_;
  const unsigned lane = t % 32;
  Warp& warp = warps_[t / 32];
  if (!(mask >> lane & 1)) fail("the mask of a warp operation leaves out the lane that calls", place);
  if (mask & warp.ended) fail("a warp operation names a lane that has ended or does not exist", place);
  warp.value[lane] = value;
  warp.source[lane] = source;
  size_t i = 0;
  while (i < warp.meetings.size()) {
    const Meeting& m = warp.meetings[i];
    if (m.op == op && m.mask == mask && same(m.place, place)) break;
    ++i;
  }
  if (i == warp.meetings.size()) warp.meetings.push_back({op, mask, 0, place});
  warp.meetings[i].arrived |= 1u << lane;
  threads_[t].state = State::kInWarp;
  if (warp.meetings[i].arrived == mask) finish(warp, i);
  wait(threads_[t].state, place);
  return warp.result[lane];
}

// The shared arrays, red zones and all, as the sanitizer would not let us.
__attribute__((no_sanitize("address"))) void fill_shared() {
  for (volatile unsigned char* p = __start_simt_shared; p != __stop_simt_shared; p = p + 1) *p = 0xff;
}

}  // namespace

void run_grid(Index grid, Index block_size, const std::function<void()>& body) {
  running.grid_size = grid;
  running.block_size = block_size;
  std::vector<size_t> blocks;
  order_of(&blocks, size_t{grid.x} * grid.y * grid.z);
  for (size_t i : blocks) {
    running.block = {static_cast<unsigned>(i % grid.x), static_cast<unsigned>(i / grid.x % grid.y),
                     static_cast<unsigned>(i / grid.x / grid.y)};
    if (__start_simt_shared != nullptr) fill_shared();
    block.run(body, size_t{block_size.x} * block_size.y * block_size.z);
  }
}

void barrier(Place place) { block.barrier(place); }
uint64_t warp_operation(WarpOp op, uint32_t mask, uint64_t value, int source, Place place) {
  return block.warp_operation(op, mask, value, source, place);
}
void fail(const char* what, Place place) { block.fail(what, place); }
int lane() { return static_cast<int>(block.current() % 32); }

}  // namespace simt
