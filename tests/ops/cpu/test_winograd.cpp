// Winograd's convolution by itself at sizes that its rule of use would leave to oneDNN, and as the backend uses it.
#include <omp.h>

#include <limits>

#include "engine/backend/cpu/ops/winograd.h"
#include "tests/ops/graph_maker.h"

namespace actmatch::test {
namespace {

using cpu::Winograd;
using cpu::WinogradShape;

// The transforms' entries cost F(4x4) up to a digit against direct sums in fp32, which land between 1e-14 and 1e-12; up to 72 channels it
// stays below 1e-12 here. Anything that is wrong, if only in one pixel, is far above.
const Tolerance kTransformed = squared(4e-12);

constexpr float kUntouched = 12345.0f;

int64_t blocked_offset(const Shape& s, int64_t n, int64_t c, int64_t h, int64_t w) {
  return (((n * (s[1] / 8) + c / 8) * s[2] + h) * s[3] + w) * 8 + c % 8;
}
template <class F>
void each_element(const Shape& s, const F& f) {
  int64_t i = 0;
  for (int64_t n = 0; n < s[0]; ++n)
    for (int64_t c = 0; c < s[1]; ++c)
      for (int64_t h = 0; h < s[2]; ++h)
        for (int64_t w = 0; w < s[3]; ++w) f(i++, blocked_offset(s, n, c, h, w));
}
std::vector<float> blocked(const Doubles& a) {
  std::vector<float> out(a.data.size());
  each_element(a.shape, [&](int64_t i, int64_t at) { out[static_cast<size_t>(at)] = static_cast<float>(a[i]); });
  return out;
}
Doubles unblocked(const std::vector<float>& a, const Shape& shape) {
  Doubles out(shape);
  each_element(shape, [&](int64_t i, int64_t at) { out[i] = a[static_cast<size_t>(at)]; });
  return out;
}

// Runs with a guard behind the output and unaligned memory everywhere.
std::vector<float> run(const WinogradShape& s, const Doubles& x, const Doubles& w, bool turned, Winograd::Arguments a, const Doubles* gate,
                       const std::vector<float>& before) {
  const Winograd winograd(s);
  std::vector<float> u(Winograd::weight_floats(s.C, s.K)), weights(w.data.begin(), w.data.end());
  Winograd::transform_weights(u.data(), weights.data(), s.C, s.K, turned);
  std::vector<char> scratch(winograd.scratch_bytes());
  const std::vector<float> in = blocked(x), gates = gate ? blocked(*gate) : std::vector<float>();
  std::vector<float> out = before;
  const size_t count = out.size();
  out.resize(count + 16, kUntouched);
  a.y = out.data(), a.x = in.data(), a.u = u.data(), a.scratch = scratch.data();
  if (gate) a.gate = gates.data();
  winograd.run(a);
  for (size_t i = count; i < out.size(); ++i) EXPECT_EQ(out[i], kUntouched);
  out.resize(count);
  return out;
}

struct Case {
  int64_t N, C, K, H, W, pad;
};
const std::vector<Case> kCases = {{1, 8, 8, 1, 1, 1},     {2, 8, 16, 3, 3, 0},  {1, 16, 8, 4, 4, 1},   {3, 24, 40, 7, 5, 1},
                                  {2, 40, 24, 6, 9, 0},   {1, 72, 8, 13, 2, 1}, {2, 8, 72, 5, 11, 1},  {2, 48, 56, 17, 14, 1},
                                  {1, 64, 72, 12, 19, 0}, {1, 8, 8, 2, 3, 2},   {2, 16, 32, 30, 29, 1}};

// Keeps the outputs near 1, where the activations bend: clipping sums of size 20 to 1 would leave their rounding errors and no more.
Doubles kernels(RandomArrays& random, int64_t K, int64_t C) {
  const double size = std::sqrt(3.0 / static_cast<double>(9 * C));
  return random.uniform({K, C, 3, 3}, -size, size);
}

std::string name_of(const Case& c) {
  return std::to_string(c.N) + "x" + std::to_string(c.C) + "x" + std::to_string(c.H) + "x" + std::to_string(c.W) + " to " +
         std::to_string(c.K) + ", padding " + std::to_string(c.pad);
}

class WinogradTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!Winograd::available()) GTEST_SKIP() << "needs AVX2 and FMA";
  }
};

