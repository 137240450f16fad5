// Values of real classifiers against reference results that were computed elsewhere (labels/expected.json of the data folder): exact ones
// for pictures that need no resizing, and the top class of every photo.
#include <algorithm>
#include <cmath>
#include <map>

#include "engine/api/explain_session.h"
#include "engine/explain/classifier.h"
#include "engine/image/npy.h"
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
    return preprocess_from_json(R"({"channel_order": "GREY", "mean": 0.1307, "std": 0.3081})", "vit_mnist");
  return preprocess_preset("imagenet");
}

class Golden : public testing::Test {
 protected:
  void SetUp() override {
    const std::string path = data_file("labels/expected.json");
    if (path.empty()) GTEST_SKIP() << "no data folder; set ACTMATCH_DATA to run the tests on real classifiers";
    expected_ = json_of(path);
  }

  // The network's input for a picture, straight to the size S: the reference scaled the short side to S itself.
  static std::vector<float> input_of(const ClassifierShape& shape, const std::string& model, const std::string& image) {
    Preprocess preprocess = preprocess_of(model);
    preprocess.resize_ratio = 1.0;
    const Image fitted =
        fit_image(read_image(data_file("images/" + image)), preprocess, static_cast<int>(shape.width), static_cast<int>(shape.height));
    return to_network(fitted, preprocess, static_cast<int>(shape.channels));
  }

  Json expected_;
};

// Through the command: what `actmatch run` writes.
TEST_F(Golden, ValuesOfTheCommand) {
  const TemporaryFolder tmp;
  for (const auto& [model, pictures] : expected_["golden"].items()) {
    const std::string path = data_file("models/" + model);
    api::ModelSession session(path, "cpu", 1);
    const ClassifierShape& shape = session.classifier().shape();
    for (const auto& [image, values] : pictures.items()) {
      const std::vector<float> x = input_of(shape, model, image);
      const bool half = session.model().inputs()[0].stored_as_half;
      write_npy(tmp / "x.npy", Tensor::of<float>({1, shape.channels, shape.height, shape.width}, x));
      const Outcome run = run_actmatch({"run", path, "--input", tmp / "x.npy", "--out", tmp / "out", "--quiet", "--threads", "1"});
      ASSERT_EQ(run.status, 0) << run.err;
      const Tensor scores = read_npy(tmp / "out/" + shape.output_name + ".npy");
      ASSERT_EQ(scores.count(), shape.classes);
      const bool listed = values[0].is_array();  // [class, value] of the top ones, or all values
      double largest = 0, worst = 0;
      for (size_t i = 0; i < values.size(); ++i)
        largest = std::max(largest, std::abs(listed ? values[i][1].get<double>() : values[i].get<double>()));
      for (size_t i = 0; i < values.size(); ++i) {
        const auto index = listed ? values[i][0].get<size_t>() : i;
        const double value = listed ? values[i][1].get<double>() : values[i].get<double>();
        worst = std::max(worst, std::abs(static_cast<double>(scores.data<float>()[index]) - value));
      }
      // 1e-4 of the largest score: fp32 sums of a few thousand terms, and references rounded to five digits. The fp16 file is stored in
      // half precision but computed in single by both sides.
      EXPECT_LE(worst, 1e-4 * std::max(largest, 0.5)) << model << " on " << image << (half ? " (fp16)" : "");
    }
  }
}

// Every photo: the class with the highest score. The reference's resizer is not bit for bit ours, so that where its two best classes are
// almost equally likely either is right.
TEST_F(Golden, TopClassOfEveryPhoto) {
  for (const char* section : {"photos", "cifar10", "mnist"}) {
    for (const auto& [model, photos] : expected_[section].items()) {
      api::ModelSession session(data_file("models/" + model), "cpu", 1);
      Classifier& classifier = session.classifier();
      std::vector<float> logits(static_cast<size_t>(classifier.shape().classes));
      for (const auto& [image, expected] : photos.items()) {
        classifier.logits(logits.data(), input_of(classifier.shape(), model, image).data(), 1);
        const int32_t top = argmax(logits);
        if (expected.is_number()) {
          EXPECT_EQ(top, expected.get<int32_t>()) << model << " on " << image;
          continue;
        }
        const double gap = expected[0][1].get<double>() - expected[1][1].get<double>();
        const bool tie = gap < 0.02 && top == expected[1][0].get<int32_t>();
        EXPECT_TRUE(top == expected[0][0].get<int32_t>() || tie)
            << model << " on " << image << ": " << top << " in place of " << expected[0][0] << " (ahead by " << gap << ")";
      }
    }
  }
}

}  // namespace
}  // namespace actmatch::e2e
