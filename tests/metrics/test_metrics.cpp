// The metrics on cases worked out by hand.
#include "engine/metrics/metric.h"

#include <algorithm>
#include <random>

#include "engine/image/file.h"
#include "engine/metrics/curves.h"
#include "engine/metrics/images.h"
#include "engine/metrics/impute.h"
#include "tests/explain/explain_test_util.h"
#include "tests/support/expect_error.h"

namespace actmatch::test {
namespace {

using Json = nlohmann::json;

// 1 x H x W -> 3 classes, logit 0 the weighted sum of the pixels, the others constant: p_0 = 1 / (1 + rest e^-z), rest = e^rival +
// e^lowest.
struct Case {
  Case(int64_t H, int64_t W, const std::vector<float>& weight, std::vector<float> x, float rival, float lowest)
      : classifier(cpu(), linear_classifier(H, W, weight, rival, lowest)),
        problem(problem_for(classifier, std::move(x), 0.0f, {}, 0)),
        rest(std::exp(rival) + std::exp(lowest)),
        input{problem, {}, {}, {}, {}, {}, kNeedsMap | kNeedsMask | kNeedsObject | kNeedsSeeds} {
    const auto n = static_cast<size_t>(H * W);
    input.soft.assign(n, 0.0f);
    input.mask.assign(n, 0);
    input.object.assign(n, 0);
  }
  double p(double logit) const { return 1 / (1 + rest * std::exp(-logit)); }
  std::vector<double> operator()(const std::string& metric, const Json& options = Json::object()) {
    return measure(find_metric(metric), classifier, input, options).values;
  }
  Classifier classifier;
  Problem problem;
  double rest;
  MetricInput input;
};

constexpr double kFloat = 1e-6;  // p comes from float logits of size 10

// Four pixels of which the first two speak for class 0 and the third against it; the baseline colour is 0.
struct FourPixels : Case {
  FourPixels() : Case(2, 2, {4, 2, -1, 0}, {1, 1, 1, 1}, 1, -1) {
    input.soft = {0.9f, 0.6f, 0.1f, 0.3f};
    input.mask = {1, 0, 0, 0};
  }
};

// What reads the options says what they are where nobody says otherwise.
TEST(Metrics, DefaultsAreThoseThatAreTaken) {
  EXPECT_EQ(default_options(find_metric("minimality")), (Json{{"tile", 8}}));
  EXPECT_EQ(default_options(find_metric("deletion-insertion")),
            (Json{{"steps", 224}, {"blur_sigma", 5.0}, {"blur_radius", 5}, {"deletion_baseline", "zero"}}));
  EXPECT_EQ(default_options(find_metric("area")), Json::object());
  EXPECT_EQ(text_of_options(default_options(find_metric("road"))), "noise 0.01, percentiles 10 20 30 40 50 60 70 80 90");
  FourPixels c;
  EXPECT_EQ(measure(find_metric("pointing"), c.classifier, c.input).options, default_options(find_metric("pointing")));
  expect_error(ErrorCode::kFormat, {"'pointing'", "tolerence"}, [&] { c("pointing", {{"tolerence", 1}}); });
}

TEST(Metrics, OfMaskAndMapAlone) {
  FourPixels c;
  EXPECT_EQ(c("area")[0], 0.25);
  EXPECT_NEAR(c("soft-map")[0], 1.9 / 4, kFloat);
  EXPECT_NEAR(c("soft-map")[1], (0.36 + 0.96 + 0.36 + 0.84) / 4, kFloat);
  Case wide(3, 4, std::vector<float>(12, 1.0f), std::vector<float>(12, 1.0f), 0, 0);
  wide.input.mask = {1, 0, 0, 1,  //
                     0, 1, 0, 0,  //
                     0, 0, 0, 1};
  EXPECT_EQ(wide("compactness")[0], 3) << "the diagonal counts as joined";
  EXPECT_EQ(wide("compactness")[1], 16.0 * 16.0 / 4);
  wide.input.mask = {1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0};
  EXPECT_EQ(wide("compactness"), (std::vector<double>{1, 16}));
  wide.input.mask.assign(12, 0);
  EXPECT_EQ(wide("compactness")[0], 0);
  EXPECT_TRUE(std::isnan(wide("compactness")[1]));
}

TEST(Metrics, FidelityOnFourBackgrounds) {
  FourPixels c;
  const auto v = c("fidelity");
  // The first pixel alone, the others of the background's value: -1.2 black, 1.35 white (of the test's units), 0 the mean, and the blurred
  // picture, which is 1 everywhere.
  const double black = -1.2, white = 255 * 0.01 - 1.2;
  const double logits[] = {4, 4 + 2 * black - black, 4 + 2 * white - white, 5}, x = 5;
  double held = 0;
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(v[1 + i], logits[i] > 1 ? 1.0 : 0.0);
    held += v[1 + i] / 4;
    EXPECT_NEAR(v[5 + i], c.p(logits[i]) / c.p(x), kFloat);
    // The two others keep their ratio: KL is that of (p, 1 - p).
    const double p = c.p(x), q = c.p(logits[i]);
    EXPECT_NEAR(v[9 + i], p * std::log(p / q) + (1 - p) * std::log((1 - p) / (1 - q)), kFloat);
  }
  EXPECT_EQ(v[0], held);
  const MetricInfo& info = find_metric("fidelity");
  EXPECT_EQ(info.figures[1].name, "fidelity_mean");
  EXPECT_EQ(info.figures[12].name, "kl_blur");
}

TEST(Metrics, Necessity) {
  FourPixels c;
  c.input.mask = {1, 0, 0, 0};
  EXPECT_EQ(c("necessity")[0], 0.0) << "logit 1 against 1: the first of equals is the class";
  EXPECT_NEAR(c("necessity")[1], c.p(5) - c.p(1), kFloat);
  c.input.mask = {1, 1, 0, 0};
  EXPECT_EQ(c("necessity")[0], 1.0);
  EXPECT_NEAR(c("necessity")[1], c.p(5) - c.p(-1), kFloat);
  EXPECT_NEAR(c("necessity", {{"baseline", "black"}})[1], c.p(5) - c.p(-1 - 1.2 * 6), kFloat);
}

TEST(Metrics, Stability) {
  FourPixels c;
  c.input.mask = {1, 1, 1, 1};
  EXPECT_EQ(c("stability")[0], 1.0) << "no background shows";
  EXPECT_NEAR(c("stability")[1], c.p(5), kFloat);
  EXPECT_NEAR(c("stability")[2], c.p(5), kFloat);
  c.input.mask = {0, 0, 0, 0};
  c.input.others = {{-9, -9, -9, -9}};  // every fourth background: logit -45
  const auto v = c("stability", {{"backgrounds", 8}});
  EXPECT_LE(v[0], 0.75);
  EXPECT_NEAR(v[2], c.p(-45), kFloat);
}

TEST(Metrics, SmallestLevelSet) {
  FourPixels c;  // in the map's order the logits are 4, 6, 6, 5
  const Json four{{"levels", 4}, {"least", 0.25}};
  const auto with = [&](const char* name, double value) {
    Json options = four;
    options[name] = value;
    return options;
  };
  EXPECT_EQ(c("level-set", four)[0], 0.25) << "p is .95 there, .98 of the picture";
  EXPECT_EQ(c("level-set", with("tau", 0.98))[0], 0.5);
  c.input.soft = {0.1f, 0.2f, 0.9f, 0.8f};
  EXPECT_EQ(c("level-set", four)[0], 1) << "logits -1, -1, 1 keep nothing";

  // 25 random backgrounds: the first pixel alone holds where 4 + 4 r1 - 4 r2 > 3, the first two where 8 - 4 r2 > 3.
  Case wavering(2, 2, {4, 4, -4, 0}, {1, 1, 1, 1}, 3, -1);
  wavering.input.soft = {0.9f, 0.6f, 0.1f, 0.3f};
  std::vector<int> held(2, 0);
  for (int64_t k = 0; k < 25; ++k) {
    const std::vector<float> r = random_background(wavering.input, wavering.classifier.shape(), 16, k);
    held[0] += 4 + 4 * r[1] - 4 * r[2] > 3;
    held[1] += 8 - 4 * r[2] > 3;
  }
  ASSERT_LT(held[0], held[1]);
  Json robust = with("backgrounds", 25);
  robust["rho"] = held[0] / 25.0;
  EXPECT_EQ(wavering("level-set", robust)[1], 0.25);
  robust["rho"] = (held[0] + 1) / 25.0;
  EXPECT_EQ(wavering("level-set", robust)[1], 0.5);
  EXPECT_EQ(wavering("level-set", robust)[0], 0.25) << "backgrounds do not count for it";
}

TEST(Metrics, Minimality) {
  // Tiles of one pixel. tau = 1/2, p(x) = p(5): the second pixel may go while the first stays, and the first not.
  FourPixels c;
  c.input.mask = {1, 1, 0, 0};
  EXPECT_EQ(c("minimality", {{"tile", 1}})[0], c.p(2) > 0.5 * c.p(5) ? 2 : 1);
  EXPECT_EQ(c("minimality", {{"tile", 1}})[1], 0) << "one component";
  EXPECT_EQ(c("minimality", {{"tile", 8}})[0], 0) << "one tile";
  c.input.mask = {1, 0, 0, 0};
  EXPECT_EQ(c("minimality", {{"tile", 1}})[0], 0);
  c.input.mask = {0, 0, 1, 0};
  EXPECT_TRUE(std::isnan(c("minimality", {{"tile", 1}})[0])) << "the mask itself does not do";
}

TEST(Metrics, DeletionAndInsertion) {
  FourPixels c;
  c.problem.colour[0] = 7;  // not what deletion puts in
  const auto v = c("deletion-insertion", {{"blur_radius", 0}});
  // Order 0, 1, 3, 2. Zero goes in: logits 5, 1, -1, -1, 0.
  const double deletion = (c.p(5) / 2 + c.p(1) + c.p(-1) + c.p(-1) + c.p(0) / 2) / 4;
  EXPECT_NEAR(v[0], deletion, kFloat);
  EXPECT_NEAR(v[1], c.p(5), kFloat) << "a blur of one tap is the picture";
  // Two steps of two pixels.
  EXPECT_NEAR(c("deletion-insertion", {{"steps", 2}})[0], (c.p(5) / 2 + c.p(-1) + c.p(0) / 2) / 2, kFloat);
  EXPECT_NEAR(c("deletion-insertion", {{"deletion_baseline", "mean"}, {"steps", 1}})[0], (c.p(5) + c.p(35)) / 2, kFloat);
  // 3 x 3 taps over 2 x 2 pixels, zero outside: each pixel keeps the share of the taps that lie inside.
  const double side = std::exp(-0.5 / 25), inside = (1 + side) / (1 + 2 * side), start = inside * inside * 5;
  const auto blurred = c("deletion-insertion", {{"blur_radius", 1}, {"steps", 1}});
  EXPECT_NEAR(blurred[1], (c.p(start) + c.p(5)) / 2, kFloat);
  EXPECT_EQ(curve_area({1, 0, 1}), 0.5);
}

TEST(Metrics, AverageDropIncreaseGain) {
  FourPixels c;
  const double logit = 4 * 0.9 + 2 * 0.6 - 0.1, e = c.p(logit), x = c.p(5);
  const auto v = c("average-drop");
  EXPECT_NEAR(v[0], (x - e) / x, kFloat);
  EXPECT_EQ(v[1], 0);
  EXPECT_EQ(v[2], 0);
  c.input.soft = {1, 1, 0, 0};
  const auto w = c("average-drop");
  EXPECT_EQ(w[0], 0);
  EXPECT_EQ(w[1], 1);
  EXPECT_NEAR(w[2], (c.p(6) - x) / (1 - x), 1e-4);  // 1 - p is small: float logits leave fewer digits
}

TEST(Metrics, SufficiencyAndComprehensiveness) {
  FourPixels c;
  // With a step of 50 there is one k: the top two pixels, kept or removed, on blur (1), black, mean and white.
  const double black = -1.2, white = 255 * 0.01 - 1.2;
  double kept = 0, removed = 0;
  for (const double b : {1.0, black, 0.0, white}) {
    kept += c.p(6 - b) / 4;
    removed += c.p(6 * b - 1) / 4;
  }
  const auto v = c("sufficiency", {{"step", 50}});
  EXPECT_NEAR(v[0], c.p(5) - kept, kFloat);
  EXPECT_NEAR(v[1], c.p(5) - removed, kFloat);
}

TEST(Metrics, RoadFillsInFromTheNeighbours) {
  // 1 x 3: the middle one is the mean of its neighbours; of two removed ones at the end each is what the third is.
  EXPECT_EQ(impute({2, 99, 4}, {0, 1, 0}, 1, 3), (std::vector<float>{2, 3, 4}));
  const auto flat = impute({2, 99, 98}, {0, 1, 1}, 1, 3);
  EXPECT_NEAR(flat[1], 2, 1e-6);
  EXPECT_NEAR(flat[2], 2, 1e-6);
  // 3 x 3 with a known frame: direct ones count twice as much as diagonal ones. (4 * 6 + 4 * 3 / 2 ...) = (4/6 * 1 + 4/12 * 4).
  EXPECT_NEAR(impute({4, 1, 4, 1, 99, 1, 4, 1, 4}, {0, 0, 0, 0, 1, 0, 0, 0, 0}, 3, 3)[4], 4.0 / 6 * 1 + 4.0 / 12 * 4, 1e-6);
  EXPECT_EQ(impute({5, 6}, {0, 0}, 1, 2), (std::vector<float>{5, 6}));
  // A net of four equal pixels does not notice what is filled in, whatever the order.
  FourPixels c;
  EXPECT_NEAR(c("road", {{"noise", 0}})[0], 0, kFloat);
  // Pixels of 3 and 0: one pixel of four is removed. MoRF takes the first: filled in with 0, the logit is 0; LeRF takes the third: nothing.
  Case line(2, 2, {1, 0, 0, 0}, {3, 0, 0, 0}, 1, -1);
  line.input.soft = {1, 0.5f, 0, 0.2f};
  EXPECT_NEAR(line("road", {{"noise", 0}, {"percentiles", {25}}})[0], (line.p(3) - line.p(0)) / 2, kFloat);
}

// Whatever pixels are removed and however odd the sizes: each is the weighted mean of its neighbours, and the known ones stay.
TEST(Metrics, RoadSolvesItsEquations) {
  std::mt19937 random(5);
  std::uniform_real_distribution<double> uniform(0, 1);
  for (const auto& [H, W] : {std::pair<int64_t, int64_t>{1, 40}, {40, 1}, {5, 9}, {33, 50}, {64, 64}})
    for (const double share : {0.1, 0.5, 0.9, 0.999})
      for (const bool block : {false, true}) {  // scattered pixels, or one piece up to the last pixels
        std::vector<float> image(static_cast<size_t>(H * W));
        HardMask removed(image.size());
        for (size_t i = 0; i < image.size(); ++i) {
          image[i] = static_cast<float>(uniform(random));
          removed[i] = block ? static_cast<double>(i + 1) <= share * static_cast<double>(image.size()) : uniform(random) < share;
        }
        if (std::count(removed.begin(), removed.end(), 0) == 0) removed[0] = 0;
        const std::vector<float> filled = impute(image, removed, H, W);
        for (int64_t y = 0; y < H; ++y)
          for (int64_t x = 0; x < W; ++x) {
            const auto i = static_cast<size_t>(y * W + x);
            if (!removed[i]) {
              EXPECT_EQ(filled[i], image[i]);
              continue;
            }
            double sum = 0, weights = 0;
            for (int64_t v = std::max<int64_t>(0, y - 1); v <= std::min(H - 1, y + 1); ++v)
              for (int64_t u = std::max<int64_t>(0, x - 1); u <= std::min(W - 1, x + 1); ++u) {
                const double weight = v == y && u == x ? 0 : v == y || u == x ? 1.0 / 6 : 1.0 / 12;
                sum += weight * filled[static_cast<size_t>(v * W + u)];
                weights += weight;
              }
            // Values are rounded to single precision, which is 6e-8 for those up to 1.
            EXPECT_NEAR(filled[i], sum / weights, 3e-7) << H << " x " << W << ", " << share << (block ? " in one piece" : "");
          }
      }
}

TEST(Metrics, MuFidelity) {
  // Cells of one pixel, whose shares in the logit are powers of two: no two subsets weigh the same. The map says just these shares.
  std::vector<float> weight;
  for (int i = 0; i < 9; ++i) weight.push_back(static_cast<float>(1 << i) / 64);
  Case c(3, 3, weight, std::vector<float>(9, 0.5f), 1, -1);
  for (size_t i = 0; i < 9; ++i) c.input.soft[i] = weight[i] / 4;
  EXPECT_NEAR(c("mufidelity", {{"grid", 3}, {"subsets", 60}})[0], 1, 1e-12);
  for (float& v : c.input.soft) v = 1 - v;
  EXPECT_LT(c("mufidelity", {{"grid", 3}, {"subsets", 60}})[0], 0.9);
  c.input.soft.assign(9, 0.5f);
  EXPECT_TRUE(std::isnan(c("mufidelity", {{"share", 1}})[0])) << "all subsets are alike";
}

TEST(Metrics, AgainstTheObject) {
  Case c(20, 20, std::vector<float>(400, 1.0f), std::vector<float>(400, 1.0f), 0, 0);
  c.input.object[0] = c.input.object[1] = 1;
  c.input.soft[9 * 20 + 12] = 1;  // 9 down, 11 and 12 to the right: 14.2 pixels from the nearest
  c.input.soft[0] = 0.25f;
  EXPECT_EQ(c("pointing"), (std::vector<double>{1, 0.2}));
  EXPECT_EQ(c("pointing", {{"tolerance", 14}})[0], 0);
  c.input.mask[1] = c.input.mask[2] = c.input.mask[3] = 1;
  EXPECT_EQ(c("object-iou")[0], 0.25);
}

TEST(Metrics, SeedAgreement) {
  FourPixels c;
  c.input.mask = {1, 1, 0, 0};
  c.input.seeds = {{1, 0, 0, 0}, {0, 0, 0, 1}};
  EXPECT_NEAR(c("seed-agreement")[0], (0.5 + 0 + 0) / 3, 1e-15);
  c.input.seeds = {};
  EXPECT_TRUE(std::isnan(c("seed-agreement")[0]));
}

TEST(Metrics, RefuseWhatIsMissing) {
  FourPixels c;
  c.input.has = kNeedsMap;
  expect_error(ErrorCode::kInvalidArgument, {"'fidelity'", "hard mask"}, [&] { c("fidelity"); });
  expect_error(ErrorCode::kInvalidArgument, {"'pointing'", "box"}, [&] { c("pointing"); });
  expect_error(ErrorCode::kFormat, {"'mufidelity'", "'subset'", "not a key"}, [&] { c("mufidelity", {{"subset", 5}}); });
  expect_error(ErrorCode::kNotFound, {"'auc'", "deletion-insertion"}, [] { find_metric("auc"); });
  for (const MetricInfo& m : all_metrics())
    for (const Figure& f : m.figures) EXPECT_TRUE(!f.name.empty() && !f.unit.empty() && !f.about.empty()) << m.name;
}

TEST(Metrics, TheReadmeNamesAllOfThem) {
  const auto bytes = read_file(std::string(ACTMATCH_SOURCE_DIR) + "/engine/metrics/README.md");
  const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  EXPECT_EQ(all_metrics().size(), 16u);
  for (const MetricInfo& m : all_metrics()) EXPECT_NE(text.find("| `" + std::string(m.name) + "` |"), std::string::npos) << m.name;
}

TEST(Metrics, MoreImagesThanABatchAreTheSame) {
  const GraphSource source = conv_classifier(16);
  Classifier classifier(cpu(), source), one(cpu(), source);
  one.limit_batch(1);
  const Problem problem = problem_for(classifier, noise_image(classifier.shape(), 2), 0.0f);
  MetricInput in{problem, list<float>(noise({256}, 3)), random_mask(16, 16, 4, 0.3), random_mask(16, 16, 5, 0.2), {}, {}, 7};
  for (float& v : in.soft) v = 0.5f * (v + 1);
  for (const MetricInfo& m : all_metrics()) {
    if (m.needs & kNeedsSeeds) continue;
    const auto a = measure(m, classifier, in).values, b = measure(m, one, in).values;
    for (size_t i = 0; i < a.size(); ++i)
      EXPECT_TRUE(std::abs(a[i] - b[i]) < 2e-5 || (std::isnan(a[i]) && std::isnan(b[i])))
          << m.figures[i].name;  // batches may take other algorithms
  }
}

}  // namespace
}  // namespace actmatch::test
