// Winograd's F(4x4, 3x3): a dense 3x3 convolution of stride 1 with a quarter of the multiplications. oneDNN 2.6 has it for AVX-512 only.
// The gradient with respect to the input is the same convolution with the kernels turned round and the channels swapped.
#pragma once

#include <cstdint>

#include "engine/backend/cpu/lowering.h"

namespace actmatch::cpu {

// Both maps lie in blocks of eight channels (nChw8c); C and K are multiples of eight. Rows and columns outside of the input are zeros.
struct WinogradShape {
  int64_t N, C, K, H, W, out_h, out_w, pad_top, pad_left;
};

class Winograd {
 public:
  static bool available();                       // the processor has AVX2 and FMA
  static bool pays(const WinogradShape& shape);  // against oneDNN's direct convolution on such a processor
  static size_t weight_floats(int64_t C, int64_t K);
  // u: transformed weights for C inputs and K outputs. w: row-major K x C x 3 x 3, or C x K x 3 x 3 when they are to be `turned`.
  static void transform_weights(float* u, const float* w, int64_t C, int64_t K, bool turned);

  explicit Winograd(const WinogradShape& shape);
  size_t scratch_bytes() const { return static_cast<size_t>(workers_) * (v_floats_ + m_floats_) * sizeof(float) + kLine; }

  // y = activation(x * w + bias). With `gate` x counts only where low < gate < high (for ReLU: gate > 0), which undoes an activation.
  // With `accumulate` the result is added to y.
  struct Arguments {
    float* y;
    const float *x, *u, *bias = nullptr, *gate = nullptr;
    Activation activation, gate_activation;
    bool accumulate = false;
    void* scratch;
  };
  void run(const Arguments& arguments) const;

 private:
  static constexpr size_t kLine = 64;
  struct Tile {
    int64_t n, row, column;
  };
  Tile tile(int64_t index) const;
  void transform_inputs(float* v, int64_t block, const Arguments& a, int64_t first, int64_t last) const;
  void multiply_and_transform(const float* v, float* m, int64_t block, int64_t group, const Arguments& a) const;
  int64_t tiles_in(int64_t block) const;

  WinogradShape s_;
  int64_t tiles_y_, tiles_x_, tiles_, block_tiles_, blocks_, groups_, workers_;
  int64_t v_point_, m_point_;  // floats from one of the 36 points to the next
  size_t v_floats_, m_floats_;
};

}  // namespace actmatch::cpu
