// Losses on 1000 logits and terms on the soft mask: logit_loss.h, regulariser.h.
#include "kernels/bench/case.h"
#include "kernels/cuda.h"
#include "kernels/regulariser.h"

namespace actmatch::kernels::bench {

void add_loss_cases(Cases& cases) {
  const int64_t K = cases.size(1000), side = cases.size(224), HW = side * side, P = 1;
  for (int64_t B : cases.size.batches) {
    struct Row {  // what all of them have
      float *value, *gradient;
      const float *z, *weight;
      const int32_t* label;
    };
    const auto row = [=](Memory& m) {
      return Row{m.output<float>(B), m.output<float>(B * K), m.input<float>(B * K, -8, 8), m.input<float>(B), m.indices<int32_t>(B, 0, K)};
    };
    const std::string size = text("B", B, " ", K, " classes");
    cases.add("kl_logits", size, [=](Memory& m) {
      const Row r = row(m);
      const float* target = m.input<float>(B * K, -8, 8);
      return [=](cudaStream_t s) { return cuda::kl_logits(s, r.value, r.gradient, r.z, target, r.weight, 2.0f, B, P, K, false); };
    });
    cases.add("cross_entropy", size, [=](Memory& m) {
      const Row r = row(m);
      return [=](cudaStream_t s) { return cuda::cross_entropy(s, r.value, r.gradient, r.z, r.label, r.weight, B, P, K, false); };
    });
    cases.add("margin_hinge", size, [=](Memory& m) {
      const Row r = row(m);
      return [=](cudaStream_t s) { return cuda::margin_hinge(s, r.value, r.gradient, r.z, r.label, r.weight, 20.0f, B, P, K, false); };
    });
    cases.add("necessity_hinge", size, [=](Memory& m) {
      const Row r = row(m);
      const float* target = m.input<float>(B * K, -8, 8);
      m.set_traffic(static_cast<size_t>(B * K) * sizeof(float));  // the gradient; of the logits one a row is read
      return [=](cudaStream_t s) {
        return cuda::necessity_hinge(s, r.value, r.gradient, r.z, target, r.label, r.weight, 20.0f, B, P, K, false);
      };
    });
    cases.add("necessity_log", size, [=](Memory& m) {
      const Row r = row(m);
      return [=](cudaStream_t s) { return cuda::necessity_log(s, r.value, r.gradient, r.z, r.label, r.weight, B, P, K, false); };
    });
    cases.add("class_scores", size, [=](Memory& m) {
      auto* top = m.output<int32_t>(B);
      float* p = m.output<float>(B);
      const float* z = m.input<float>(B * K, -8, 8);
      const int32_t* label = m.indices<int32_t>(B, 0, K);
      return [=](cudaStream_t s) { return cuda::class_scores(s, top, p, z, label, B, P, K); };
    });
    for (int neighbours : {4, 8})
      cases.add("mask_regulariser", text(neighbours, " neighbours B", B, " ", side, "x", side), [=](Memory& m) {
        float *value = m.output<float>(B * kRegulariserTerms), *dm = m.output<float>(B * HW);
        const float *soft = m.input<float>(B * HW, 0, 1), *weight = m.input<float>(B * kRegulariserTerms);
        void* scratch = m.scratch(cuda::mask_regulariser_scratch_bytes(B, side, side));
        return
            [=](cudaStream_t s) { return cuda::mask_regulariser(s, value, dm, soft, weight, neighbours, B, side, side, false, scratch); };
      });
    cases.add("sorted_area", text("B", B, " ", side, "x", side), [=](Memory& m) {
      float *value = m.output<float>(B), *dm = m.output<float>(B * HW);
      const float *soft = m.input<float>(B * HW, 0, 1), *area = m.input<float>(B, 0.05, 0.3), *weight = m.input<float>(B);
      return [=](cudaStream_t s) { return cuda::sorted_area(s, value, dm, soft, area, weight, B, HW, false); };
    });
  }
}

}  // namespace actmatch::kernels::bench