TEST_F(WinogradTest, ForwardWithBiasAndActivation) {
  for (const Case& c : kCases)
    for (int kind = 0; kind < 4; ++kind) {
      SCOPED_TRACE(name_of(c) + ", kind " + std::to_string(kind));
      RandomArrays random(21);
      const Doubles x = random.uniform({c.N, c.C, c.H, c.W}), w = kernels(random, c.K, c.C), bias = random.uniform({c.K});
      Doubles want = oracle::forward<double>(ConvAttrs{{1, 1}, {c.pad, c.pad, c.pad, c.pad}}, {&x, &w, kind > 0 ? &bias : nullptr});
      const WinogradShape s{c.N, c.C, c.K, c.H, c.W, want.shape[2], want.shape[3], c.pad, c.pad};
      Winograd::Arguments a{};
      const std::vector<float> biases(bias.data.begin(), bias.data.end());
      if (kind > 0) a.bias = biases.data();
      if (kind == 2) a.activation = {true, true, 0, 0};
      if (kind == 3) a.activation = {true, false, -0.5f, 0.75f};
      for (double& v : want.data) {
        if (kind == 2) v = std::max(v, 0.0);
        if (kind == 3) v = std::clamp(v, -0.5, 0.75);
      }
      const std::vector<float> nothing(want.data.size(), std::numeric_limits<float>::quiet_NaN());
      EXPECT_TRUE(matches(unblocked(run(s, x, w, false, a, nullptr, nothing), want.shape), want, kTransformed));
    }
}

TEST_F(WinogradTest, BackwardThroughAnActivationAddedToWhatIsThere) {
  for (const Case& c : kCases)
    for (int kind = 0; kind < 3; ++kind) {
      SCOPED_TRACE(name_of(c) + ", kind " + std::to_string(kind));
      RandomArrays random(22);
      const Doubles x = random.uniform({c.N, c.C, c.H, c.W}), w = kernels(random, c.K, c.C);
      const ConvAttrs attrs{{1, 1}, {c.pad, c.pad, c.pad, c.pad}};
      const Doubles y = oracle::forward<double>(attrs, {&x, &w});
      Doubles dy = random.uniform(y.shape), gate = random.uniform(y.shape);
      gate[0] = kind == 2 ? 0.5 : 0.0;  // on the edge: shut
      WinogradShape s{c.N, c.K, c.C, y.shape[2], y.shape[3], c.H, c.W, 2 - c.pad, 2 - c.pad};
      Winograd::Arguments a{};
      if (kind == 1) a.gate_activation = {true, true, 0, 0};
      if (kind == 2) a.gate_activation = {true, false, -0.25f, 0.5f};
      a.accumulate = kind > 0;
      Doubles before = random.uniform(x.shape);
      const std::vector<float> got = run(s, dy, w, true, a, kind > 0 ? &gate : nullptr, blocked(before));
      for (int64_t i = 0; i < dy.count(); ++i) {
        if (kind == 1 && !(gate[i] > 0)) dy[i] = 0;
        if (kind == 2 && !(gate[i] > -0.25 && gate[i] < 0.5)) dy[i] = 0;
      }
      Doubles want = oracle::backward<double>(attrs, {&x, &w}, y, dy)[0];
      for (int64_t i = 0; i < want.count() && kind > 0; ++i) want[i] += before[i];
      EXPECT_TRUE(matches(unblocked(got, x.shape), want, kTransformed));
    }
}

TEST_F(WinogradTest, NaNsStayInTheirTileAndAreNotClampedWithoutAnActivation) {
  RandomArrays random(23);
  Doubles x = random.uniform({1, 8, 12, 12});
  const Doubles w = random.uniform({8, 8, 3, 3});
  x[0] = std::numeric_limits<double>::quiet_NaN();
  const Doubles y = unblocked(run({1, 8, 8, 12, 12, 12, 12, 1, 1}, x, w, false, {}, nullptr, std::vector<float>(8 * 144)), x.shape);
  EXPECT_TRUE(std::isnan(y[0]));
  EXPECT_FALSE(std::isnan(y[11 * 12 + 11]));
}

