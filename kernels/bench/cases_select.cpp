// Pruning and checking: select_compose.h. One picture, many masks.
#include "kernels/bench/case.h"
#include "kernels/cuda.h"

namespace actmatch::kernels::bench {

void add_select_cases(Cases& cases) {
  const int64_t side = cases.size(224), HW = side * side, C = 3;
  for (int64_t B : cases.size.batches) {
    // As many jobs as the batch has places: certifying's masks and backgrounds, pruning's candidates (one mask without each tile).
    struct Work {
      SelectSources<float> sources;
      const SelectJob* jobs;
    };
    const auto work_of = [=](Memory& m, bool candidates) {
      Work work;
      work.sources.x = m.input<float>(C * HW);
      work.sources.colour = m.input<float>(C);
      work.sources.masks = m.indices<uint8_t>((candidates ? 1 : B) * HW, 0, 2);
      if (!candidates) work.sources.sets[0] = m.input<float>(B * C * HW);
      std::vector<SelectJob> jobs;
      for (int32_t j = 0; j < B; ++j) {
        const auto place = static_cast<int32_t>(8 * j % (side - 8));
        jobs.push_back(candidates ? SelectJob{0, -1, 0, {place, place, place + 8, place + 8}} : SelectJob{j, 0, j, {}});
      }
      work.jobs = m.values(jobs);
      return work;
    };
    const std::string size = text(B, " jobs ", C, "x", side, "x", side);
    for (const bool candidates : {false, true})
      cases.add("select_compose", size + (candidates ? " of one mask without a tile" : ""), [=](Memory& m) {
        const Work work = work_of(m, candidates);
        float* out = m.output<float>(B * C * HW);
        return [=](cudaStream_t s) { return cuda::select_compose(s, out, work.sources, work.jobs, false, B, C, side, side); };
      });
    cases.add("select_gain", size, [=](Memory& m) {
      const Work work = work_of(m, false);
      float* gain = m.output<float>(HW);
      const float* gradient = m.input<float>(B * C * HW);
      return [=](cudaStream_t s) {
        return cuda::select_gain(s, gain, gradient, work.sources, work.jobs, 1.0f, true, B, C, side, side, false);
      };
    });
  }
}

}  // namespace actmatch::kernels::bench
