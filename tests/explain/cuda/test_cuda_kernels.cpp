// The Kernels interface on CUDA against the one on the CPU: every method hands its arguments on as it should. How exact the kernels are is
// tested in tests/kernels/cuda.
#include "engine/backend/cuda/cuda_kernels.h"

#include <cstring>
#include <functional>
#include <list>
#include <memory>

#include "engine/backend/cpu/cpu_kernels.h"
#include "engine/core/error.h"
#include "tests/kernels/cuda/device.h"

namespace actmatch::kernels::cuda {
namespace {

// Memory of one of the two sides; what was given as an output is compared at the end.
class Side {
 public:
  explicit Side(bool device) : device_(device) {}
  template <class T>
  T* in(const std::vector<T>& values) {
    if (!device_) return static_cast<T*>(host(values.data(), values.size() * sizeof(T)));
    auto memory = std::make_shared<Device<T>>(values);
    held_.push_back(memory);
    return memory->data();
  }
  float* out(const std::vector<float>& before) {
    float* address = in(before);
    read_.push_back([this, address, n = before.size()] { return fetch(address, n); });
    return address;
  }
  int32_t* out(const std::vector<int32_t>& before) {
    int32_t* address = in(before);
    read_.push_back([this, address, n = before.size()] {
      const auto values = fetch(address, n);
      return std::vector<float>(values.begin(), values.end());
    });
    return address;
  }
  std::vector<std::vector<float>> outputs() const {
    std::vector<std::vector<float>> all;
    for (const auto& read : read_) all.push_back(read());
    return all;
  }

