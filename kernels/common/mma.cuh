// The tensor cores' product of bfloat16 matrices, and the load that brings its operands from shared memory: sm_80 and later. What lies in
// which lane is written beside the emulator's version, tests/simt/mma.h, which takes their place in the tests.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#if defined(ACTMATCH_SIMT)
#include "mma.h"
#endif

namespace actmatch::kernels::cuda {

#if defined(ACTMATCH_SIMT)

template <bool kTransposed>
inline void load_matrices(uint32_t (&registers)[4], const void* row) {
  simt::load_matrices(registers, row, kTransposed, SIMT_HERE);
}
inline void multiply_matrices(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  simt::multiply_matrices(d, a, b, SIMT_HERE);
}

#else

template <bool kTransposed>
__device__ __forceinline__ void load_matrices(uint32_t (&r)[4], const void* row) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  if constexpr (kTransposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
  }
}
__device__ __forceinline__ void multiply_matrices(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#endif

}  // namespace actmatch::kernels::cuda
