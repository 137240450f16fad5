#include "tests/kernels/cuda/device.h"

namespace actmatch::kernels::cuda {
namespace {

TileGrid draw_grid(RandomSizes& r) { return TileGrid(r.size(34), r.size(40), r.size(18, 8)); }

TEST_F(CudaTest, TileSumAndState) {
  in_each_order([&] {
    for (const TileGrid& grid : and_drawn({TileGrid(1, 1, 8), TileGrid(19, 33, 8), TileGrid(16, 16, 16), TileGrid(23, 7, 1)}, draw_grid)) {
      const int64_t B = 2, tiles = grid.count();
      const auto map = random(B * grid.H * grid.W);
      std::vector<double> sum(static_cast<size_t>(B * tiles));
      tile_sum_ref(sum.data(), wide(map).data(), grid, B);
      Device<float> dmap(map), dsum(sum.size());
      check(tile_sum(nullptr, dsum.data(), dmap.data(), grid, B));
      expect_near(dsum.get(), sum, 2, "sum");  // sums in double, one rounding
      std::vector<float> h(map.size());
      for (size_t i = 0; i < h.size(); ++i) h[i] = integer(0, 9) > 0 ? 1.0f : 0.0f;
      for (size_t i = 0; i < h.size() / 2; ++i) h[i] = i < h.size() / 4 ? 0.0f : 1.0f;
      std::vector<TileState> state(sum.size());
      tile_state_ref(state.data(), h.data(), grid, B);
      Device<float> dh(h);
      Device<TileState> dstate(state.size());
      check(tile_state(nullptr, dstate.data(), dh.data(), grid, B));
      EXPECT_EQ(dstate.get(), state);
    }
  });
}

TEST_F(CudaTest, RemoveTilesAndCandidates) {
  in_each_order([&] {
    for (const TileGrid& grid : and_drawn({TileGrid(19, 33, 8)}, draw_grid)) {
      const int64_t HW = grid.H * grid.W, C = 3, P = 3, n = 4;
      std::vector<int32_t> tiles{0, 14, 7, 7, 3, 11};
      for (int32_t& tile : tiles) tile = static_cast<int32_t>(tile % grid.count());
      const std::vector<int32_t> first{0, 1, 1, 5, 6};
      auto h = random(HW, 0.5, 1);
      Device<float> dh(h);
      Device<int32_t> dtiles(tiles), dfirst(first);
      remove_tiles_ref(h.data(), tiles.data(), 6, grid);
      check(remove_tiles(nullptr, dh.data(), dtiles.data(), 6, grid));
      EXPECT_EQ(dh.get(), h);
      check(remove_tiles(nullptr, dh.data(), dtiles.data(), 0, grid));

      const auto base = random(P * C * HW), x = random(C * HW), colour = random(C), image = random(C * HW);
      Device<float> dbase(base), dx(x), dcolour(colour), dimage(image), out(static_cast<size_t>(P * n * C * HW));
      const std::vector<ComposePass<float>> reference{{false, BackgroundLayout::kColour, nullptr, colour.data()},
                                                      {false, BackgroundLayout::kImage, nullptr, image.data()},
                                                      {true, BackgroundLayout::kColour, nullptr, colour.data()}};
      std::vector<ComposePass<float>> passes = reference;
      passes[0].background = passes[2].background = dcolour.data();
      passes[1].background = dimage.data();
      std::vector<float> want(static_cast<size_t>(P * n * C * HW));
      compose_candidates_ref(want.data(), base.data(), x.data(), reference.data(), tiles.data(), first.data(), grid, n, P, C);
      check(compose_candidates(nullptr, out.data(), dbase.data(), dx.data(), passes.data(), dtiles.data(), dfirst.data(), grid, n, P, C));
      EXPECT_EQ(out.get(), want);
    }
  });
}

}  // namespace
}  // namespace actmatch::kernels::cuda