 private:
  template <class T>
  std::vector<T> fetch(const T* address, size_t count) const {
    std::vector<T> values(count);
    if (device_) {
      check(cudaDeviceSynchronize());
      check(cudaMemcpy(values.data(), address, count * sizeof(T), cudaMemcpyDeviceToHost));
    } else {
      std::copy_n(address, count, values.begin());
    }
    return values;
  }
  void* host(const void* values, size_t bytes) {
    std::shared_ptr<void> memory(::operator new(bytes), [](void* p) { ::operator delete(p); });
    std::memcpy(memory.get(), values, bytes);
    held_.push_back(memory);
    return memory.get();
  }
  bool device_;
  std::list<std::shared_ptr<void>> held_;
  std::vector<std::function<std::vector<float>()>> read_;
};

class CudaKernelsTest : public CudaTest {
 protected:
  using Run = std::function<void(Kernels&, Side&)>;
  // `epsilons`: as in expect_near, of each output's largest number.
  void compare(const std::string& what, double epsilons, const Run& run) {
    SCOPED_TRACE(what);
    Side host(false), device(true);
    run(*cpu_, host), run(cuda_, device);
    const auto want = host.outputs(), got = device.outputs();
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_GT(std::count_if(want[i].begin(), want[i].end(), [](float v) { return v != 0; }), 0) << "an output of zeros shows nothing";
      expect_near(got[i], wide(want[i]), epsilons, "output " + std::to_string(i));
    }
  }
  std::unique_ptr<Kernels> cpu_ = cpu::make_cpu_kernels();
  actmatch::cuda::CudaKernels cuda_{nullptr};
};

constexpr int64_t B = 2, P = 2, C = 3, H = 5, W = 7, HW = H * W, K = 11;

TEST_F(CudaKernelsTest, Masks) {
  const auto s = random(B * HW), m = random(B * HW, 0, 1), threshold = random(B), scale = random(B, 1, 3), area = random(B, 0.2, 0.8);
  const auto x = random(B * C * HW), colour = random(B * C), image = random(C * HW), dout = random(P * B * C * HW);
  const std::vector<float> flat(B * HW, 0.25f);
  compare("fill", 0, [&](Kernels& k, Side& a) { k.fill(a.out(s), 2.5f, B * HW); });
  compare("fill_parts", 0, [&](Kernels& k, Side& a) {
    const FillPart parts[] = {{a.out(s), B * HW - 3}, {a.out(m), 5}};
    k.fill_parts(parts, -1.5f);
  });
  compare("advance", 0, [&](Kernels& k, Side& a) { k.advance(reinterpret_cast<uint32_t*>(a.out(std::vector<int32_t>{7})), 3); });
  compare("mask_activate", 32, [&](Kernels& k, Side& a) { k.mask_activate(a.out(flat), a.in(s), a.in(threshold), a.in(scale), B, HW); });
  for (const bool accumulate : {false, true})
    compare("mask_activate_backward", 8,
            [&](Kernels& k, Side& a) { k.mask_activate_backward(a.out(flat), a.in(s), a.in(m), a.in(scale), B, HW, accumulate); });
  compare("hard_mask", 0, [&](Kernels& k, Side& a) { k.hard_mask(a.out(flat), a.in(s), a.in(threshold), B, HW); });
  compare("top_fraction_mask", 0,
          [&](Kernels& k, Side& a) { k.top_fraction_mask(a.out(flat), a.out(threshold), a.in(s), a.in(area), B, HW); });
  const auto passes = [&](Side& a) {
    return std::vector<Kernels::Pass>{{false, BackgroundLayout::kColourPerItem, a.in(m), a.in(colour)},
                                      {true, BackgroundLayout::kImage, a.in(m), a.in(image)}};
  };
  for (const ChannelOrder order : {ChannelOrder::kFirst, ChannelOrder::kLast}) {
    compare("compose", 8, [&](Kernels& k, Side& a) { k.compose(a.out(dout), a.in(x), passes(a), order, B, C, HW); });
    for (const bool accumulate : {false, true})
      compare("compose_backward", 64,
              [&](Kernels& k, Side& a) { k.compose_backward(a.out(flat), a.in(dout), a.in(x), passes(a), order, B, C, HW, accumulate); });
  }
}

TEST_F(CudaKernelsTest, RandomBackground) {
  BackgroundSpec spec;
  spec.height = H, spec.width = W, spec.seed = 9;
  compare("random_background", 2, [&](Kernels& k, Side& a) {
    k.random_background(a.out(std::vector<float>(3 * C * HW)), spec, RandomStream::kPrune, a.in(std::vector<BackgroundCursor>{{5, 4}}), 3);
  });
}

TEST_F(CudaKernelsTest, TapDistances) {
  const auto reference = random(B * C * HW, 0.1, 2), current = random(P * B * C * HW, 0.1, 2), weight = random(P * B, 1, 2);
  for (const TapDistance kind :
       {TapDistance::kKlChannels, TapDistance::kKlPositions, TapDistance::kCosine, TapDistance::kMse, TapDistance::kStandardisedMse})
    for (const ChannelOrder order : {ChannelOrder::kFirst, ChannelOrder::kLast})
      for (const bool accumulate : {false, true})
        compare("tap, kind " + std::to_string(static_cast<int>(kind)), 2000, [&](Kernels& k, Side& a) {  // approximate exponentials
          float *prepared = a.out(reference), *constant = a.in(std::vector<float>(B));
          k.tap_prepare(prepared, constant, a.in(reference), kind, order, B, C, HW);
          k.tap_distance(a.out(weight), a.out(current), a.in(current), prepared, constant, a.in(weight), kind, order, B, P, C, HW,
                         accumulate);
        });
}

TEST_F(CudaKernelsTest, LogitLosses) {
  const auto z = random(P * B * K), target = random(B * K), weight = random(P * B, 1, 2), old = random(P * B * K);
  const auto label = labels(B, K);
  for (const bool accumulate : {false, true}) {
    compare("kl_logits", 200, [&](Kernels& k, Side& a) {
      k.kl_logits(a.out(weight), a.out(old), a.in(z), a.in(target), a.in(weight), 2.0f, B, P, K, accumulate);
    });
    compare("cross_entropy", 200, [&](Kernels& k, Side& a) {
      k.cross_entropy(a.out(weight), a.out(old), a.in(z), a.in(label), a.in(weight), B, P, K, accumulate);
    });
    compare("margin_hinge", 8, [&](Kernels& k, Side& a) {
      k.margin_hinge(a.out(weight), a.out(old), a.in(z), a.in(label), a.in(weight), 20.0f, B, P, K, accumulate);
    });
    compare("necessity_hinge", 8, [&](Kernels& k, Side& a) {
      k.necessity_hinge(a.out(weight), a.out(old), a.in(z), a.in(target), a.in(label), a.in(weight), 20.0f, B, P, K, accumulate);
    });
    compare("necessity_log", 200, [&](Kernels& k, Side& a) {
      k.necessity_log(a.out(weight), a.out(old), a.in(z), a.in(label), a.in(weight), B, P, K, accumulate);
    });
  }
  compare("class_scores", 200,
          [&](Kernels& k, Side& a) { k.class_scores(a.out(labels(P * B, K)), a.out(weight), a.in(z), a.in(label), B, P, K); });
}

TEST_F(CudaKernelsTest, RegularisersAndAdam) {
  const auto m = random(B * HW, 0, 1), old = random(B * HW), weight = random(B * 3, 1, 2), area = random(B, 0.2, 0.8);
  for (const bool accumulate : {false, true}) {
    compare("mask_regulariser", 32,
            [&](Kernels& k, Side& a) { k.mask_regulariser(a.out(weight), a.out(old), a.in(m), a.in(weight), 8, B, H, W, accumulate); });
    compare("sorted_area", 16,
            [&](Kernels& k, Side& a) { k.sorted_area(a.out(area), a.out(old), a.in(m), a.in(area), a.in(weight), B, HW, accumulate); });
  }
  const AdamOptions options{999, 0.8, 0.9, 1e-6};  // the rate is read from the device
  compare("adam", 16, [&](Kernels& k, Side& a) {
    const AdamTensor tensors[] = {{a.out(m), a.out(old), a.out(m), a.in(old), B * HW}, {a.out(old), a.out(m), a.out(m), a.in(m), B * HW}};
    k.adam(tensors, options, a.in(std::vector<uint32_t>{3}), a.in(std::vector<double>{0.05}), 0.5f);
  });
}

TEST_F(CudaKernelsTest, EndOfTheStep) {
  const auto map = random(B * HW), taps = random(8, 0, 0.5), act = random(2 * B), ones = std::vector<float>(B, 1.0f);
  const std::vector<uint32_t> step{2};
  compare("gaussian_smooth", 32, [&](Kernels& k, Side& a) {
    const SmoothTable<float> table{a.in(taps), a.in(std::vector<int32_t>{1, 3}), 2, 4};
    k.gaussian_smooth(a.out(map), a.in(map), table, a.in(step), B, H, W);
  });
  auto hard = map;
  for (float& v : hard) v = v > 0 ? 1.0f : 0.0f;
  compare("area_control", 0, [&](Kernels& k, Side& a) {
    AreaState state;
    const AreaControl control{0.5, 2, 2, 1, 1, true};
    k.area_control(a.in(std::vector<AreaState>(B, state)), a.out(ones), a.out(map), a.out(std::vector<float>(2 * B)), a.in(hard),
                   a.in(std::vector<int32_t>{1, 2, 1, 2}), a.in(std::vector<float>(2 * B, 0.7f)), a.in(std::vector<int32_t>{1, 2}),
                   a.in(std::vector<double>{0.3, 0.2}), a.in(step), control, B, HW);
  });
  compare("record_step", 4, [&](Kernels& k, Side& a) {
    StepTerms<float> terms;
    terms.act = a.in(act), terms.act_weight = a.in(ones), terms.taps = 2, terms.ce = a.in(ones);
    terms.weight[kTraceAct] = 2;
    k.record_step(a.out(std::vector<float>(3 * B * kTraceColumns)), terms, a.in(step), 3, B);
  });
}

TEST_F(CudaKernelsTest, Methods) {
  const auto w = random(B * HW), q = random(B * HW, 0.6, 3), ds = random(B * HW);
  const std::vector<float> scratch(static_cast<size_t>(variable_smooth_scratch(2, B, H, W)));
  compare("variable_smooth", 64, [&](Kernels& k, Side& a) { k.variable_smooth(a.out(w), a.in(scratch), a.in(w), a.in(q), 2, B, H, W); });
  compare("variable_smooth_backward", 256, [&](Kernels& k, Side& a) {
    k.variable_smooth_backward(a.out(w), a.out(q), a.in(scratch), a.in(ds), a.in(w), a.in(q), 0.5f, 2, B, H, W);
  });
  compare("clamp_below", 0, [&](Kernels& k, Side& a) { k.clamp_below(a.out(w), 0.25f, B * HW); });
  SmoothMaxShape shape;
  shape.step = 2, shape.radius = 1, shape.height = H, shape.width = W;
  const int64_t cells = B * shape.cells_high() * shape.cells_wide();
  const auto grid = random(cells, 0, 1), table = random(shape.support() * shape.support(), 0, 1), M = random(B * HW, 0, 1),
             Z = random(B * HW, 1, 2);
  compare("smooth_max", 256, [&](Kernels& k, Side& a) { k.smooth_max(a.out(w), a.out(q), a.in(grid), a.in(table), shape, B); });
  compare("smooth_max_backward", 1024,
          [&](Kernels& k, Side& a) { k.smooth_max_backward(a.out(grid), a.in(ds), a.in(M), a.in(Z), a.in(grid), a.in(table), shape, B); });
  const auto levels = random(3 * C * HW), dout = random(B * C * HW);
  compare("pyramid_compose", 8, [&](Kernels& k, Side& a) { k.pyramid_compose(a.out(dout), a.in(M), a.in(levels), 3, B, C, HW); });
  for (const bool accumulate : {false, true})
    compare("pyramid_compose_backward", 32,
            [&](Kernels& k, Side& a) { k.pyramid_compose_backward(a.out(w), a.in(dout), a.in(M), a.in(levels), 3, B, C, HW, accumulate); });
}

TEST_F(CudaKernelsTest, Selection) {
  const auto x = random(C * HW), colour = random(C), set = random(2 * C * HW), gradient = random(3 * C * HW);
  std::vector<uint8_t> masks;
  for (int64_t i = 0; i < 2 * HW; ++i) masks.push_back(static_cast<uint8_t>(integer(0, 1)));
  const std::vector<SelectJob> jobs{{0, -1, 0, {}}, {1, 1, 1, {1, 0, 3, 2}}, {0, 1, 0, {}}};
  const auto sources = [&](Side& a) { return SelectSources<float>{a.in(x), a.in(colour), a.in(masks), {nullptr, a.in(set)}}; };
  for (const bool flag : {false, true}) {
    compare("select_compose", 0, [&](Kernels& k, Side& a) { k.select_compose(a.out(gradient), sources(a), a.in(jobs), flag, 3, C, H, W); });
    compare("select_gain", 64, [&](Kernels& k, Side& a) {
      k.select_gain(a.out(std::vector<float>(HW, 0.5f)), a.in(gradient), sources(a), a.in(jobs), -1.0f, flag, 3, C, H, W, flag);
    });
  }
}

TEST_F(CudaKernelsTest, ScratchGrowsBeforeACaptureAndNotInIt) {
  const auto m = random(64 * 64, 0, 1), weight = random(3);
  Device<float> dm(m), dw(weight), value(size_t{3}), dmask(m.size());
  const auto regularise = [&](int64_t side) {
    cuda_.mask_regulariser(value.data(), dmask.data(), dm.data(), dw.data(), 8, 1, side, side, false);
  };
  EXPECT_EQ(cuda_.scratch_bytes(), 0u);
  regularise(8);
  const size_t small = cuda_.scratch_bytes();
  EXPECT_GT(small, 0u);
  cuda_.set_capturing(true);
  regularise(8);
  try {
    regularise(64);
    FAIL() << "scratch grew in a capture";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kInternal);
    EXPECT_NE(std::string(e.what()).find("run the step once before it is recorded"), std::string::npos) << e.what();
  }
  EXPECT_EQ(cuda_.scratch_bytes(), small);
  cuda_.set_capturing(false);
  regularise(64);
  EXPECT_GE(cuda_.scratch_bytes(), 2 * small);
}

TEST_F(CudaKernelsTest, OutgrownScratchStays) {
  actmatch::cuda::GrowingScratch scratch;
  EXPECT_EQ(scratch.get(0, true), nullptr);
  auto* first = static_cast<char*>(scratch.get(16, false));
  check(cudaMemset(first, 1, 16));
  void* second = scratch.get(100, false);
  EXPECT_NE(second, first);
  check(cudaMemset(first, 2, 16));  // a recorded step may still use it
  EXPECT_EQ(scratch.get(64, true), second) << "less is had from the same block";
}

}  // namespace
}  // namespace actmatch::kernels::cuda
