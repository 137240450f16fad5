// What ends a step: Adam, the area controller, the trace, smoothing of the gradient map.
#include "kernels/bench/case.h"
#include "kernels/cuda.h"

namespace actmatch::kernels::bench {

namespace {

void add_adam(Cases& cases, const std::string& what, int64_t count) {
  cases.add("adam", what, [=](Memory& m) {
    float *parameter = m.updated<float>(count), *first = m.updated<float>(count), *second = m.updated<float>(count);
    const float* gradient = m.input<float>(count);
    const auto* step = m.values(std::vector<uint32_t>{7});
    const auto* rate = m.values(std::vector<double>{1e-3});
    return [=, tensor = AdamTensor{parameter, first, second, gradient, count}](cudaStream_t s) {
      return cuda::adam(s, std::span(&tensor, 1), {}, step, rate, 1.0f);
    };
  });
}

}  // namespace

void add_step_cases(Cases& cases) {
  const int64_t side = cases.size(224), HW = side * side;
  for (int64_t B : cases.size.batches) {
    add_adam(cases, text("B", B, " grid 28x28"), B * 28 * 28);
    add_adam(cases, text("B", B, " CSAE"), B * cases.size(1083329));
    cases.add("area_control", text("B", B, " ", side, "x", side), [=](Memory& m) {
      auto* state = m.values(std::vector<AreaState>(static_cast<size_t>(B)));
      float *area = m.output<float>(B), *best = m.output<float>(B * HW), *outcome = m.output<float>(B * kOutcomeColumns);
      const float* hard = m.input<float>(B * HW, 0, 1);
      const auto *top = m.indices<int32_t>(2 * B, 0, 10), *label = m.indices<int32_t>(B, 0, 10);
      const float* p_label = m.input<float>(2 * B, 0, 1);
      const auto* fall = m.values(std::vector<double>(180, 0.5));
      const auto* step = m.values(std::vector<uint32_t>{7});
      AreaControl control;
      control.fall_steps = 180;
      control.robust = 1;
      m.set_traffic(static_cast<size_t>(B * HW) * sizeof(float));  // most steps find no better mask
      return [=](cudaStream_t s) {
        return cuda::area_control(s, state, area, best, outcome, hard, top, p_label, label, fall, step, control, B, HW);
      };
    });
    cases.add("record_step", text("B", B, " 5 taps"), [=](Memory& m) {
      float* trace = m.scratch_floats(64 * B * kTraceColumns);
      StepTerms<float> terms;
      terms.act = m.input<float>(5 * B);
      terms.act_weight = m.input<float>(5);
      terms.taps = 5;
      terms.kl = m.input<float>(B);
      terms.ce = m.input<float>(B);
      terms.margin = m.input<float>(B);
      terms.regulariser = m.input<float>(3 * B);
      terms.rob = m.input<float>(B);
      terms.robust = 1;
      terms.nec = m.input<float>(B);
      terms.outcome = m.input<float>(2 * B);
      for (float& w : terms.weight) w = 1.0f;
      const auto* step = m.values(std::vector<uint32_t>{7});
      return [=](cudaStream_t s) { return cuda::record_step(s, trace, terms, step, 64, B); };
    });
    for (int32_t radius : {24, 6}) {
      const int64_t R = cases.size(radius);
      cases.add("gaussian_smooth", text("radius ", R, " B", B, " ", side, "x", side), [=](Memory& m) {
        float *map = m.updated<float>(B * HW), *scratch = m.scratch_floats(B * HW);
        SmoothTable<float> table;
        table.taps = m.input<float>(R + 1, 0, 1.0 / static_cast<double>(2 * R + 1));
        table.radius = m.values(std::vector<int32_t>{static_cast<int32_t>(R)});
        table.rows = 1;
        table.stride = R + 1;
        const auto* step = m.values(std::vector<uint32_t>{1});
        return [=](cudaStream_t s) { return cuda::gaussian_smooth(s, map, scratch, table, step, B, side, side); };
      });
    }
  }
}

}  // namespace actmatch::kernels::bench
