// The methods beside activation matching.
#include "kernels/bench/case.h"
#include "kernels/cuda.h"

namespace actmatch::kernels::bench {

void add_method_cases(Cases& cases) {
  const int64_t side = cases.size(224), HW = side * side, R = cases.size(20);
  // An exponential counts as one operation, beside the three that use it.
  const double window = static_cast<double>((2 * R + 1) * (2 * R + 1)), smoothing = 4.0 * window * static_cast<double>(HW);
  cases.add(
      "variable_smooth", text("radius ", R, " ", side, "x", side),
      [=](Memory& m) {
        float* s = m.output<float>(HW);
        const float *w = m.input<float>(HW), *q = m.input<float>(HW, 0.6, 9);
        return [=](cudaStream_t stream) { return cuda::variable_smooth(stream, s, nullptr, w, q, R, 1, side, side); };
      },
      smoothing, Unit::kFp32);
  cases.add(
      "variable_smooth_backward", text("radius ", R, " ", side, "x", side),
      [=](Memory& m) {
        float *dw = m.output<float>(HW), *dq = m.output<float>(HW), *scratch = m.scratch_floats(variable_smooth_scratch(R, 1, side, side));
        const float *ds = m.input<float>(HW), *w = m.input<float>(HW), *q = m.input<float>(HW, 0.6, 9);
        return
            [=](cudaStream_t stream) { return cuda::variable_smooth_backward(stream, dw, dq, scratch, ds, w, q, 0.1f, R, 1, side, side); };
      },
      2 * smoothing, Unit::kFp32);
  cases.add("clamp_below", text(side, "x", side), [=](Memory& m) {
    float* x = m.updated<float>(HW);
    return [=](cudaStream_t stream) { return cuda::clamp_below(stream, x, 0.6f, HW); };
  });
  for (int64_t B : {int64_t{1}, int64_t{4}}) {
    SmoothMaxShape shape;
    shape.height = shape.width = side;
    const int64_t cells = B * shape.cells_high() * shape.cells_wide(), n = shape.support();
    cases.add("smooth_max", text("B", B, " ", side, "x", side), [=](Memory& m) {
      float *M = m.output<float>(B * HW), *Z = m.output<float>(B * HW);
      const float *a = m.input<float>(cells, 0, 1), *table = m.input<float>(n * n, 0, 1);
      return [=](cudaStream_t stream) { return cuda::smooth_max(stream, M, Z, a, table, shape, B); };
    });
    cases.add("smooth_max_backward", text("B", B, " ", side, "x", side), [=](Memory& m) {
      float* da = m.output<float>(cells);
      const float *dM = m.input<float>(B * HW), *M = m.input<float>(B * HW, 0, 1), *Z = m.input<float>(B * HW, 1, 2),
                  *a = m.input<float>(cells, 0, 1), *table = m.input<float>(n * n, 0, 1);
      return [=](cudaStream_t stream) { return cuda::smooth_max_backward(stream, da, dM, M, Z, a, table, shape, B); };
    });
    cases.add("pyramid_compose", text("B", B, " ", side, "x", side), [=](Memory& m) {
      float* out = m.output<float>(B * 3 * HW);
      const float *mask = m.input<float>(B * HW, 0, 1), *levels = m.input<float>(8 * 3 * HW);
      return [=](cudaStream_t stream) { return cuda::pyramid_compose(stream, out, mask, levels, 8, B, 3, HW); };
    });
    cases.add("pyramid_compose_backward", text("B", B, " ", side, "x", side), [=](Memory& m) {
      float* dm = m.output<float>(B * HW);
      const float *dout = m.input<float>(B * 3 * HW), *mask = m.input<float>(B * HW, 0, 1), *levels = m.input<float>(8 * 3 * HW);
      return [=](cudaStream_t stream) { return cuda::pyramid_compose_backward(stream, dm, dout, mask, levels, 8, B, 3, HW, false); };
    });
  }
}

}  // namespace actmatch::kernels::bench
