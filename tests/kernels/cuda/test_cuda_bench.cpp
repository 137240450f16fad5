// Every case of bench_kernels, at small sizes: what it hands to the launcher is what the launcher takes. In the emulator with sanitizers
// this finds a buffer that is too small; values are the business of the other tests.
#include <algorithm>

#include "kernels/bench/case.h"
#include "tests/kernels/cuda/device.h"

namespace actmatch::kernels::cuda {
namespace {

class CudaBench : public CudaTest {};

TEST_F(CudaBench, CasesRun) {
  const auto cases = bench::all_cases({{1, 2}, 16});
  ASSERT_GT(cases.size(), 300u);
  for (const bench::Case& c : cases) {
    SCOPED_TRACE(c.name());
    bench::Memory memory;
    const bench::Launch launch = c.prepare(memory);
    EXPECT_EQ(launch(nullptr), cudaSuccess);
    ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    EXPECT_GT(memory.traffic(), 0u);
    EXPECT_LE(memory.traffic(), 2 * memory.bytes());
    EXPECT_EQ(c.operations > 0, c.unit != bench::Unit::kNone);
  }
}

TEST_F(CudaBench, NamesAreUnique) {
  std::vector<std::string> names;
  for (const bench::Case& c : bench::all_cases({})) names.push_back(c.name());
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  EXPECT_EQ(twice, names.end()) << (twice == names.end() ? std::string() : *twice);
}

}  // namespace
}  // namespace actmatch::kernels::cuda
