// Runs CUDA kernels on the CPU, thread by thread, to test them where there is no GPU. The kernels' files are compiled by the C++ compiler
// against cuda_runtime.h beside this file, unmodified.
//
// The threads of a block are fibers on one OS thread; the blocks of a grid run one after another. A thread runs until it waits: at a
// barrier, or in a warp operation for its other lanes. Which thread comes next is said by `order`. A kernel whose result depends on the
// order has a race, so a test runs a kernel in all three orders and compares each result with the reference.
//
// An Error is thrown, out of the launch, for
//   - a barrier that some threads reach at another line than others, or not at all
//   - a warp operation that names a lane which has ended, does not exist, or never comes; or leaves out the lane that calls
//   - a shuffle that reads from a lane outside the operation
// Shared memory is filled with 0xff at the start of every block and device memory when it is allocated: as a float that is NaN, which
// reaches the result. With the address sanitizer, accesses beyond a buffer or a shared array end the program.
//
// It does not see races that none of the orders shows, nor faults of memory ordering, nor time.
//
// What a kernel's file must keep to: launches by cudaLaunchKernelEx; shared arrays of fixed size, declared in functions that are neither
// templates nor inline with external linkage (the compiler would not put them into the section that is filled); blocks of whole warps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>

namespace simt {

enum class Order { kForward, kReverse, kRandom };
inline Order order = Order::kForward;

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Index {
  unsigned x = 0, y = 0, z = 0;
};

// Of the thread that runs.
struct Running {
  Index thread, block, block_size, grid_size;
};
extern Running running;

// Runs body() once for every thread. Sizes are those of a valid launch.
void run_grid(Index grid, Index block, const std::function<void()>& body);

struct Place {
  const char* file;
  int line;
};
void barrier(Place place);

enum class WarpOp : uint8_t { kSync, kShuffle, kBallot };
// All lanes of `mask` meet here. kShuffle: the `value` of lane `source`; kBallot: a bit for each lane whose value is not 0.
uint64_t warp_operation(WarpOp op, uint32_t mask, uint64_t value, int source, Place place);
int lane();
[[noreturn]] void fail(const char* what, Place place);  // the Error is thrown out of the launch

}  // namespace simt
