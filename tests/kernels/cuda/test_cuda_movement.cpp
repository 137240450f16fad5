// Strided copies with conversion, transposes, gathering by index.
#include "tests/kernels/cuda/laid_out.h"
#include "tests/oracle/elementwise.h"
#include "tests/oracle/movement.h"

namespace actmatch::kernels::cuda {
namespace {

class Movement : public OpTest {
 protected:
  template <class To, class From>
  void copies(const Shape& shape, Kind to, Kind from, bool accumulate) {
    const Array x = kIsWhole<From> ? whole_numbers(shape, 0, 3) : random_array<From>(shape), old = random_array<To>(shape);
    OnDevice<From> dx(x, from);
    Array want = x;
    if constexpr (std::is_same_v<To, uint8_t>) want = oracle::forward_of(CastAttrs{DType::kBool}, oracle::Operands<double>{&x});
    if constexpr (std::is_same_v<To, int64_t>) want = oracle::forward_of(CastAttrs{DType::kI64}, oracle::Operands<double>{&x});
    if constexpr (std::is_same_v<From, uint8_t>) {
      for (double& v : want.data) v = std::is_same_v<To, uint8_t> && v != 0 ? 1 : v;
    }
    if (accumulate) want = plus(want, old);
    OnDevice<To> y(old, to);
    check(copy_strided(nullptr, y.data(), dx.data(), Dims(shape), y.strides(), dx.strides(), accumulate));
    expect_close<To>(y.get(), want, accumulate || std::is_same_v<To, bfloat16> ? 2 : 0, to_string(shape));
  }
  template <class T>
  static constexpr bool kIsWhole = std::is_integral_v<T>;
};

const Shape kShapes[] = {{},         {1},        {7},          {64},         {3, 1},          {2, 0, 5},
                         {2, 3, 5},  {1, 8, 16}, {2, 3, 4, 5}, {2, 8, 3, 4}, {3, 1, 2, 1, 5}, {2, 3, 2, 3, 2, 3},
                         {4, 33, 37}};

TEST_F(Movement, CopiesBetweenLayouts) {
  in_all_ways([&] {
    for (const Shape& shape : and_drawn(kShapes, [](RandomSizes& r) { return random_shape(r, 4, 4, 40); }))
      for (const Kind to : kKinds)
        for (const Kind from : kKinds) {
          copies<float, float>(shape, to, from, false);
          copies<bfloat16, float>(shape, to, from, true);
        }
  });
}

TEST_F(Movement, Converts) {
  in_all_ways([&] {
    for (const Shape& shape : and_drawn(
             {Shape{5, 7}, Shape{64}, Shape{3, 16, 6, 4}}, [](RandomSizes& r) { return random_shape(r, 4, 5, 40); }, 1)) {
      const Kind to = any_kind(), from = any_kind();
      copies<float, bfloat16>(shape, to, from, false);
      copies<float, bfloat16>(shape, to, from, true);
      copies<float, float>(shape, to, from, true);
      copies<float, uint8_t>(shape, to, from, false);
      copies<float, int64_t>(shape, to, from, false);
      copies<bfloat16, float>(shape, to, from, false);
      copies<bfloat16, bfloat16>(shape, to, from, false);
      copies<bfloat16, bfloat16>(shape, to, from, true);
      copies<bfloat16, uint8_t>(shape, to, from, false);
      copies<bfloat16, int64_t>(shape, to, from, false);
      copies<uint8_t, float>(shape, to, from, false);
      copies<uint8_t, bfloat16>(shape, to, from, false);
      copies<uint8_t, uint8_t>(shape, to, from, false);
      copies<uint8_t, int64_t>(shape, to, from, false);
      copies<int64_t, float>(shape, to, from, false);
      copies<int64_t, bfloat16>(shape, to, from, false);
      copies<int64_t, uint8_t>(shape, to, from, false);
      copies<int64_t, int64_t>(shape, to, from, false);
    }
  });
}

TEST_F(Movement, TransposesThroughTiles) {
  in_all_ways([&] {
    using Sizes = std::array<int64_t, 3>;
    const Sizes given[] = {{1, 32, 32}, {2, 33, 65}, {1, 16, 100}, {3, 64, 49}, {2, 3, 50}, {1, 1, 1}, {0, 20, 20}};
    for (const auto& [n, a, b] : and_drawn(given, [](RandomSizes& r) { return Sizes{r.size(3), r.size(70), r.size(70)}; })) {
      const Array x = random_array<bfloat16>({n, a, b}), old = random_array<bfloat16>({n, b, a});
      Array want({n, b, a});
      oracle::each_index(want.shape, [&](const oracle::Index& i) { want.at(i) = x.at({i[0], i[2], i[1]}); });
      OnDevice<bfloat16> dx(x, Kind::kRowMajor), y({n, b, a}, Kind::kRowMajor);
      check(transpose(nullptr, y.data(), dx.data(), n, a, b, false));
      expect_same(y.get(), want, "transpose");
      OnDevice<float> sum(old, Kind::kRowMajor), fx(x, Kind::kRowMajor);
      check(transpose(nullptr, sum.data(), fx.data(), n, a, b, true));
      expect_close<float>(sum.get(), plus(want, old), 1, "transpose, added");
    }
  });
}

TEST_F(Movement, RefusesWhatItCannot) {
  Device<uint8_t> y(4), x(4);
  EXPECT_EQ(copy_strided(nullptr, y.data(), x.data(), Dims{4}, Dims{1}, Dims{1}, true), cudaErrorInvalidValue);
  EXPECT_EQ(copy_strided(nullptr, y.data(), x.data(), Dims{4}, Dims{1, 1}, Dims{1}, false), cudaErrorInvalidValue);
  const Dims nine{1, 1, 1, 1, 1, 1, 1, 1, 4};
  EXPECT_EQ(copy_strided(nullptr, y.data(), x.data(), nine, nine, nine, false), cudaErrorInvalidValue);
}

TEST_F(Movement, SlicesAndExpands) {
  in_all_ways([&] {
    // x[1::2, ::-1] of 5 x 6, and a row repeated.
    const Array x = random_array<float>({5, 6});
    OnDevice<float> dx(x, Kind::kRowMajor), y({2, 6}, Kind::kRowMajor), e({4, 6}, Kind::kRowMajor);
    check(copy_strided(nullptr, y.data(), dx.data() + 6 + 5, Dims{2, 6}, Dims{6, 1}, Dims{12, -1}, false));
    SliceAttrs slice{{1, 5}, {2, -1}, {2, 6}};
    expect_same(y.get(), oracle::forward_of(slice, oracle::Operands<double>{&x}), "slice");
    check(copy_strided(nullptr, e.data(), dx.data(), Dims{4, 6}, Dims{6, 1}, Dims{0, 1}, false));
    Array row({1, 6});
    for (int64_t i = 0; i < 6; ++i) row[i] = x[i];
    expect_same(e.get(), oracle::forward_of(ExpandAttrs{{4, 6}}, oracle::Operands<double>{&row}), "expand");
  });
}

class Gathering : public OpTest {
 protected:
  // Rows of `inner` picked from `rows`; -1 is the fill.
  template <class T>
  void gathers(int64_t rows, int64_t count, int64_t inner) {
    const Array x = random_array<T>({rows, inner}), dy = random_array<T>({count, inner}), old = random_array<T>({rows, inner});
    std::vector<int32_t> index(static_cast<size_t>(count));
    for (int32_t& i : index) i = static_cast<int32_t>(integer(-1, rows - 1));
    Array want({count, inner}, 1.5), gradient = old;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t from = index[static_cast<size_t>(i)];
      for (int64_t k = 0; k < inner && from >= 0; ++k) {
        want.at({i, k}) = x.at({from, k});
        gradient.at({from, k}) += dy.at({i, k});
      }
    }
    OnDevice<T> dx(x, Kind::kRowMajor), y({count, inner}, Kind::kRowMajor), ddy(dy, Kind::kRowMajor), d(old, Kind::kRowMajor),
        fresh({rows, inner}, Kind::kRowMajor);
    Device<int32_t> table(index);
    check(gather_indexed(nullptr, y.data(), dx.data(), table.data(), count, inner, 1.5f));
    expect_same(y.get(), want, "gather");
    std::vector<int32_t> offsets{0}, list;
    for (int64_t j = 0; j < rows; ++j) {
      for (int64_t i = 0; i < count; ++i)
        if (index[static_cast<size_t>(i)] == j) list.push_back(static_cast<int32_t>(i));
      offsets.push_back(static_cast<int32_t>(list.size()));
    }
    Device<int32_t> starts(offsets), places(list);
    check(gather_indexed_backward(nullptr, d.data(), ddy.data(), starts.data(), places.data(), rows, inner, true));
    expect_close<T>(d.get(), gradient, 40, "gather, backward, added", sum_of(count));
    for (int64_t i = 0; i < gradient.count(); ++i) gradient[i] -= old[i];
    check(gather_indexed_backward(nullptr, fresh.data(), ddy.data(), starts.data(), places.data(), rows, inner, false));
    expect_close<T>(fresh.get(), gradient, 40, "gather, backward", sum_of(count));
  }
};

TEST_F(Gathering, RowsAndTheirGradient) {
  in_all_ways([&] {
    using Sizes = std::array<int64_t, 3>;
    const Sizes given[] = {{1, 1, 1}, {5, 11, 1}, {7, 300, 1}, {4, 9, 8}, {3, 5, 7}, {6, 4, 16}, {3, 0, 4}};
    for (const auto& [rows, count, inner] : and_drawn(given, [](RandomSizes& r) { return Sizes{r.size(9), r.size(70), r.size(20, 8)}; })) {
      gathers<float>(rows, count, inner);
      gathers<bfloat16>(rows, count, inner);
    }
    const std::vector<int64_t> x{5, 6, 7};
    Device<int64_t> dx(x), y(4);
    Device<int32_t> index(std::vector<int32_t>{2, -1, 0, 0});
    check(gather_indexed(nullptr, y.data(), dx.data(), index.data(), 4, 1, -3.0f));
    EXPECT_EQ(y.get(), (std::vector<int64_t>{7, -3, 5, 5}));
    Device<uint8_t> flags(std::vector<uint8_t>{0, 1, 0}), picked(4);
    check(gather_indexed(nullptr, picked.data(), flags.data(), index.data(), 4, 1, 1.0f));
    EXPECT_EQ(picked.get(), (std::vector<uint8_t>{0, 1, 0, 0}));
  });
}

// Padding by edge and reflection is gathering by the oracle's table.
TEST_F(Gathering, Pads) {
  in_all_ways([&] {
    const Array x = random_array<float>({2, 4, 3});
    for (const PadMode mode : {PadMode::kConstant, PadMode::kEdge, PadMode::kReflect}) {
      const PadAttrs pad{{0, 2, 1}, {1, 3, 2}, mode, 0.25f};
      PadAttrs fits = pad;
      if (mode == PadMode::kReflect) fits.after[0] = 0;
      const oracle::Operands<double> in{&x};
      const Array want = oracle::forward_of(fits, in);
      std::vector<int32_t> index;
      oracle::each_index(want.shape, [&](const oracle::Index& i) {
        const auto from = oracle::source_of(fits, in, i);
        index.push_back(from ? static_cast<int32_t>(*from) : -1);
      });
      OnDevice<float> dx(x, Kind::kRowMajor), y(want.shape, Kind::kRowMajor);
      Device<int32_t> table(index);
      check(gather_indexed(nullptr, y.data(), dx.data(), table.data(), want.count(), 1, 0.25f));
      expect_same(y.get(), want, "pad");
    }
  });
}

TEST_F(Movement, FillsBfloat16) {
  in_all_ways([&] {
    for (const int64_t count :
         and_drawn({int64_t{0}, int64_t{1}, int64_t{7}, int64_t{8}, int64_t{4099}}, [](RandomSizes& r) { return r.size(2100); })) {
      OnDevice<bfloat16> x(Shape{count}, Kind::kRowMajor);
      check(fill(nullptr, x.data(), -1.5f, count));
      expect_same(x.get(), Array({count}, -1.5), "fill");
    }
  });
}

TEST_F(Movement, NarrowsSeveralArrays) {
  in_all_ways([&] {
    for (const int64_t count :
         and_drawn({int64_t{0}, int64_t{1}, int64_t{255}, int64_t{1021}}, [](RandomSizes& r) { return r.size(2100); })) {
      const Array x = random_array<float>({count}), z = random_array<float>({70});
      OnDevice<float> dx(x, Kind::kRowMajor), dz(z, Kind::kRowMajor);
      OnDevice<bfloat16> y(Shape{count}, Kind::kRowMajor), w(Shape{70}, Kind::kRowMajor);
      std::vector<Narrowing> arrays{{y.data(), dx.data(), count}};
      for (int64_t i = 0; i < 70; ++i) arrays.push_back({w.data() + i, dz.data() + i, 1});
      check(narrow(nullptr, arrays));
      expect_same(y.get(), OnDevice<bfloat16>(x, Kind::kRowMajor).get(), "the first");
      expect_same(w.get(), OnDevice<bfloat16>(z, Kind::kRowMajor).get(), "the others");
    }
    EXPECT_EQ(narrow(nullptr, {}), cudaSuccess);
  });
}

}  // namespace
}  // namespace actmatch::kernels::cuda
