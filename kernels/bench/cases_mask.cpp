// From mask logits to composed images and back: mask.h, random_background.h.
#include "kernels/bench/case.h"
#include "kernels/cuda.h"

namespace actmatch::kernels::bench {

namespace {

// The passes of a step: explanation before the colour, before a random background, complement.
std::vector<ComposePass<float>> passes_of(Memory& memory, int64_t P, int64_t B, int64_t C, int64_t HW) {
  const float* mask = memory.input<float>(B * HW, 0, 1);
  const float* colour = memory.input<float>(B * C);
  std::vector<ComposePass<float>> passes{{false, BackgroundLayout::kColourPerItem, mask, colour}};
  if (P > 1) passes.push_back({false, BackgroundLayout::kImage, mask, memory.input<float>(C * HW)});
  if (P > 2) passes.push_back({true, BackgroundLayout::kColourPerItem, mask, colour});
  return passes;
}

}  // namespace

void add_mask_cases(Cases& cases) {
  const int64_t side = cases.size(224), HW = side * side, C = 3;
  for (int64_t B : cases.size.batches) {
    const std::string size = text("B", B, " ", side, "x", side);
    cases.add("fill", size, [=](Memory& m) {
      float* x = m.output<float>(B * HW);
      return [=](cudaStream_t s) { return cuda::fill(s, x, 1.0f, B * HW); };
    });
    cases.add("fill_parts", size, [=](Memory& m) {
      const std::vector<FillPart> parts{{m.output<float>(B * HW), B * HW}, {m.output<float>(B * 1000), B * 1000}};
      return [=](cudaStream_t s) { return cuda::fill_parts(s, parts, 0.0f); };
    });
    cases.add("mask_activate", size, [=](Memory& m) {
      float* out = m.output<float>(B * HW);
      const float *logits = m.input<float>(B * HW), *threshold = m.input<float>(B), *inverse = m.input<float>(B, 1, 2);
      return [=](cudaStream_t s) { return cuda::mask_activate(s, out, logits, threshold, inverse, B, HW); };
    });
    cases.add("mask_activate_backward", size, [=](Memory& m) {
      float* ds = m.output<float>(B * HW);
      const float *dm = m.input<float>(B * HW), *soft = m.input<float>(B * HW, 0, 1), *inverse = m.input<float>(B, 1, 2);
      return [=](cudaStream_t s) { return cuda::mask_activate_backward(s, ds, dm, soft, inverse, B, HW, false); };
    });
    cases.add("hard_mask", size, [=](Memory& m) {
      float* h = m.output<float>(B * HW);
      const float *logits = m.input<float>(B * HW), *threshold = m.input<float>(B);
      return [=](cudaStream_t s) { return cuda::hard_mask(s, h, logits, threshold, B, HW); };
    });
    cases.add("top_fraction_mask", size, [=](Memory& m) {
      float *h = m.output<float>(B * HW), *threshold = m.output<float>(B);
      const float *logits = m.input<float>(B * HW), *area = m.input<float>(B, 0.05, 0.3);
      return [=](cudaStream_t s) { return cuda::top_fraction_mask(s, h, threshold, logits, area, B, HW); };
    });
    for (int64_t P : {2, 3}) {
      const std::string passes_size = text("B", B, " P", P, " ", C, "x", side, "x", side);
      cases.add("compose", passes_size, [=](Memory& m) {
        float* out = m.output<float>(P * B * C * HW);
        const float* x = m.input<float>(B * C * HW);
        const auto passes = passes_of(m, P, B, C, HW);
        return [=](cudaStream_t s) { return cuda::compose(s, out, x, passes.data(), ChannelOrder::kLast, B, P, C, HW); };
      });
      cases.add("compose_backward", passes_size, [=](Memory& m) {
        float* dmask = m.output<float>(B * HW);
        const float *dout = m.input<float>(P * B * C * HW), *x = m.input<float>(B * C * HW);
        const auto passes = passes_of(m, P, B, C, HW);
        m.set_traffic(m.traffic() - static_cast<size_t>(B * HW) * sizeof(float));  // the mask is not read
        return [=](cudaStream_t s) {
          return cuda::compose_backward(s, dmask, dout, x, passes.data(), ChannelOrder::kLast, B, P, C, HW, false);
        };
      });
    }
  }
  cases.add("advance", "1", [](Memory& m) {
    auto* counter = m.updated<uint32_t>(1);
    return [=](cudaStream_t s) { return cuda::advance(s, counter, 1); };
  });
  for (uint32_t first : {0u, 1u, 2u}) {
    const char* kinds[] = {"constant", "smooth", "white"};
    cases.add("random_background", text(kinds[first], " ", C, "x", side, "x", side), [=](Memory& m) {
      BackgroundSpec spec;
      spec.height = spec.width = side;
      float* out = m.output<float>(C * HW);
      const auto* cursor = m.values(std::vector<BackgroundCursor>{{0, first}});
      return [=](cudaStream_t s) { return cuda::random_background(s, out, spec, RandomStream::kOptimise, cursor, 1); };
    });
  }
  cases.add("random_background", text("32 of each kind in turn ", C, "x", side, "x", side), [=](Memory& m) {
    BackgroundSpec spec;
    spec.height = spec.width = side;
    float* out = m.output<float>(32 * C * HW);
    const auto* cursor = m.values(std::vector<BackgroundCursor>{{0, 0}});
    return [=](cudaStream_t s) { return cuda::random_background(s, out, spec, RandomStream::kCertify, cursor, 32); };
  });
}

}  // namespace actmatch::kernels::bench
