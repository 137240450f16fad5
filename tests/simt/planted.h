// Kernels with a known fault each, to see that the emulator finds it.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace simt::planted {

// sums[b] = sum over the block's 128 numbers. `barrier` false: the faulty one.
void block_sum(float* sums, const float* x, int blocks, bool barrier);
// y[t] = 0 + 1 + .. + 15 for 128 threads, each number passed through shared memory that the next one overwrites, too early without
// `barrier`.
void reuse(float* y, bool barrier);
// y[i] = x[i + shift], n a multiple of 64: with shift 1 the last thread reads behind the end.
void shifted_copy(float* y, const float* x, int n, int shift);
// Writes shared[threadIdx.x + shift] of an array of 64.
void shared_write(float* y, int shift);
void divergent_barrier();
void barrier_not_reached();
void missing_lane();
void ended_lane();
void caller_left_out();
// y[i] = a shared number that nobody has written.
void unwritten_shared(float* y);

// d (16 x 8) = a (16 x 16) * b (16 x 8, column after column, or row after row if b_rows), bfloat16's bits, as tensor cores do it. With
// shift 1 the rows of a lie where the load does not take them.
void matrix_product(float* d, const uint16_t* a, const uint16_t* b, bool b_rows, int shift);

}  // namespace simt::planted
