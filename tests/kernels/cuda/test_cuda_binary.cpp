// Functions of two arguments, choices, and factors a channel: values and gradients with broadcasting, in several layouts.
#include "tests/kernels/cuda/laid_out.h"
#include "tests/oracle/elementwise.h"

namespace actmatch::kernels::cuda {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

struct Shapes {
  Shape a, b;
};
const Shapes kShapes[] = {{{}, {}},
                          {{7}, {7}},
                          {{3, 5}, {5}},
                          {{3, 5}, {3, 1}},
                          {{}, {2, 3}},
                          {{2, 16, 3, 5}, {2, 16, 3, 5}},
                          {{2, 16, 3, 5}, {2, 16, 1, 1}},
                          {{2, 8, 3, 5}, {8, 1, 1}},
                          {{2, 0, 3}, {2, 1, 3}},
                          {{4, 1, 3, 1}, {1, 5, 1, 7}},
                          {{2, 1, 3, 1, 2, 1}, {1, 2, 3, 2, 1, 5}}};

// Each axis of either side may be broadcast, and the second may have fewer.
Shapes draw_shapes(RandomSizes& r) {
  Shapes s;
  s.a = s.b = random_shape(r, 4, 4, 34);
  for (Shape* shape : {&s.a, &s.b})
    for (int64_t& extent : *shape)
      if (r.integer(0, 3) == 0) extent = 1;
  s.b.erase(s.b.begin(), s.b.begin() + r.integer(0, static_cast<int64_t>(s.b.size())));
  if (r.chance()) std::swap(s.a, s.b);
  return s;
}

class Binary : public OpTest {
 protected:
  template <class T>
  void agrees(BinaryKind kind, const Shapes& shapes) {
    const auto op = static_cast<BinaryOp>(kind);
    const bool ties = kind == BinaryKind::kMin || kind == BinaryKind::kMax, power = kind == BinaryKind::kPow;
    const Array a = ties ? whole_numbers(shapes.a, -2, 2) : random_array<T>(shapes.a, power ? 0.25 : -2, 2);
    Array b = ties ? whole_numbers(shapes.b, -2, 2) : random_array<T>(shapes.b, kind == BinaryKind::kDiv ? 0.5 : -2, 2);
    if (power)
      for (int64_t i = 0; i < b.count(); i += 3) b[i] = 0;
    const oracle::Operands<double> in{&a, &b};
    const Array want = oracle::forward_of(BinaryAttrs{kind}, in);
    const std::string what =
        "function " + std::to_string(static_cast<int>(kind)) + " of " + to_string(a.shape) + " and " + to_string(b.shape);
    OnDevice<T> da(a, any_kind()), db(b, any_kind()), y(want.shape, any_kind());
    const Dims as = da.strides(want.shape), bs = db.strides(want.shape);
    check(binary(nullptr, y.data(), da.data(), db.data(), op, Dims(want.shape), y.strides(), as, bs, Clip{}));
    expect_close<T>(y.get(), want, 8, what);
    Array clipped = want;
    for (double& v : clipped.data) v = std::min(std::max(v, -0.25), 1.0);
    check(binary(nullptr, y.data(), da.data(), db.data(), op, Dims(want.shape), y.strides(), as, bs, Clip{-0.25f, 1.0f}));
    expect_close<T>(y.get(), clipped, 16, what + ", clipped");

    const Array dy = random_array<T>(want.shape);
    OnDevice<T> ddy(dy, any_kind());
    const auto gradients = oracle::backward_of(BinaryAttrs{kind}, in, want, dy);
    for (const Side side : {Side::kFirst, Side::kSecond}) {
      const bool first = side == Side::kFirst;
      const Array &own = first ? a : b, &gradient = gradients[first ? 0 : 1];
      // Each term is a number of up to 2 times a derivative, which for these two may be large.
      const double steep = power || kind == BinaryKind::kDiv ? 8 : 1,
                   summand = steep * sum_of(want.count() / std::max<int64_t>(own.count(), 1));
      const Kind layout = any_kind();
      // The operand's own layout is also its gradient's.
      OnDevice<T> left(a, first ? layout : Kind::kGaps), right(b, first ? Kind::kChannelsLast : layout), fresh(own.shape, layout);
      const Array old = random_array<T>(own.shape);
      OnDevice<T> sum(old, layout);
      const Dims ls = left.strides(want.shape), rs = right.strides(want.shape);
      Scratch scratch(reduce_scratch_bytes(Dims(want.shape), first ? ls : rs));
      const bool reads_none = kind == BinaryKind::kAdd || kind == BinaryKind::kSub;
      const bool reads_b_only = first && (kind == BinaryKind::kMul || kind == BinaryKind::kDiv),
                 reads_a_only = !first && kind == BinaryKind::kMul;
      const T* pa = reads_none || reads_b_only ? nullptr : left.data();
      const T* pb = reads_none || reads_a_only ? nullptr : right.data();
      check(binary_backward(nullptr, fresh.data(), ddy.data(), pa, pb, op, side, Dims(want.shape), ddy.strides(), ls, rs, false,
                            scratch.data()));
      expect_close<T>(fresh.get(), gradient, 64, what + ", backward", summand);
      check(binary_backward(nullptr, sum.data(), ddy.data(), pa, pb, op, side, Dims(want.shape), ddy.strides(), ls, rs, true,
                            scratch.data()));
      expect_close<T>(sum.get(), plus(gradient, old), 64, what + ", backward, added", summand);
    }
  }
  template <class T>
  void compares(BinaryKind kind, const Shapes& shapes) {
    const Array a = whole_numbers(shapes.a, 0, 2), b = whole_numbers(shapes.b, 0, 2);
    const Array want = oracle::forward_of(BinaryAttrs{kind}, oracle::Operands<double>{&a, &b});
    OnDevice<T> da(a, any_kind()), db(b, any_kind());
    OnDevice<uint8_t> y(want.shape, any_kind());
    check(compare(nullptr, y.data(), da.data(), db.data(), static_cast<BinaryOp>(kind), Dims(want.shape), y.strides(),
                  da.strides(want.shape), db.strides(want.shape)));
    expect_same(y.get(), want, "comparison " + std::to_string(static_cast<int>(kind)));
  }
};

TEST_F(Binary, ValuesAndGradients) {
  in_all_ways([&] {
    for (int kind = 0; kind <= static_cast<int>(BinaryKind::kMax); ++kind)
      for (const Shapes& shapes : and_drawn(kShapes, draw_shapes)) {
        agrees<float>(static_cast<BinaryKind>(kind), shapes);
        agrees<bfloat16>(static_cast<BinaryKind>(kind), shapes);
      }
  });
}

TEST_F(Binary, ComparisonsAndLogic) {
  in_all_ways([&] {
    for (int kind = static_cast<int>(BinaryKind::kEqual); kind <= static_cast<int>(BinaryKind::kOr); ++kind)
      for (const Shapes& shapes : and_drawn(kShapes, draw_shapes, 1)) {
        compares<float>(static_cast<BinaryKind>(kind), shapes);
        compares<bfloat16>(static_cast<BinaryKind>(kind), shapes);
        compares<uint8_t>(static_cast<BinaryKind>(kind), shapes);
        compares<int64_t>(static_cast<BinaryKind>(kind), shapes);
      }
  });
}

TEST_F(Binary, NaN) {
  const Dims one{2}, step{1};
  OnDevice<float> a(Array({2}, kNaN), Kind::kRowMajor), b(Array({2}, 1.0), Kind::kRowMajor), y({2}, Kind::kRowMajor);
  OnDevice<uint8_t> c({2}, Kind::kRowMajor);
  for (const BinaryOp op : {BinaryOp::kMin, BinaryOp::kMax, BinaryOp::kAdd}) {
    check(binary(nullptr, y.data(), a.data(), b.data(), op, one, step, step, step, Clip{0, 6}));
    EXPECT_TRUE(std::isnan(y.get()[1]));
    check(binary(nullptr, y.data(), b.data(), a.data(), op, one, step, step, step, Clip{0, 6}));
    EXPECT_TRUE(std::isnan(y.get()[1]));
  }
  check(compare(nullptr, c.data(), a.data(), a.data(), BinaryOp::kEqual, one, step, step, step));
  EXPECT_EQ(c.get()[0], 0);
}

TEST_F(Binary, WrongKindsAreRefused) {
  Device<float> x(1);
  Device<uint8_t> y(1);
  const Dims none;
  EXPECT_EQ(binary(nullptr, x.data(), x.data(), x.data(), BinaryOp::kEqual, none, none, none, none, Clip{}), cudaErrorInvalidValue);
  EXPECT_EQ(compare(nullptr, y.data(), x.data(), x.data(), BinaryOp::kAdd, none, none, none, none), cudaErrorInvalidValue);
  EXPECT_EQ(
      binary_backward(nullptr, x.data(), x.data(), x.data(), x.data(), BinaryOp::kOr, Side::kFirst, none, none, none, none, false, nullptr),
      cudaErrorInvalidValue);
}

class Where : public OpTest {
 protected:
  struct Operands {
    Shape condition, a, b;
  };
  template <class T>
  void chooses(const Shape& sc, const Shape& sa, const Shape& sb) {
    const Array c = whole_numbers(sc, 0, 1);
    const Array a = std::is_integral_v<T> ? whole_numbers(sa, 0, 1) : random_array<T>(sa),
                b = std::is_integral_v<T> ? whole_numbers(sb, 0, 1) : random_array<T>(sb);
    const oracle::Operands<double> in{&c, &a, &b};
    const Array want = oracle::forward_of(WhereAttrs{}, in);
    OnDevice<uint8_t> dc(c, any_kind());
    OnDevice<T> da(a, any_kind()), db(b, any_kind()), y(want.shape, any_kind());
    const Dims extents(want.shape), cs = dc.strides(want.shape);
    check(where(nullptr, y.data(), dc.data(), da.data(), db.data(), extents, y.strides(), cs, da.strides(want.shape),
                db.strides(want.shape)));
    expect_same(y.get(), want, "where");
    if constexpr (!std::is_integral_v<T>) {
      const Array dy = random_array<T>(want.shape);
      OnDevice<T> ddy(dy, any_kind());
      const auto gradients = oracle::backward_of(WhereAttrs{}, in, want, dy);
      for (const Side side : {Side::kFirst, Side::kSecond}) {
        const Array& gradient = gradients[side == Side::kFirst ? 1 : 2];
        const Array old = random_array<T>(gradient.shape);
        for (const bool accumulate : {false, true}) {
          OnDevice<T> dx(old, any_kind());
          const Dims own = dx.strides(want.shape);
          Scratch scratch(reduce_scratch_bytes(extents, own));
          check(
              where_backward(nullptr, dx.data(), ddy.data(), dc.data(), side, extents, own, ddy.strides(), cs, accumulate, scratch.data()));
          expect_close<T>(dx.get(), accumulate ? plus(gradient, old) : gradient, 64, "where, backward",
                          sum_of(want.count() / std::max<int64_t>(gradient.count(), 1)));
        }
      }
    }
  }
};

TEST_F(Where, ValuesAndGradients) {
  in_all_ways([&] {
    const Operands given[] = {
        {{}, {}, {}},         {{9}, {9}, {9}}, {{2, 1, 3, 5}, {2, 8, 3, 5}, {}}, {{4, 6}, {6}, {4, 1}}, {{3, 1}, {1, 4}, {2, 1, 1}},
        {{0, 3}, {3}, {1, 1}}};
    const auto draw = [](RandomSizes& r) {
      const Shapes s = draw_shapes(r);
      return r.chance() ? Operands{s.a, s.b, s.a} : Operands{s.b, s.a, s.b};
    };
    for (const auto& [c, a, b] : and_drawn(given, draw)) {
      chooses<float>(c, a, b);
      chooses<bfloat16>(c, a, b);
      chooses<uint8_t>(c, a, b);
      chooses<int64_t>(c, a, b);
    }
  });
}

class ScaleShift : public OpTest {
 protected:
  struct Sizes {
    int64_t N, C, inner;
  };
  template <class T>
  void agrees(int64_t N, int64_t C, int64_t inner, bool channels_last) {
    const Shape shape{N, C, inner};
    const Array x = random_array<T>(shape), dy = random_array<T>(shape), old = random_array<T>(shape);
    const Array scale = random_array<float>({C}), shift = random_array<float>({C});
    const Kind kind = channels_last ? Kind::kChannelsLast : Kind::kRowMajor;
    const int64_t outer = channels_last ? N * inner : N, behind = channels_last ? 1 : inner;
    const oracle::Operands<double> in{&x, &scale, &shift};
    const Array want = oracle::forward_of(ScaleShiftAttrs{}, in);
    OnDevice<T> dx(x, kind), ddy(dy, kind), y(shape, kind), sum(old, kind);
    OnDevice<float> ds(scale, Kind::kRowMajor), dh(shift, Kind::kRowMajor);
    check(scale_shift(nullptr, y.data(), dx.data(), ds.data(), dh.data(), outer, C, behind, Clip{}));
    expect_close<T>(y.get(), want, 4, "scale and shift", 4);
    Array clipped = want;
    for (double& v : clipped.data) v = std::max(v, 0.0);
    check(scale_shift(nullptr, y.data(), dx.data(), ds.data(), dh.data(), outer, C, behind, Clip{0, INFINITY}));
    expect_close<T>(y.get(), clipped, 8, "scale and shift, clipped", 4);
    const Array gradient = oracle::backward_of(ScaleShiftAttrs{}, in, want, dy)[0];
    check(scale_shift_backward(nullptr, y.data(), ddy.data(), ds.data(), outer, C, behind, false));
    expect_close<T>(y.get(), gradient, 2, "scale and shift, backward");
    check(scale_shift_backward(nullptr, sum.data(), ddy.data(), ds.data(), outer, C, behind, true));
    expect_close<T>(sum.get(), plus(gradient, old), 4, "scale and shift, backward, added", 4);

    Array dscale = random_array<float>({C}), dshift = random_array<float>({C});
    OnDevice<float> got_scale(dscale, Kind::kRowMajor), got_shift(dshift, Kind::kRowMajor);
    oracle::each_index(shape, [&](const oracle::Index& i) {
      dscale[i[1]] += dy.at(i) * x.at(i);
      dshift[i[1]] += dy.at(i);
    });
    Scratch scratch(reduce_scratch_bytes(C, N * inner));
    check(scale_shift_backward_channels(nullptr, got_scale.data(), got_shift.data(), ddy.data(), dx.data(), outer, C, behind, true,
                                        scratch.data()));
    expect_close<float>(got_scale.get(), dscale, 200, "scale, backward", sum_of(N * inner));  // sums of a few hundred products
    expect_close<float>(got_shift.get(), dshift, 200, "shift, backward", sum_of(N * inner));
    check(scale_shift_backward_channels(nullptr, static_cast<float*>(nullptr), got_shift.data(), ddy.data(), dx.data(), outer, C, behind,
                                        true, scratch.data()));
    check(scale_shift(nullptr, y.data(), dx.data(), ds.data(), nullptr, outer, C, behind, Clip{}));
    for (int64_t i = 0; i < want.count(); ++i) clipped[i] = want[i];
    oracle::each_index(shape, [&](const oracle::Index& i) { clipped.at(i) = x.at(i) * scale[i[1]]; });
    expect_close<T>(y.get(), clipped, 2, "scale alone");
  }
};

TEST_F(ScaleShift, ValuesAndGradients) {
  in_all_ways([&] {
    for (const bool last : {false, true})
      for (const auto& [N, C, inner] : and_drawn(
               {Sizes{1, 1, 1}, Sizes{2, 3, 5}, Sizes{2, 16, 9}, Sizes{3, 5, 32}, Sizes{2, 7, 300}, Sizes{0, 3, 2}}, [](RandomSizes& r) {
                 return Sizes{r.size(3), r.size(34), r.size(100)};
               })) {
        agrees<float>(N, C, inner, last);
        agrees<bfloat16>(N, C, inner, last);
      }
  });
}

}  // namespace
}  // namespace actmatch::kernels::cuda
