#include "kernels/step_trace.h"

#include "tests/kernels/kernel_test_util.h"

namespace actmatch::kernels {
namespace {

TEST(StepTrace, EveryColumnByHand) {
  const Vec act{1, 2, 10, 20}, act_weight{0.5, 0.25}, kl{3, 4}, ce{5, 6}, margin{7, 8}, regulariser{0.1, 0.2, 0.3, 0.4, 0.5, 0.6};
  const Vec rob{1, 2, 3, 4, 8, 9}, nec{11, 12}, outcome{40, 1, 50, 0};
  StepTerms<double> terms{act.data(),         act_weight.data(), 2, kl.data(),  ce.data(),      margin.data(),
                          regulariser.data(), rob.data(),        3, nec.data(), outcome.data(), {1, 2, 3, 4, 5, 6, 7, 8, 9}};
  Vec trace(3 * 2 * kTraceColumns, -1);
  const uint32_t step = 5;  // of three rows the second
  record_step_ref(trace.data(), terms, &step, 3, 2);
  const auto row = [&](int64_t r, int64_t b) {
    const auto begin = trace.begin() + (r * 2 + b) * kTraceColumns;
    return Vec(begin, begin + kTraceColumns);
  };
  // act = 1/2 * 1 + 1/4 * 10; rob = (1 + 3 + 8) / 3
  expect_close(row(1, 0), {3, 3, 5, 7, 0.1, 0.2, 0.3, 4, 11, 3 + 6 + 15 + 28 + 0.5 + 1.2 + 2.1 + 32 + 99, 40, 1}, 1e-15, "first image");
  expect_close(row(1, 1), {6, 4, 6, 8, 0.4, 0.5, 0.6, 5, 12, 6 + 8 + 18 + 32 + 2 + 3 + 4.2 + 40 + 108, 50, 0}, 1e-15, "second image");
  for (int64_t r : {0, 2})
    for (int64_t b : {0, 1}) EXPECT_EQ(row(r, b), Vec(kTraceColumns, -1)) << "other steps' rows are left alone";
}

TEST(StepTrace, TermsThatAreOffCountAsZero) {
  const Vec ce{2};
  StepTerms<double> terms;
  terms.ce = ce.data();
  for (double& w : terms.weight) w = 3;
  Vec trace(kTraceColumns, -1);
  const uint32_t step = 1;
  record_step_ref(trace.data(), terms, &step, 1, 1);
  EXPECT_EQ(trace, (Vec{0, 0, 2, 0, 0, 0, 0, 0, 0, 6, 0, 0}));
}

TEST(StepTrace, NotANumberGoesThrough) {
  const Vec ce{NAN};
  StepTerms<double> terms;
  terms.ce = ce.data();
  Vec trace(kTraceColumns);
  const uint32_t step = 1;
  record_step_ref(trace.data(), terms, &step, 1, 1);
  EXPECT_TRUE(std::isnan(trace[kTraceTotal])) << "also where its weight is 0";
}

}  // namespace
}  // namespace actmatch::kernels
