#include "kernels/adam.h"

#include "tests/kernels/kernel_test_util.h"

namespace actmatch::kernels {
namespace {

template <class T>
std::vector<T> golden_run(T gradient_scale) {
  const AdamOptions options{0.05, 0.8, 0.99, 1e-6};
  std::vector<T> parameter{T(0.5), T(-1), T(2), T(0)}, first(4), second(4);
  for (int step = 1; step <= 5; ++step) {
    std::vector<T> gradient{T(0.1 * step), T(-3.0 / step), T(step % 2 ? -1 : 1), T(1e-7 * step)};
    for (T& g : gradient) g /= gradient_scale;
    adam_ref(parameter.data(), first.data(), second.data(), gradient.data(), 4, options, step, gradient_scale);
  }
  return parameter;
}

// From adam_golden.py (torch.optim.Adam, double).
const Vec kGolden{0.24933437962724972, -0.7884289404502074, 2.0670729027766526, -0.04385531888736721};

TEST(Adam, AgreesWithPyTorch) {
  expect_close(golden_run<double>(1.0), kGolden, 1e-14, "double");  // five steps, a few roundings each
  expect_close(golden_run<float>(1.0f), kGolden, 5e-7, "float");
}

TEST(Adam, GradientScaleMultipliesTheGradient) {
  expect_close(golden_run<double>(64.0), kGolden, 1e-14, "scaled");
  // The scale is not without effect: with epsilon comparable to the gradient, unscaled gradients move less.
  Vec plain{0}, scaled{0}, first{0}, second{0}, first2{0}, second2{0};
  const Vec tiny{1e-8};
  adam_ref(plain.data(), first.data(), second.data(), tiny.data(), 1, AdamOptions{}, 1, 1.0);
  adam_ref(scaled.data(), first2.data(), second2.data(), tiny.data(), 1, AdamOptions{}, 1, 100.0);
  EXPECT_NEAR(plain[0], -0.5e-3, 1e-12);        // g / (g + epsilon) = 1/2
  EXPECT_NEAR(scaled[0], -1e-3 / 1.01, 1e-12);  // 100 g / (100 g + epsilon)
}

TEST(Adam, FirstStepByHand) {
  // After bias correction the first step is lr * g / (|g| + epsilon), whatever the betas.
  Vec parameter{1, 1, 1}, first(3), second(3);
  const Vec gradient{2, -0.5, 0};
  adam_ref(parameter.data(), first.data(), second.data(), gradient.data(), 3, AdamOptions{0.1, 0.9, 0.999, 1e-8}, 1, 1.0);
  EXPECT_NEAR(parameter[0], 0.9, 1e-8);  // epsilon itself
  EXPECT_NEAR(parameter[1], 1.1, 1e-8);
  EXPECT_EQ(parameter[2], 1);
  EXPECT_NEAR(first[0], 0.2, 1e-15);  // one rounding
  EXPECT_NEAR(second[0], 0.004, 1e-15);
}

TEST(Adam, ParametersAreIndependentOfTheirPosition) {
  RandomVectors random(60);
  const Vec gradient = random.normal(101);
  Vec all = random.normal(101), m(101), v(101), one(1), m1(1), v1(1);
  const Vec start = all;
  adam_ref(all.data(), m.data(), v.data(), gradient.data(), 101, AdamOptions{}, 3, 1.0);
  for (size_t i = 0; i < 101; ++i) {  // vector body and tail give the same bits
    one[0] = start[i], m1[0] = v1[0] = 0;
    adam_ref(one.data(), m1.data(), v1.data(), &gradient[i], 1, AdamOptions{}, 3, 1.0);
    ASSERT_EQ(one[0], all[i]);
  }
}

}  // namespace
}  // namespace actmatch::kernels