TEST_F(WinogradTest, NeitherThreadsNorTheBatchChangeABit) {
  RandomArrays random(24);
  const Doubles x = random.uniform({3, 40, 23, 26}), w = random.uniform({72, 40, 3, 3});
  const WinogradShape s{3, 40, 72, 23, 26, 23, 26, 1, 1};
  const int threads = omp_get_max_threads();
  std::vector<std::vector<float>> results;
  for (int t : {1, 2, 3, 7}) {
    omp_set_num_threads(t);
    results.push_back(run(s, x, w, false, {}, nullptr, std::vector<float>(3 * 72 * 23 * 26)));
  }
  omp_set_num_threads(threads);
  for (const auto& r : results) EXPECT_EQ(r, results.front());

  Doubles last({1, 40, 23, 26});
  for (int64_t i = 0; i < last.count(); ++i) last[i] = x[2 * last.count() + i];
  const auto alone = run({1, 40, 72, 23, 26, 23, 26, 1, 1}, last, w, false, {}, nullptr, std::vector<float>(72 * 23 * 26));
  EXPECT_TRUE(std::equal(alone.begin(), alone.end(), results.front().begin() + 2 * 72 * 23 * 26));
}

TEST_F(WinogradTest, InTheBackend) {
  for (const Case& c : {Case{2, 32, 40, 10, 9, 1}, Case{1, 40, 32, 13, 14, 0}}) {
    const int64_t grown = 2 * c.pad - 2;
    if (!Winograd::pays({c.N, c.C, c.K, c.H, c.W, c.H + grown, c.W + grown, c.pad, c.pad}))
      GTEST_SKIP() << "the backend leaves it to oneDNN here";
    for (bool bias : {false, true}) {
      RandomArrays random(25);
      OpCase op{name_of(c),
                ConvAttrs{{1, 1}, {c.pad, c.pad, c.pad, c.pad}},
                {{random.uniform({c.N, c.C, c.H, c.W})}, constant(kernels(random, c.K, c.C))}};
      if (bias) op.operands.push_back(constant(random.uniform({c.K})));
      check_backend(op, kTransformed, kTransformed);
    }
  }
}

TEST_F(WinogradTest, IsTakenForFrozenWeightsOnly) {
  if (!Winograd::pays({2, 32, 32, 16, 16, 16, 16, 1, 1})) GTEST_SKIP() << "the backend leaves it to oneDNN here";
  for (Leaf leaf : {Leaf::kConstant, Leaf::kParameter}) {
    GraphMaker g(26, leaf);
    ValueId v = g.conv(g.input(g.random().uniform({2, 32, 16, 16})), 32, 3, 1, 1);
    g.output(v);
    const auto program = tested_backend().compile(g.graph, g.options);
    program->enable_profiling(true);
    program->forward();
    bool found = false;
    for (const auto& node : program->profile()) found = found || node.implementation.find("winograd") != std::string::npos;
    EXPECT_EQ(found, leaf == Leaf::kConstant);
  }
}

// Residual blocks: two gradients meet, activations are undone on the way, and the same weights serve two convolutions.
TEST_F(WinogradTest, ResidualBlocks) {
  clear_of_kinks(300, Leaf::kConstant, [](GraphMaker& g) {
    ValueId x = g.relu(g.conv(g.input(g.random().uniform({2, 3, 11, 10})), 32, 3, 1, 1));
    const ValueId w = g.weight({32, 32, 3, 3}, 0.12), b = g.weight({32}, 0.1);
    const ConvAttrs same{{1, 1}, {1, 1, 1, 1}};
    for (int block = 0; block < 2; ++block)
      x = g.relu(g.sum(g.add(same, {g.unary(UnaryKind::kClip, g.add(same, {x, w, b}), 0, 6), w, b}), x));
    g.output(g.global_mean(x));
  }).check(squared(1e-11), squared(1e-11));
}

}  // namespace
}  // namespace actmatch::test
