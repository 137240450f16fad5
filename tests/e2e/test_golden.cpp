// Values of real classifiers against reference results that were computed elsewhere (labels/expected.json of the data folder): exact ones
// for pictures that need no resizing, and the top class of every photo.
#include <algorithm>
#include <cmath>

#include "engine/api/explain_session.h"
#include "engine/explain/classifier.h"
#include "engine/image/npy.h"
#include "engine/image/resize.h"
#include "tests/e2e/command.h"

namespace actmatch::e2e {
namespace {

using Json = nlohmann::json;

// How each model wants its pictures.
Preprocess preprocess_of(const std::string& model) {
  if (model.rfind("squeezenet", 0) == 0) return preprocess_preset("caffe");
  if (model.rfind("mobilenet", 0) == 0) return preprocess_preset("tf");
  if (model.rfind("resnet8", 0) == 0) return preprocess_preset("raw");
  if (model.rfind("vit_mnist", 0) == 0)
    return preprocess_from_json(R"({"channel_order": "GREY", "mean": [0.1307], "std": [0.3081]})", "vit_mnist");
  return preprocess_preset("imagenet");
}

// The picture in the size S as the reference made it: short side to S, the long one rounded, and the crop's corner rounded down
// (torchvision, whose rules are the engine's own, rounds these two differently).
Image reference_fit(const Image& image, int size) {
  if (image.width == size && image.height == size) return image;
  const double ratio = static_cast<double>(size) / std::min(image.width, image.height);
  const auto scaled = [&](int side) { return std::max<int64_t>(size, std::llround(side * ratio)); };
  const int64_t width = scaled(image.width), height = scaled(image.height);
  return resize_part(image, width, height, (width - size) / 2, (height - size) / 2, size, size, Interpolation::kBilinear);
}

std::vector<float> input_of(const ClassifierShape& shape, const std::string& model, const Image& image) {
  return to_network(reference_fit(image, static_cast<int>(shape.width)), preprocess_of(model), static_cast<int>(shape.channels));
}

// The golden values of a picture: [class, value] of the top ones, or all values. The largest difference, and the largest value.
std::pair<double, double> difference(const Json& values, const Tensor& scores) {
  double largest = 0, worst = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const bool listed = values[i].is_array();
    const auto index = listed ? values[i][0].get<size_t>() : i;
    const double value = listed ? values[i][1].get<double>() : values[i].get<double>();
    largest = std::max(largest, std::abs(value));
    worst = std::max(worst, std::abs(static_cast<double>(scores.data<float>()[index]) - value));
  }
  return {worst, largest};
}

class Golden : public testing::Test {
 protected:
  void SetUp() override {
    const std::string path = data_file("labels/expected.json");
    if (path.empty()) GTEST_SKIP() << "no data folder; set ACTMATCH_DATA to run the tests on real classifiers";
    expected_ = json_of(path);
  }

  Json expected_;
};

// Through the command: what `actmatch run` writes.
TEST_F(Golden, ValuesOfTheCommand) {
  const TemporaryFolder tmp;
  for (const auto& [model, pictures] : expected_["golden"].items()) {
    const std::string path = data_file("models/" + model);
    api::ModelSession session(path, {"cpu", 1});
    const ClassifierShape& shape = session.classifier().shape();
    const auto compare = [&](const Image& image, const Json& values) {
      write_npy(tmp / "x.npy", Tensor::of<float>({1, shape.channels, shape.height, shape.width}, input_of(shape, model, image)));
      const Outcome run = run_actmatch({"run", path, "--input", tmp / "x.npy", "--out", tmp / "out", "--quiet", "--threads", "1"});
      EXPECT_EQ(run.status, 0) << run.err;
      const Tensor scores = read_npy(tmp / ("out/" + shape.output_name + ".npy"));
      EXPECT_EQ(scores.count(), shape.classes);
      return difference(values, scores);
    };
    for (const auto& [name, values] : pictures.items()) {
      const auto [worst, largest] = compare(read_image(data_file("images/" + name)), values);
      // 1e-4 of the largest score, for fp32 sums of a few thousand terms and references rounded to five digits.
      EXPECT_LE(worst, 1e-4 * largest) << model << " on " << name;
    }
  }
}

// Every photo: the class with the highest score.
TEST_F(Golden, TopClassOfEveryPhoto) {
  for (const char* section : {"photos", "cifar10", "mnist"}) {
    for (const auto& [model, photos] : expected_[section].items()) {
      api::ModelSession session(data_file("models/" + model), {"cpu", 1});
      Classifier& classifier = session.classifier();
      std::vector<float> logits(static_cast<size_t>(classifier.shape().classes));
      for (const auto& [name, expected] : photos.items()) {
        classifier.logits(logits.data(), input_of(classifier.shape(), model, read_image(data_file("images/" + name))).data(), 1);
        EXPECT_EQ(argmax(logits), expected.is_number() ? expected.get<int32_t>() : expected[0][0].get<int32_t>())
            << model << " on " << name;
      }
    }
  }
}

}  // namespace
}  // namespace actmatch::e2e
