// The inner part of the convolutions: a block of 128 threads computes a tile of 128 rows by kColumns of a matrix product. The operands come
// in steps of 64 bytes of depth (the direction that is summed over), through registers into one of two buffers in shared memory, while the
// other one is multiplied. Whose numbers they are is said by a loader; how they are multiplied by Product, float by float for float, on
// the tensor cores for bfloat16. Everything else is the same for both.
#pragma once

#include "kernels/common/launch.cuh"
#include "kernels/common/mma.cuh"
#include "kernels/common/vector.cuh"

namespace actmatch::kernels::cuda {

inline constexpr int kConvThreads = 128, kConvRows = 128, kWarpRows = 32;
template <class T>
inline constexpr int kConvDepth = 64 / static_cast<int>(sizeof(T));

// How an operand lies in shared memory: its lines run along the depth, a line a row, or along the rows, a line a step of depth; whichever
// way the numbers run in global memory. 16 bytes of padding a line spread the lines over the banks.
template <class T, int kRows, bool kAlongDepth>
struct Operand {
  static constexpr bool along_depth = kAlongDepth;
  static constexpr int kVector = kVectorSize<T>;
  static constexpr int kLines = kAlongDepth ? kRows : kConvDepth<T>;
  static constexpr int kLineVectors = (kAlongDepth ? kConvDepth<T> : kRows) / kVector;
  static constexpr int kPitch = (kLineVectors + 1) * kVector;
  static constexpr int kCount = kLines * kPitch;
  // A thread brings vector `vector()` of each line(j), j < kSlots.
  static constexpr int kLineStep = kConvThreads / kLineVectors < kLines ? kConvThreads / kLineVectors : kLines;
  static constexpr int kSlots = kLines / kLineStep;
  static_assert(kConvThreads % kLineVectors == 0 && kLines % kLineStep == 0);

  static __device__ __forceinline__ bool has_slots() { return thread_index() < kLineStep * kLineVectors; }
  static __device__ __forceinline__ int vector() { return thread_index() % kLineVectors; }
  static __device__ __forceinline__ int line(int j) { return thread_index() / kLineVectors + j * kLineStep; }
  static __device__ __forceinline__ void store(T* shared, const Vector<T> (&v)[kSlots]) {
    if (!has_slots()) return;
    ACTMATCH_UNROLL
    for (int j = 0; j < kSlots; ++j) store_vector(shared + line(j) * kPitch + vector() * kVector, v[j]);
  }
};

__device__ __forceinline__ int lane_index() { return thread_index() % 32; }
__device__ __forceinline__ int first_warp_row() { return thread_index() / 32 * kWarpRows; }

template <class T, int kColumns, bool kAAlongDepth, bool kBAlongDepth>
struct Product;

// A thread has 8 rows and kColumns / 8 columns of its warp's 32 rows. Which ones depends on how the operands lie: neighbouring numbers
// where those are fetched together, and otherwise 4 rows or 8 columns apart, so that the lanes of a warp read neighbouring lines.
template <int kColumns, bool kAAlongDepth, bool kBAlongDepth>
struct Product<float, kColumns, kAAlongDepth, kBAlongDepth> {
  using A = Operand<float, kConvRows, kAAlongDepth>;
  using B = Operand<float, kColumns, kBAlongDepth>;
  static constexpr int kWidth = kColumns / 8;
  static constexpr bool kColumnsTogether = !kBAlongDepth && kWidth % 4 == 0;
  float sum[8][kWidth] = {};

  static __device__ __forceinline__ int row(int i) {
    const int lane = lane_index() / 8;
    return first_warp_row() + (kAAlongDepth ? lane + 4 * i : 4 * lane + i % 4 + 16 * (i / 4));
  }
  static __device__ __forceinline__ int column(int j) {
    const int lane = lane_index() % 8;
    return kColumnsTogether ? 4 * lane + j % 4 + 32 * (j / 4) : lane + 8 * j;
  }

  __device__ __forceinline__ void multiply(const float* a, const float* b) {
    // Not unrolled: four steps of depth are 256 multiplications already.
    for (int d = 0; d < kConvDepth<float>; d += 4) {
      float left[8][4];
      if constexpr (kAAlongDepth) {
        ACTMATCH_UNROLL
        for (int i = 0; i < 8; ++i) {
          const auto v = load_vector<float, 4>(a + row(i) * A::kPitch + d);
          ACTMATCH_UNROLL
          for (int k = 0; k < 4; ++k) left[i][k] = v.v[k];
        }
      } else {
        ACTMATCH_UNROLL
        for (int k = 0; k < 4; ++k) {
          ACTMATCH_UNROLL
          for (int i = 0; i < 8; i += 4) {
            const auto v = load_vector<float, 4>(a + (d + k) * A::kPitch + row(i));
            ACTMATCH_UNROLL
            for (int e = 0; e < 4; ++e) left[i + e][k] = v.v[e];
          }
        }
      }
      if constexpr (kBAlongDepth) {
        ACTMATCH_UNROLL
        for (int j = 0; j < kWidth; ++j) {
          const auto v = load_vector<float, 4>(b + column(j) * B::kPitch + d);
          ACTMATCH_UNROLL
          for (int k = 0; k < 4; ++k) {
            ACTMATCH_UNROLL
            for (int i = 0; i < 8; ++i) sum[i][j] += left[i][k] * v.v[k];
          }
        }
      } else {
        ACTMATCH_UNROLL
        for (int k = 0; k < 4; ++k) {
          constexpr int kTogether = kColumnsTogether ? 4 : 1;
          ACTMATCH_UNROLL
          for (int j = 0; j < kWidth; j += kTogether) {
            const auto v = load_vector<float, kTogether>(b + (d + k) * B::kPitch + column(j));
            ACTMATCH_UNROLL
            for (int e = 0; e < kTogether; ++e) {
              ACTMATCH_UNROLL
              for (int i = 0; i < 8; ++i) sum[i][j + e] += left[i][k] * v.v[e];
            }
          }
        }
      }
    }
  }

