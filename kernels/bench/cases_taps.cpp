// Distances of activations at the taps of ResNet-50 (ends of stages) and SqueezeNet 1.1, channels last as in a program: tap_distance.h.
#include "kernels/bench/case.h"
#include "kernels/cuda.h"

namespace actmatch::kernels::bench {

void add_tap_cases(Cases& cases) {
  struct Kind {
    TapDistance kind;
    const char* name;
  };
  constexpr Kind kKinds[] = {{TapDistance::kKlChannels, "kl_channels"},
                             {TapDistance::kKlPositions, "kl_positions"},
                             {TapDistance::kCosine, "cosine"},
                             {TapDistance::kMse, "mse"},
                             {TapDistance::kStandardisedMse, "standardised_mse"}};
  struct Tap {
    int64_t channels, side;
  };
  for (const Kind& kind : kKinds) {
    for (const Tap& tap : {Tap{256, 56}, Tap{1024, 14}, Tap{2048, 7}, Tap{512, 13}}) {
      const int64_t C = cases.size(tap.channels), side = cases.size(tap.side), HW = side * side;
      for (int64_t B : cases.size.batches) {
        const std::string size = text(kind.name, " B", B, " ", C, "x", side, "x", side);
        const TapDistance distance = kind.kind;
        if (tap.channels == 256)
          cases.add("tap_prepare", size, [=](Memory& m) {
            float *prepared = m.output<float>(B * C * HW), *constant = m.output<float>(B);
            const float* reference = m.input<float>(B * C * HW);
            void* scratch = m.scratch(cuda::tap_prepare_scratch_bytes(distance, B, C, HW));
            return [=](cudaStream_t s) {
              return cuda::tap_prepare(s, prepared, constant, reference, distance, ChannelOrder::kLast, B, C, HW, scratch);
            };
          });
        cases.add("tap_distance", size, [=](Memory& m) {
          float *value = m.output<float>(B), *gradient = m.output<float>(B * C * HW);
          const float *current = m.input<float>(B * C * HW), *prepared = m.input<float>(B * C * HW, 0.01, 1);
          const float *constant = m.input<float>(B, 1, 2), *weight = m.input<float>(B);
          void* scratch = m.scratch(cuda::tap_distance_scratch_bytes(distance, B, 1, C, HW));
          return [=](cudaStream_t s) {
            return cuda::tap_distance(s, value, gradient, current, prepared, constant, weight, distance, ChannelOrder::kLast, B, 1, C, HW,
                                      false, scratch);
          };
        });
      }
    }
  }
}

}  // namespace actmatch::kernels::bench
