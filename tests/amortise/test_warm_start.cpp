// An optimisation that begins from logits that somebody else has found.
#include <cmath>

#include "tests/explain/explain_test_util.h"
#include "tests/support/expect_error.h"

namespace actmatch::test {
namespace {

Recipe still_grid(double spread) {
  Recipe r;
  r.name = "still";
  r.generator = {GeneratorKind::kGrid, 3, false, 0.0f};  // 8 x 8 pixels: the last row and column of cells are two pixels wide
  r.generator.start = "any.onnx";
  r.generator.start_spread = spread;
  r.steps = 1;
  r.learning_rate = 0;
  r.weights.ce = 1;
  return r;
}

// Another map for each picture.
SoftMap map_of(const Problem& p) {
  SoftMap map;
  map.logits.assign(p.x.begin(), p.x.begin() + 64);
  for (float& v : map.logits) v = 5 * v + 7;
  map.forward = 2, map.backward = 1;
  return map;
}

TEST(WarmStart, CellsBeginAsTheSpreadMapsMeans) {
  Classifier classifier(cpu(), conv_classifier(8));
  std::vector<Problem> problems;
  for (uint32_t seed : {1, 2, 3}) problems.push_back(problem_for(classifier, noise_image(classifier.shape(), seed), 0.0f));
  Optimiser optimiser(classifier, still_grid(2), 3);
  optimiser.begin_from(map_of);
  const auto found = optimiser.run(problems, 0, {});
  for (size_t i = 0; i < problems.size(); ++i) {
    std::vector<double> map;
    double mean = 0, square = 0;
    for (float v : map_of(problems[i]).logits) map.push_back(v), mean += v / 64.0;
    for (double v : map) square += (v - mean) * (v - mean) / 64;
    for (size_t y = 0; y < 8; ++y)
      for (size_t x = 0; x < 8; ++x) {
        double sum = 0;
        int pixels = 0;
        for (size_t v = y / 3 * 3; v < std::min<size_t>(8, y / 3 * 3 + 3); ++v)
          for (size_t u = x / 3 * 3; u < std::min<size_t>(8, x / 3 * 3 + 3); ++u) sum += map[v * 8 + u], ++pixels;
        ASSERT_NEAR(found[i].logits[y * 8 + x], 2 * (sum / pixels - mean) / std::sqrt(square), 1e-5) << "picture " << i;
      }
    EXPECT_EQ(found[i].forward, 3);  // the map's passes and the step's
    EXPECT_EQ(found[i].backward, 2);
  }
  // A picture begins the same way in any batch.
  EXPECT_EQ(optimiser.run(problems[2], 0, {}).logits, found[2].logits);
}

TEST(WarmStart, WithoutADifferenceThereIsNone) {
  Classifier classifier(cpu(), conv_classifier(8));
  const Problem problem = problem_for(classifier, noise_image(classifier.shape(), 1), 0.0f);
  Optimiser optimiser(classifier, still_grid(1));
  expect_error(ErrorCode::kInternal, {"begin_from"}, [&] { optimiser.run(problem, 0, {}); });
  optimiser.begin_from([](const Problem&) {
    SoftMap flat;
    flat.logits.assign(64, 3.0f);
    return flat;
  });
  EXPECT_EQ(optimiser.run(problem, 0, {}).logits, std::vector<float>(64, 0.0f));
}

TEST(WarmStart, RecipesSayWhereFrom) {
  const Recipe r = recipe_from_json(R"({"name": "x", "generator": {"start": "a.onnx", "start_spread": 3}})", "here", false);
  EXPECT_EQ(r.generator.start, "a.onnx");
  EXPECT_EQ(r.generator.start_spread, 3);
  expect_error(ErrorCode::kFormat, {"'generator.start'", "grid"},
               [] { recipe_from_json(R"({"name": "x", "generator": {"kind": "csae", "start": "a.onnx"}})", "here", false); });
}

}  // namespace
}  // namespace actmatch::test
