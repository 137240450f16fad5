// Reductions over axes and softmax along one, with gradients; the bits of a result do not depend on the batch.
#include "tests/oracle/reduce.h"

#include "tests/kernels/cuda/laid_out.h"
#include "tests/oracle/elementwise.h"

namespace actmatch::kernels::cuda {
namespace {

struct Case {
  Shape shape;
  std::vector<int64_t> axes;
};
const Case kCases[] = {{{}, {}},
                       {{7}, {0}},
                       {{5, 3}, {0}},
                       {{5, 3}, {1}},
                       {{5, 3}, {}},
                       {{2, 16, 3, 5}, {2, 3}},
                       {{2, 3, 4, 5}, {1}},
                       {{2, 3, 4, 5}, {0, 2}},
                       {{3, 1, 2, 1}, {1, 2}},
                       {{2, 3, 2, 2, 3, 2}, {0, 2, 4}},
                       {{2, 3, 2, 2, 3, 2}, {1, 3, 5}},
                       {{3, 700}, {1}},
                       {{700, 3}, {0}},
                       {{1300, 2, 2}, {0}},
                       {{2, 9000}, {1}}};

Case draw_case(RandomSizes& r) {
  Case c{random_shape(r, 4, 4, 150), {}};
  for (size_t axis = 0; axis < c.shape.size(); ++axis)
    if (r.chance()) c.axes.push_back(static_cast<int64_t>(axis));
  return c;
}

class Reduce : public OpTest {
 protected:
  template <class To, class From>
  void agrees(ReduceKind kind, const Case& c) {
    const bool extreme = kind == ReduceKind::kMax || kind == ReduceKind::kMin;
    const auto op = static_cast<ReduceOp>(kind);
    const ReduceAttrs attrs{kind, c.axes, true};
    const Array x = extreme ? whole_numbers(c.shape, -9, 9) : random_array<From>(c.shape);
    const Array want = oracle::forward_of(attrs, oracle::Operands<double>{&x});
    const std::string what = "reduction " + std::to_string(static_cast<int>(kind)) + " of " + to_string(c.shape);
    OnDevice<From> dx(x, any_kind());
    OnDevice<To> y(want.shape, any_kind());
    Dims ys = y.strides(c.shape);
    for (const int64_t a : c.axes) ys.at[a] = 0;
    const Dims extents(c.shape);
    Scratch scratch(reduce_scratch_bytes(extents, ys));
    check(reduce(nullptr, y.data(), dx.data(), op, extents, ys, dx.strides(), false, scratch.data()));
    // Longer sums: each partial sum rounds, the largest result is of the size of a few terms.
    const double epsilons = extreme ? 0 : 400;
    const int64_t terms = x.count() / std::max<int64_t>(want.count(), 1);
    const double summand = kind == ReduceKind::kMean ? sum_of(terms) / static_cast<double>(std::max<int64_t>(terms, 1)) : sum_of(terms);
    expect_close<To>(y.get(), want, epsilons, what, summand);
    if (!extreme) {
      const Array old = random_array<To>(want.shape);
      OnDevice<To> sum(old, Kind::kRowMajor);
      Dims ss = sum.strides(c.shape);
      for (const int64_t a : c.axes) ss.at[a] = 0;
      check(reduce(nullptr, sum.data(), dx.data(), op, extents, ss, dx.strides(), true, scratch.data()));
      expect_close<To>(sum.get(), plus(want, old), epsilons, what + ", added", summand);
    }
    if constexpr (std::is_same_v<To, From>) {
      const Array dy = random_array<To>(want.shape), old = random_array<To>(c.shape);
      const Array gradient = oracle::backward_of(attrs, oracle::Operands<double>{&x}, want, dy)[0];
      OnDevice<To> ddy(dy, Kind::kRowMajor), saved(want, Kind::kRowMajor);
      Dims ds = ddy.strides(c.shape);
      for (const int64_t a : c.axes) ds.at[a] = 0;
      Scratch back(reduce_backward_scratch_bytes(op, extents, ds));
      for (const bool accumulate : {false, true}) {
        const Kind layout = any_kind();
        OnDevice<To> from(x, layout), to(old, layout);
        check(reduce_backward(nullptr, to.data(), ddy.data(), extreme ? from.data() : nullptr, extreme ? saved.data() : nullptr, op,
                              extents, from.strides(), ds, accumulate, back.data()));
        expect_close<To>(to.get(), accumulate ? plus(gradient, old) : gradient, 4, what + ", backward", accumulate ? 2 : 0);
      }
    }
  }
};

TEST_F(Reduce, ValuesAndGradients) {
  in_all_ways([&] {
    for (const Case& c : and_drawn(kCases, draw_case))
      for (int kind = 0; kind < 4; ++kind) {
        agrees<float, float>(static_cast<ReduceKind>(kind), c);
        agrees<bfloat16, bfloat16>(static_cast<ReduceKind>(kind), c);
        agrees<float, bfloat16>(static_cast<ReduceKind>(kind), c);
      }
  });
}

TEST_F(Reduce, NothingToReduce) {
  Device<float> x(0), y(3);
  const Dims extents{3, 0}, ys{1, 0}, xs{0, 1};
  check(reduce(nullptr, y.data(), x.data(), ReduceOp::kSum, extents, ys, xs, false, nullptr));
  EXPECT_EQ(y.get(), std::vector<float>(3, 0.0f));
  for (const ReduceOp op : {ReduceOp::kMean, ReduceOp::kMax, ReduceOp::kMin})
    EXPECT_EQ(reduce(nullptr, y.data(), x.data(), op, extents, ys, xs, false, nullptr), cudaErrorInvalidValue);
  EXPECT_EQ(reduce(nullptr, y.data(), y.data(), ReduceOp::kMax, Dims{3}, Dims{1}, Dims{1}, true, nullptr), cudaErrorInvalidValue);
  check(reduce(nullptr, y.data(), x.data(), ReduceOp::kMax, Dims{0, 3}, Dims{1, 0}, Dims{3, 1}, false, nullptr));
}

TEST_F(Reduce, ExtremesPassNaNOn) {
  in_all_ways([&] {
    for (const int64_t length : {3, 600}) {
      Array x({2, length}, 1.0);
      x[length / 2] = std::numeric_limits<double>::quiet_NaN();
      OnDevice<float> dx(x, Kind::kRowMajor), y({2}, Kind::kRowMajor);
      Scratch scratch(reduce_scratch_bytes(2, length));
      for (const ReduceOp op : {ReduceOp::kMax, ReduceOp::kMin}) {
        check(reduce(nullptr, y.data(), dx.data(), op, Dims{2, length}, Dims{1, 0}, Dims{length, 1}, false, scratch.data()));
        EXPECT_TRUE(std::isnan(y.get()[0]));
        EXPECT_EQ(y.get()[1], 1.0);
      }
    }
  });
}

// The mean over positions of one image has the same bits in any batch, in both layouts.
TEST_F(Reduce, BitsDoNotDependOnTheBatch) {
  for (const Kind kind : {Kind::kRowMajor, Kind::kChannelsLast})
    for (const auto& [C, HW] : {std::array<int64_t, 2>{5, 49}, {3, 9100}, {40, 700}, {1, 60}}) {
      const Array x = random_array<float>({3, C, HW});
      Array alone({1, C, HW});
      for (int64_t i = 0; i < alone.count(); ++i) alone[i] = x[i];
      const auto mean = [&](const Array& images) {
        const int64_t B = images.shape[0];
        OnDevice<float> dx(images, kind), y({B, C}, Kind::kRowMajor);
        Scratch scratch(reduce_scratch_bytes(B * C, HW));
        check(reduce(nullptr, y.data(), dx.data(), ReduceOp::kMean, Dims{B, C, HW}, Dims{C, 1, 0}, dx.strides(), false, scratch.data()));
        return y.get();
      };
      const Array one = mean(alone), three = mean(x);
      for (int64_t c = 0; c < C; ++c) EXPECT_EQ(one[c], three[c]) << C << " " << HW;
    }
}

TEST_F(Reduce, BiasGradient) {
  in_all_ways([&] {
    using Sizes = std::array<int64_t, 2>;
    const Sizes given[] = {{1, 1}, {33, 5}, {1100, 70}, {3, 1000}, {600, 1}};
    for (const auto& [M, N] : and_drawn(given, [](RandomSizes& r) { return Sizes{r.size(600), r.size(70)}; })) {
      const Array dy = random_array<bfloat16>({M, N});
      Array want = random_array<float>({N});
      OnDevice<float> db(want, Kind::kRowMajor);
      for (int64_t m = 0; m < M; ++m)
        for (int64_t n = 0; n < N; ++n) want[n] += dy.at({m, n});
      OnDevice<bfloat16> ddy(dy, Kind::kRowMajor);
      Scratch scratch(reduce_scratch_bytes(N, M));
      check(bias_gradient(nullptr, db.data(), ddy.data(), M, N, true, scratch.data()));
      expect_close<float>(db.get(), want, 400, "bias gradient", sum_of(M));
    }
  });
}

// The gradient of a broadcast is a sum; broadcasting in the batch and in front.
TEST_F(Reduce, GradientOfExpand) {
  in_all_ways([&] {
    const Array dy = random_array<bfloat16>({4, 3, 5});
    Array want({3, 1});
    oracle::each_index(dy.shape, [&](const oracle::Index& i) { want.at({i[1], 0}) += dy.at(i); });
    OnDevice<bfloat16> ddy(dy, Kind::kChannelsLast), dx({3, 1}, Kind::kRowMajor);
    check(reduce(nullptr, dx.data(), ddy.data(), ReduceOp::kSum, Dims{4, 3, 5}, dx.strides({4, 3, 5}), ddy.strides(), false, nullptr));
    expect_close<bfloat16>(dx.get(), want, 40, "expand, backward");
  });
}

class Softmax : public OpTest {
 protected:
  template <class T>
  void agrees(int64_t outer, int64_t extent, int64_t inner, bool log) {
    const SoftmaxAttrs attrs{1, log};
    const Shape shape{outer, extent, inner};
    const Array x = random_array<T>(shape, -6, 6), dy = random_array<T>(shape), old = random_array<T>(shape);
    const oracle::Operands<double> in{&x};
    const Array want = oracle::forward_of(attrs, in);
    OnDevice<T> dx(x, Kind::kRowMajor), y(shape, Kind::kRowMajor), ddy(dy, Kind::kRowMajor);
    const std::string what = "softmax of " + to_string(shape) + (log ? ", log" : "");
    check(softmax(nullptr, y.data(), dx.data(), log, outer, extent, inner));
    expect_close<T>(y.get(), want, 60, what);  // exponent of up to 12, and the sum
    // The gradient from the result as it is stored.
    const Array stored_y = y.get();
    const Array gradient = oracle::backward_of(attrs, in, stored_y, dy)[0];
    double largest = 0;
    for (const double v : dy.data) largest = std::max(largest, std::abs(v));
    for (const bool accumulate : {false, true}) {
      OnDevice<T> to(old, Kind::kRowMajor);
      check(softmax_backward(nullptr, to.data(), ddy.data(), y.data(), log, outer, extent, inner, accumulate));
      expect_close<T>(to.get(), accumulate ? plus(gradient, old) : gradient, 400, what + ", backward", largest);
    }
    check(softmax_backward(nullptr, ddy.data(), ddy.data(), y.data(), log, outer, extent, inner, false));
    expect_close<T>(ddy.get(), gradient, 400, what + ", backward in place", largest);
    check(softmax(nullptr, dx.data(), dx.data(), log, outer, extent, inner));
    expect_same(dx.get(), stored_y, what + ", in place");
  }
};

TEST_F(Softmax, ValuesAndGradients) {
  using Sizes = std::array<int64_t, 3>;
  const Sizes given[] = {{1, 1, 1}, {3, 7, 1}, {2, 33, 1}, {9, 100, 1}, {1, 1100, 1}, {2, 5, 3}, {2, 10, 40}, {0, 3, 2}, {2, 3, 0}};
  in_all_ways([&] {
    for (const bool log : {false, true})
      for (const auto& [outer, extent, inner] : and_drawn(given, [](RandomSizes& r) {
             const bool rows = r.chance();  // which go through another kernel
             return Sizes{r.size(9), rows ? r.size(600) : r.size(40), rows ? 1 : r.size(40)};
           })) {
        agrees<float>(outer, extent, inner, log);
        agrees<bfloat16>(outer, extent, inner, log);
      }
  });
}

TEST_F(Softmax, LargeNumbersDoNotOverflow) {
  const std::vector<float> x{1000, 1001, -1000};
  Device<float> dx(x), y(3);
  check(softmax(nullptr, y.data(), dx.data(), false, 1, 3, 1));
  EXPECT_NEAR(y.get()[1], 1 / (1 + std::exp(-1.0)), 1e-6);
  check(softmax(nullptr, y.data(), dx.data(), true, 1, 3, 1));
  EXPECT_NEAR(y.get()[2], -2001 - std::log1p(std::exp(-1.0)), 1e-3);  // fp32 at 2000
}

}  // namespace
}  // namespace actmatch::kernels::cuda