  template <class F>
  __device__ __forceinline__ void each(F f) const {
    ACTMATCH_UNROLL
    for (int i = 0; i < 8; ++i) {
      ACTMATCH_UNROLL
      for (int j = 0; j < kWidth; ++j) f(row(i), column(j), sum[i][j]);
    }
  }
};

// A warp's 32 rows are two of the instruction's 16, the columns in eights.
template <int kColumns, bool kAAlongDepth, bool kBAlongDepth>
struct Product<bfloat16, kColumns, kAAlongDepth, kBAlongDepth> {
  using A = Operand<bfloat16, kConvRows, kAAlongDepth>;
  using B = Operand<bfloat16, kColumns, kBAlongDepth>;
  static_assert(kConvDepth<bfloat16> == 32);
  float sum[2][kColumns / 8][4] = {};

  __device__ __forceinline__ void multiply(const bfloat16* a, const bfloat16* b) {
    const int lane = lane_index(), in_eight = lane % 8, eight = lane / 8;
    uint32_t left[2][2][4];  // 16 rows, 16 of depth
    ACTMATCH_UNROLL
    for (int m = 0; m < 2; ++m) {
      ACTMATCH_UNROLL
      for (int d = 0; d < 2; ++d) {
        // The four matrices of a load: the upper rows, the lower ones, and both 8 of depth further.
        const int row = first_warp_row() + 16 * m + 8 * (eight % 2), depth = 16 * d + 8 * (eight / 2);
        if constexpr (kAAlongDepth)
          load_matrices<false>(left[m][d], a + (row + in_eight) * A::kPitch + depth);
        else
          load_matrices<true>(left[m][d], a + (depth + in_eight) * A::kPitch + row);
      }
    }
    ACTMATCH_UNROLL
    for (int j = 0; j < kColumns / 8; ++j) {
      uint32_t right[4];  // all 32 of depth
      if constexpr (kBAlongDepth)
        load_matrices<false>(right, b + (8 * j + in_eight) * B::kPitch + 8 * eight);
      else
        load_matrices<true>(right, b + lane * B::kPitch + 8 * j);
      ACTMATCH_UNROLL
      for (int m = 0; m < 2; ++m) {
        multiply_matrices(sum[m][j], left[m][0], {right[0], right[1]});
        multiply_matrices(sum[m][j], left[m][1], {right[2], right[3]});
      }
    }
  }

  template <class F>
  __device__ __forceinline__ void each(F f) const {
    ACTMATCH_UNROLL
    for (int m = 0; m < 2; ++m) {
      ACTMATCH_UNROLL
      for (int j = 0; j < kColumns / 8; ++j) {
        ACTMATCH_UNROLL
        for (int i = 0; i < 4; ++i)
          f(first_warp_row() + 16 * m + lane_index() / 4 + 8 * (i / 2), 8 * j + 2 * (lane_index() % 4) + i % 2, sum[m][j][i]);
      }
    }
  }
};

// Two buffers of both operands, later the result in float: 128 x (64 + 4), and a word of 8 bytes a row. The most that any tile needs, as
// the emulator asks for arrays of fixed size.
inline constexpr int kConvTileBytes = kConvRows * (64 + 4) * 4, kConvSharedBytes = kConvTileBytes + kConvRows * 8;
static __device__ __forceinline__ unsigned char* conv_shared() {
  alignas(16) __shared__ unsigned char bytes[kConvSharedBytes];
  return bytes;
}

// A loader's load(v) fetches its thread's vectors of the next step. Ends with a barrier: the shared memory is free then.
template <class T, class Product, class LoaderA, class LoaderB>
__device__ __forceinline__ void multiply_steps(Product& product, LoaderA& loader_a, LoaderB& loader_b, int steps) {
  using A = typename Product::A;
  using B = typename Product::B;
  static_assert(2 * (A::kCount + B::kCount) * static_cast<int>(sizeof(T)) <= kConvTileBytes);
  T* a = reinterpret_cast<T*>(conv_shared());
  T* b = a + 2 * A::kCount;
  Vector<T> next_a[A::kSlots], next_b[B::kSlots];
  if (steps > 0) {
    loader_a.load(next_a);
    loader_b.load(next_b);
    A::store(a, next_a);
    B::store(b, next_b);
  }
  __syncthreads();
  for (int step = 0; step < steps; ++step) {
    const bool more = step + 1 < steps;
    if (more) {
      loader_a.load(next_a);
      loader_b.load(next_b);
    }
    const int now = step % 2, then = 1 - now;
    product.multiply(a + now * A::kCount, b + now * B::kCount);
    if (more) {
      A::store(a + then * A::kCount, next_a);
      B::store(b + then * B::kCount, next_b);
    }
    __syncthreads();
  }
}

}  // namespace actmatch::kernels::cuda
