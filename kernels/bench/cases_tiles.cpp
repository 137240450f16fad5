// Pruning and checking: tiles.h, select_compose.h. One picture, many masks.
#include "kernels/bench/case.h"
#include "kernels/cuda.h"

namespace actmatch::kernels::bench {

void add_tile_cases(Cases& cases) {
  const int64_t side = cases.size(224), HW = side * side, C = 3;
  for (int64_t B : cases.size.batches) {
    const TileGrid grid(side, side, 8);
    const std::string size = text("B", B, " ", side, "x", side, " tile 8");
    cases.add("tile_sum", size, [=](Memory& m) {
      float* sum = m.output<float>(B * grid.count());
      const float* map = m.input<float>(B * HW);
      return [=](cudaStream_t s) { return cuda::tile_sum(s, sum, map, grid, B); };
    });
    cases.add("tile_state", size, [=](Memory& m) {
      auto* state = m.output<TileState>(B * grid.count());
      const float* map = m.input<float>(B * HW);
      return [=](cudaStream_t s) { return cuda::tile_state(s, state, map, grid, B); };
    });
    // As many jobs as the batch has places: pruning's candidates, certifying's backgrounds.
    const std::string jobs_size = text(B, " jobs ", C, "x", side, "x", side);
    struct Work {
      SelectSources<float> sources;
      const SelectJob* jobs;
    };
    const auto work_of = [=](Memory& m) {
      Work work;
      work.sources.x = m.input<float>(C * HW);
      work.sources.colour = m.input<float>(C);
      work.sources.masks = m.indices<uint8_t>(B * HW, 0, 2);
      work.sources.sets[0] = m.input<float>(B * C * HW);
      std::vector<SelectJob> jobs;
      for (int32_t j = 0; j < B; ++j) jobs.push_back({j, 0, j});
      work.jobs = m.values(jobs);
      return work;
    };
    cases.add("select_compose", jobs_size, [=](Memory& m) {
      const Work work = work_of(m);
      float* out = m.output<float>(B * C * HW);
      return [=](cudaStream_t s) { return cuda::select_compose(s, out, work.sources, work.jobs, false, B, C, HW); };
    });
    cases.add("select_gain", jobs_size, [=](Memory& m) {
      const Work work = work_of(m);
      float* gain = m.output<float>(HW);
      const float* gradient = m.input<float>(B * C * HW);
      return [=](cudaStream_t s) { return cuda::select_gain(s, gain, gradient, work.sources, work.jobs, 1.0f, true, B, C, HW, false); };
    });
    // Each candidate removes four tiles.
    cases.add("compose_candidates", text(B, " candidates of 4 tiles ", C, "x", side, "x", side), [=](Memory& m) {
      float* out = m.output<float>(B * C * HW);
      const float *base = m.input<float>(C * HW), *x = m.input<float>(C * HW);
      std::vector<int32_t> offsets;
      for (int32_t j = 0; j <= B; ++j) offsets.push_back(4 * j);
      const auto* device_offsets = m.values(offsets);
      const auto* tiles = m.indices<int32_t>(4 * B, 0, grid.count());
      const ComposePass<float> pass{false, BackgroundLayout::kColour, nullptr, m.input<float>(C)};
      return [=](cudaStream_t s) { return cuda::compose_candidates(s, out, base, x, &pass, tiles, device_offsets, grid, B, 1, C); };
    });
  }
  const TileGrid grid(side, side, 8);
  std::vector<int32_t> removed;
  for (int32_t tile = 0; tile < grid.count(); tile += 20) removed.push_back(tile);
  const auto count = static_cast<int64_t>(removed.size());
  cases.add("remove_tiles", text(count, " of ", side, "x", side, " tile 8"), [=](Memory& m) {
    float* h = m.scratch_floats(HW);
    const auto* tiles = m.values(removed);
    m.set_traffic(static_cast<size_t>(count) * 64 * sizeof(float));
    return [=](cudaStream_t s) { return cuda::remove_tiles(s, h, tiles, count, grid); };
  });
}

}  // namespace actmatch::kernels::bench
