#include "kernels/tiles.h"

#include "tests/kernels/kernel_test_util.h"

namespace actmatch::kernels {
namespace {

// H, W, tile: dividing, not dividing, larger than the picture, single pixels.
const TileGrid kGrids[] = {{8, 8, 4}, {9, 7, 4}, {5, 3, 8}, {1, 1, 1}, {1, 10, 3}, {6, 5, 1}};

int64_t tile_of(const TileGrid& g, int64_t y, int64_t x) { return y / g.tile * g.columns + x / g.tile; }

TEST(Tiles, SumsAndStatesPixelByPixel) {
  RandomVectors random(70);
  for (const TileGrid& g : kGrids) {
    const int64_t B = 2, HW = g.H * g.W;
    const Vec map = random.normal(B * HW);
    Vec h = random.uniform(B * HW, 0, 1);
    for (size_t i = 0; i < h.size(); ++i) {  // some tiles empty, some full, some mixed
      const int64_t t = tile_of(g, int64_t(i) % HW / g.W, int64_t(i) % g.W);
      h[i] = t % 3 == 0 ? 0 : (t % 3 == 1 ? 1 : h[i] > 0.5);
    }
    Vec expected(size_t(B * g.count())), inside(expected.size());
    std::vector<int64_t> expected_pixels(size_t(g.count()));
    for (int64_t b = 0; b < B; ++b)
      for (int64_t y = 0; y < g.H; ++y)
        for (int64_t x = 0; x < g.W; ++x) {
          const size_t at = size_t(b * g.count() + tile_of(g, y, x)), i = size_t(b * HW + y * g.W + x);
          expected[at] += map[i];
          inside[at] += h[i];
          if (b == 0) ++expected_pixels[at];
        }
    Vec sum(expected.size());
    std::vector<float> sum32(expected.size());
    std::vector<int64_t> pixels(expected_pixels.size());
    std::vector<TileState> state(expected.size());
    tile_sum_ref(sum.data(), map.data(), g, B);
    tile_sum_ref(sum32.data(), as<float>(map).data(), g, B);
    tile_pixels_ref(pixels.data(), g);
    tile_state_ref(state.data(), h.data(), g, B);
    expect_close(sum, expected, 1e-14, "sum");  // reordered sums of at most 16 numbers
    expect_close(sum32, expected, 1e-6, "float sum");
    EXPECT_EQ(pixels, expected_pixels);
    for (size_t k = 0; k < state.size(); ++k) {
      const int64_t n = pixels[k % pixels.size()];
      const TileState wanted = inside[k] == 0 ? TileState::kEmpty : (inside[k] == double(n) ? TileState::kFull : TileState::kPartial);
      EXPECT_EQ(state[k], wanted);
    }
  }
}

TEST(Tiles, RemovalClearsThoseTilesOnly) {
  for (const TileGrid& g : kGrids) {
    std::vector<float> h(size_t(g.H * g.W), 1.0f);
    const std::vector<int32_t> tiles{0, int32_t(g.count() - 1), 0};
    remove_tiles_ref(h.data(), tiles.data(), 3, g);
    for (int64_t y = 0; y < g.H; ++y)
      for (int64_t x = 0; x < g.W; ++x) {
        const int64_t t = tile_of(g, y, x);
        EXPECT_EQ(h[size_t(y * g.W + x)], t == 0 || t == g.count() - 1 ? 0 : 1);
      }
  }
}

TEST(Tiles, CandidatesEqualComposingEachMaskAnew) {
  RandomVectors random(71);
  for (const TileGrid& g : kGrids) {
    const int64_t C = 3, HW = g.H * g.W, P = 6, n = 4;
    const auto x = as<float>(random.normal(C * HW)), colour = as<float>(random.normal(C)), image = as<float>(random.normal(C * HW));
    std::vector<float> h = as<float>(random.uniform(HW, 0, 1));
    for (float& v : h) v = v > 0.3f;
    std::vector<ComposePass<float>> passes;
    for (bool complement : {false, true}) {
      passes.push_back({complement, BackgroundLayout::kColour, h.data(), colour.data()});
      passes.push_back({complement, BackgroundLayout::kImage, h.data(), image.data()});
      passes.push_back({complement, BackgroundLayout::kImagePerItem, h.data(), image.data()});
    }
    // Candidates: nothing, one tile, the last tile, several.
    const auto last = int32_t(g.count() - 1);
    const std::vector<int32_t> tiles{0, last, last / 2, 0, last}, offsets{0, 0, 1, 2, 5};
    std::vector<float> base(size_t(P * C * HW)), out(size_t(P * n * C * HW)), expected(base.size());
    compose_ref(base.data(), x.data(), passes.data(), ChannelOrder::kFirst, 1, P, C, HW);
    compose_candidates_ref(out.data(), base.data(), x.data(), passes.data(), tiles.data(), offsets.data(), g, n, P, C);
    for (int64_t j = 0; j < n; ++j) {
      std::vector<float> less = h;
      remove_tiles_ref(less.data(), tiles.data() + offsets[size_t(j)], offsets[size_t(j + 1)] - offsets[size_t(j)], g);
      auto anew = passes;
      for (auto& pass : anew) pass.mask = less.data();
      compose_ref(expected.data(), x.data(), anew.data(), ChannelOrder::kFirst, 1, P, C, HW);
      for (int64_t p = 0; p < P; ++p) {
        const auto got = out.begin() + (p * n + j) * C * HW;
        EXPECT_TRUE(std::equal(got, got + C * HW, expected.begin() + p * C * HW)) << "candidate " << j << " pass " << p;  // bit for bit
      }
    }
  }
}

}  // namespace
}  // namespace actmatch::kernels
