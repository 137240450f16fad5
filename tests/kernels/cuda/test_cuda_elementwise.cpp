// Functions of one argument, clips and sums over contiguous memory.
#include "tests/kernels/cuda/laid_out.h"
#include "tests/oracle/elementwise.h"

namespace actmatch::kernels::cuda {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN(), kInfinity = std::numeric_limits<double>::infinity();
constexpr int64_t kCounts[] = {0, 1, 7, 8, 33, 1031};
int64_t draw_count(RandomSizes& r) { return r.size(600); }
constexpr auto kLastUnary = static_cast<int>(UnaryKind::kIdentity);

template <class Op, class Kind_>
bool same_number(Op op, Kind_ kind) {
  return static_cast<int>(op) == static_cast<int>(kind);
}

TEST(Operators, HaveTheNumbersOfTheGraph) {
  EXPECT_TRUE(same_number(UnaryOp::kRelu, UnaryKind::kRelu));
  EXPECT_TRUE(same_number(UnaryOp::kLeakyRelu, UnaryKind::kLeakyRelu));
  EXPECT_TRUE(same_number(UnaryOp::kClip, UnaryKind::kClip));
  EXPECT_TRUE(same_number(UnaryOp::kSigmoid, UnaryKind::kSigmoid));
  EXPECT_TRUE(same_number(UnaryOp::kTanh, UnaryKind::kTanh));
  EXPECT_TRUE(same_number(UnaryOp::kExp, UnaryKind::kExp));
  EXPECT_TRUE(same_number(UnaryOp::kLog, UnaryKind::kLog));
  EXPECT_TRUE(same_number(UnaryOp::kSqrt, UnaryKind::kSqrt));
  EXPECT_TRUE(same_number(UnaryOp::kReciprocal, UnaryKind::kReciprocal));
  EXPECT_TRUE(same_number(UnaryOp::kNeg, UnaryKind::kNeg));
  EXPECT_TRUE(same_number(UnaryOp::kAbs, UnaryKind::kAbs));
  EXPECT_TRUE(same_number(UnaryOp::kErf, UnaryKind::kErf));
  EXPECT_TRUE(same_number(UnaryOp::kHardSigmoid, UnaryKind::kHardSigmoid));
  EXPECT_TRUE(same_number(UnaryOp::kHardSwish, UnaryKind::kHardSwish));
  EXPECT_TRUE(same_number(UnaryOp::kGelu, UnaryKind::kGelu));
  EXPECT_TRUE(same_number(UnaryOp::kGeluTanh, UnaryKind::kGeluTanh));
  EXPECT_TRUE(same_number(UnaryOp::kElu, UnaryKind::kElu));
  EXPECT_TRUE(same_number(UnaryOp::kSoftplus, UnaryKind::kSoftplus));
  EXPECT_TRUE(same_number(UnaryOp::kFloor, UnaryKind::kFloor));
  EXPECT_TRUE(same_number(UnaryOp::kCeil, UnaryKind::kCeil));
  EXPECT_TRUE(same_number(UnaryOp::kRound, UnaryKind::kRound));
  EXPECT_TRUE(same_number(UnaryOp::kSin, UnaryKind::kSin));
  EXPECT_TRUE(same_number(UnaryOp::kCos, UnaryKind::kCos));
  EXPECT_TRUE(same_number(UnaryOp::kTan, UnaryKind::kTan));
  EXPECT_TRUE(same_number(UnaryOp::kAsin, UnaryKind::kAsin));
  EXPECT_TRUE(same_number(UnaryOp::kAcos, UnaryKind::kAcos));
  EXPECT_TRUE(same_number(UnaryOp::kAtan, UnaryKind::kAtan));
  EXPECT_TRUE(same_number(UnaryOp::kSinh, UnaryKind::kSinh));
  EXPECT_TRUE(same_number(UnaryOp::kCosh, UnaryKind::kCosh));
  EXPECT_TRUE(same_number(UnaryOp::kAsinh, UnaryKind::kAsinh));
  EXPECT_TRUE(same_number(UnaryOp::kAcosh, UnaryKind::kAcosh));
  EXPECT_TRUE(same_number(UnaryOp::kAtanh, UnaryKind::kAtanh));
  EXPECT_TRUE(same_number(UnaryOp::kNot, UnaryKind::kNot));
  EXPECT_TRUE(same_number(UnaryOp::kIdentity, UnaryKind::kIdentity));
  EXPECT_TRUE(same_number(BinaryOp::kAdd, BinaryKind::kAdd) && same_number(BinaryOp::kSub, BinaryKind::kSub));
  EXPECT_TRUE(same_number(BinaryOp::kMul, BinaryKind::kMul) && same_number(BinaryOp::kDiv, BinaryKind::kDiv));
  EXPECT_TRUE(same_number(BinaryOp::kPow, BinaryKind::kPow) && same_number(BinaryOp::kMin, BinaryKind::kMin));
  EXPECT_TRUE(same_number(BinaryOp::kMax, BinaryKind::kMax) && same_number(BinaryOp::kEqual, BinaryKind::kEqual));
  EXPECT_TRUE(same_number(BinaryOp::kLess, BinaryKind::kLess) && same_number(BinaryOp::kLessOrEqual, BinaryKind::kLessOrEqual));
  EXPECT_TRUE(same_number(BinaryOp::kGreater, BinaryKind::kGreater) && same_number(BinaryOp::kAnd, BinaryKind::kAnd));
  EXPECT_TRUE(same_number(BinaryOp::kGreaterOrEqual, BinaryKind::kGreaterOrEqual) && same_number(BinaryOp::kOr, BinaryKind::kOr));
  EXPECT_TRUE(same_number(ReduceOp::kSum, ReduceKind::kSum) && same_number(ReduceOp::kMean, ReduceKind::kMean));
  EXPECT_TRUE(same_number(ReduceOp::kMax, ReduceKind::kMax) && same_number(ReduceOp::kMin, ReduceKind::kMin));
  EXPECT_TRUE(same_number(ResizeOp::kNearest, ResizeMode::kNearest) && same_number(ResizeOp::kLinear, ResizeMode::kLinear));
}

UnaryAttrs attributes(UnaryKind kind) {
  switch (kind) {
    case UnaryKind::kLeakyRelu: return {kind, 0.125f, 0};
    case UnaryKind::kClip: return {kind, -0.5f, 1.0f};
    case UnaryKind::kHardSigmoid: return {kind, 0.25f, 0.5f};
    case UnaryKind::kElu: return {kind, 0.75f, 0};
    default: return {kind, 0, 0};
  }
}

class Unary : public OpTest {
 protected:
  // Values on kinks and at both ends among random ones; positive where the function asks for that, and inside its domain.
  template <class T>
  Array arguments(UnaryKind kind, int64_t count) {
    double low = -4, high = 4;
    bool everywhere = false;  // the function is tame on all numbers
    switch (kind) {
      case UnaryKind::kLog:
      case UnaryKind::kSqrt:
      case UnaryKind::kReciprocal: low = 0.25; break;
      case UnaryKind::kAsin:
      case UnaryKind::kAcos:
      case UnaryKind::kAtanh: low = -0.875, high = 0.875; break;
      case UnaryKind::kAcosh: low = 1.25; break;
      case UnaryKind::kTan: low = -1.25, high = 1.25; break;
      case UnaryKind::kSinh:
      case UnaryKind::kCosh: break;
      default: everywhere = true;
    }
    Array x = random_array<T>({count}, low, high);
    const double special[] = {0, 1, -0.5, 3, -3, 2, -2, 40, -40};
    for (int64_t i = 0; i < count && i < 9 && everywhere; ++i) x[i] = special[i];
    if (kind == UnaryKind::kExp)
      for (double& v : x.data) v = std::min(v, 4.0);  // so that one number does not hide the others' errors
    return x;
  }
  template <class T>
  void agrees(UnaryKind kind, int64_t count) {
    const UnaryAttrs a = attributes(kind);
    const auto op = static_cast<UnaryOp>(kind);
    const std::string what = "function " + std::to_string(static_cast<int>(kind)) + ", " + std::to_string(count);
    const Array x = arguments<T>(kind, count), dy = random_array<T>({count}), old = random_array<T>({count});
    OnDevice<T> dx(x, Kind::kRowMajor), y({count}, Kind::kRowMajor), ddy(dy, Kind::kRowMajor);
    check(unary(nullptr, y.data(), dx.data(), op, a.alpha, a.beta, count));
    const Array want = oracle::forward_of(a, oracle::Operands<double>{&x});
    expect_close<T>(y.get(), want, 8, what);  // a few roundings and the functions' own 2
    if (!oracle::has_derivative(kind)) {
      EXPECT_EQ(unary_backward(nullptr, dx.data(), ddy.data(), dx.data(), y.data(), op, a.alpha, a.beta, count, false),
                cudaErrorInvalidValue);
      return;
    }
    const Array gradient = oracle::backward_of(a, oracle::Operands<double>{&x}, want, dy)[0];
    // From a y rounded to bfloat16 the derivative of tanh, 1 - y^2, is off by 2 * 2^-9 of dy: 2^16 roundings of fp32.
    const double epsilons = std::is_same_v<T, bfloat16> ? 0x1.8p17 : 16;
    const bool reads_y = kind == UnaryKind::kRelu || kind == UnaryKind::kSigmoid || kind == UnaryKind::kTanh || kind == UnaryKind::kExp ||
                         kind == UnaryKind::kSqrt || kind == UnaryKind::kReciprocal;
    const bool reads_neither = kind == UnaryKind::kNeg || kind == UnaryKind::kIdentity;
    const double least = reads_y ? largest_of(dy) : 0;  // where the gradient is small, that error is not
    const T* saved_x = reads_y || reads_neither ? nullptr : dx.data();
    const T* saved_y = reads_y ? y.data() : nullptr;
    OnDevice<T> fresh({count}, Kind::kRowMajor), sum(old, Kind::kRowMajor);
    check(unary_backward(nullptr, fresh.data(), ddy.data(), saved_x, saved_y, op, a.alpha, a.beta, count, false));
    expect_close<T>(fresh.get(), gradient, epsilons, what + ", backward", least);
    check(unary_backward(nullptr, sum.data(), ddy.data(), saved_x, saved_y, op, a.alpha, a.beta, count, true));
    expect_close<T>(sum.get(), plus(gradient, old), epsilons, what + ", backward, added", std::max(least, largest_of(gradient)));
  }
};

TEST_F(Unary, ValuesAndGradients) {
  in_all_ways([&] {
    for (int kind = 0; kind <= kLastUnary; ++kind)
      for (const int64_t count : and_drawn(kCounts, draw_count, 1)) {
        agrees<float>(static_cast<UnaryKind>(kind), count);
        agrees<bfloat16>(static_cast<UnaryKind>(kind), count);
      }
  });
}

TEST_F(Unary, PassesNaNOn) {
  in_all_ways([&] {
    for (int kind = 0; kind <= kLastUnary; ++kind) {
      if (static_cast<UnaryKind>(kind) == UnaryKind::kNot) continue;
      const UnaryAttrs a = attributes(static_cast<UnaryKind>(kind));
      OnDevice<float> x(Array({5}, kNaN), Kind::kRowMajor);
      check(unary(nullptr, x.data(), x.data(), static_cast<UnaryOp>(kind), a.alpha, a.beta, 5));
      for (const double v : x.get().data) EXPECT_TRUE(std::isnan(v)) << kind;
    }
  });
}

TEST_F(Unary, SmallResultsKeepTheirDigits) {
  // softplus(-20) and elu(-1e-4), by log1p and expm1.
  const std::vector<float> x{-20.0f, -1e-4f};
  Device<float> dx(x), y(2);
  check(unary(nullptr, y.data(), dx.data(), UnaryOp::kSoftplus, 0, 0, 2));
  EXPECT_NEAR(static_cast<double>(y.get()[0]), std::log1p(std::exp(-20.0)), 1e-15);
  check(unary(nullptr, y.data(), dx.data(), UnaryOp::kElu, 1, 0, 2));
  EXPECT_NEAR(static_cast<double>(y.get()[1]), std::expm1(static_cast<double>(-1e-4f)), 1e-11);
}

TEST_F(Unary, Not) {
  in_all_ways([&] {
    const std::vector<uint8_t> x{0, 1, 2, 0, 0, 1, 0, 255, 0, 1, 1};
    Device<uint8_t> dx(x), y(x.size());
    check(logical_not(nullptr, y.data(), dx.data(), 11));
    EXPECT_EQ(y.get(), (std::vector<uint8_t>{1, 0, 0, 1, 1, 0, 1, 0, 1, 0, 0}));
  });
}

class Elementwise : public OpTest {
 protected:
  static double clipped_to(Clip c, double v) {
    return v < static_cast<double>(c.low) ? static_cast<double>(c.low) : v > static_cast<double>(c.high) ? static_cast<double>(c.high) : v;
  }
  static bool open_at(Clip c, double y) {
    return y > static_cast<double>(c.low) && (y < static_cast<double>(c.high) || std::isinf(c.high));
  }
  template <class T>
  void clips(Clip clip, int64_t count) {
    Array a = random_array<T>({count}), b = random_array<T>({count}), y = random_array<T>({count});
    const double edges[] = {0, -0.5, 1, kInfinity, kNaN};
    for (int64_t i = 0; i < count && i < 5; ++i) y[i] = edges[i];
    Array want_clip = y, want_back = a, want_add = a, want_add_back = a;
    for (int64_t i = 0; i < count; ++i) {
      want_clip[i] = clipped_to(clip, y[i]);
      want_back[i] = open_at(clip, y[i]) ? a[i] : 0;
      want_add[i] = clipped_to(clip, a[i] + b[i]);
      want_add_back[i] = open_at(clip, y[i]) ? a[i] + b[i] : 0;
    }
    OnDevice<T> da(a, Kind::kRowMajor), db(b, Kind::kRowMajor), dy(y, Kind::kRowMajor), out({count}, Kind::kRowMajor);
    check(clip_backward(nullptr, out.data(), da.data(), dy.data(), clip, count));
    expect_same(out.get(), want_back, "clip, backward");
    check(add(nullptr, out.data(), da.data(), db.data(), clip, count));
    expect_close<T>(out.get(), want_add, 1, "add");
    check(add_clip_backward(nullptr, db.data(), da.data(), db.data(), dy.data(), clip, count));
    expect_close<T>(db.get(), want_add_back, 1, "add, backward, in place");
    check(clip_backward(nullptr, da.data(), da.data(), dy.data(), clip, count));
    expect_same(da.get(), want_back, "clip, backward, in place");
    check(clip_inplace(nullptr, dy.data(), clip, count));
    expect_same(dy.get(), want_clip, "clip");
  }
  template <class To, class From>
  void scales(int64_t count) {
    const Array x = random_array<From>({count}), old = random_array<To>({count});
    Array want = x;
    for (double& v : want.data) v *= -0.375;
    OnDevice<From> dx(x, Kind::kRowMajor);
    OnDevice<To> y({count}, Kind::kRowMajor), sum(old, Kind::kRowMajor);
    check(scale(nullptr, y.data(), dx.data(), -0.375f, count, false));
    expect_close<To>(y.get(), want, 1, "scale");
    check(scale(nullptr, sum.data(), dx.data(), -0.375f, count, true));
    expect_close<To>(sum.get(), plus(want, old), 2, "scale, added", largest_of(want));
  }
};

TEST_F(Elementwise, ClipsAndSums) {
  in_all_ways([&] {
    for (const Clip clip : {Clip{}, Clip{0, INFINITY}, Clip{-0.5f, 1}})
      for (const int64_t count : and_drawn(kCounts, draw_count)) {
        clips<float>(clip, count);
        clips<bfloat16>(clip, count);
      }
  });
}

TEST_F(Elementwise, Scales) {
  in_all_ways([&] {
    for (const int64_t count : and_drawn(kCounts, draw_count)) {
      scales<float, float>(count);
      scales<float, bfloat16>(count);
      scales<bfloat16, float>(count);
      scales<bfloat16, bfloat16>(count);
    }
  });
}

}  // namespace
}  // namespace actmatch::kernels::cuda
