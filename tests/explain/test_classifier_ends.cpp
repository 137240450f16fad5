#include "engine/explain/classifier.h"
#include "tests/explain/explain_test_util.h"

namespace actmatch::test {
namespace {

// Image in, mean over the pixels, linear layer to 4 classes: [n, 4], or [n, 4, 1, 1].
struct Net {
  Graph g;
  ValueId scores;
  explicit Net(int64_t n = 1, Shape image = {1, 3, 8, 8}, bool as_map = false) {
    image[0] = n;
    const ValueId x = g.add_input("picture", DType::kF32, image);
    const ValueId w = g.add_constant("w", noise({4, image[1], 1, 1}, 1));
    const ValueId map = g.add_node("conv", ConvAttrs{}, {x, w});
    scores = g.add_node("mean", ReduceAttrs{ReduceKind::kMean, {2, 3}, as_map}, {map}, "scores");
  }
  ValueId softmax(ValueId v, int64_t axis = 1, bool log = false) { return g.add_node("softmax", SoftmaxAttrs{axis, log}, {v}, "p"); }
  ClassifierEnds ends(ValueId output) {
    g.mark_output(output);
    return find_ends(g);
  }
};

TEST(ClassifierEnds, PlainLogits) {
  Net net;
  const ClassifierEnds e = net.ends(net.scores);
  EXPECT_EQ(e.logits, net.scores);
  EXPECT_FALSE(e.shape.ends_in_softmax);
  EXPECT_EQ(e.shape.input_name, "picture");
  EXPECT_EQ(e.shape.output_name, "scores");
  EXPECT_EQ(e.shape.channels, 3);
  EXPECT_EQ(e.shape.height, 8);
  EXPECT_EQ(e.shape.width, 8);
  EXPECT_EQ(e.shape.classes, 4);
}

TEST(ClassifierEnds, TrailingSoftmaxIsRecognised) {
  for (bool log : {false, true}) {
    Net net;
    const ClassifierEnds e = net.ends(net.softmax(net.scores, 1, log));
    EXPECT_EQ(e.logits, net.scores);
    EXPECT_TRUE(e.shape.ends_in_softmax);
    EXPECT_EQ(e.shape.output_name, "p");
  }
}

TEST(ClassifierEnds, SoftmaxBehindReshapeIsRecognised) {
  Net net(2, {1, 3, 8, 8}, true);  // scores 2x4x1x1, softmax over the classes, then flattened
  const ValueId p = net.softmax(net.scores);
  const ClassifierEnds e = net.ends(net.g.add_node("flatten", ReshapeAttrs{{2, 4}}, {p}));
  EXPECT_EQ(e.logits, net.scores);
  EXPECT_TRUE(e.shape.ends_in_softmax);
  EXPECT_EQ(e.shape.classes, 4);

  Net map(1, {1, 3, 8, 8}, true);  // the softmax itself is the output, N x K x 1 x 1
  const ClassifierEnds whole = map.ends(map.softmax(map.scores));
  EXPECT_EQ(whole.logits, map.scores);
  EXPECT_TRUE(whole.shape.ends_in_softmax);
  EXPECT_EQ(whole.shape.classes, 4);
}

TEST(ClassifierEnds, SoftmaxOverSomethingElseIsNot) {
  Net net(1, {1, 3, 8, 8}, true);
  const ValueId p = net.softmax(net.scores, 3);  // over one pixel: all ones
  const ClassifierEnds e = net.ends(p);
  EXPECT_EQ(e.logits, p);
  EXPECT_FALSE(e.shape.ends_in_softmax);
}

TEST(ClassifierEnds, LossesWorkOnTheSoftmaxArgument) {
  Classifier c(cpu(), [](int64_t n, const std::vector<std::string>&) {
    Net net(n);
    net.g.mark_output(net.softmax(net.scores));
    return net.g;
  });
  Probe plain([](int64_t n, const std::vector<std::string>&) {
    Net net(n);
    net.g.mark_output(net.scores);
    return net.g;
  });
  const auto image = noise_image(c.shape(), 3);
  std::vector<float> z(4);
  c.logits(z.data(), image.data(), 1);
  const auto wanted = plain.logits(image);
  for (size_t k = 0; k < 4; ++k) EXPECT_FLOAT_EQ(z[k], static_cast<float>(wanted[k]));
}

TEST(ClassifierEnds, FirstRowOfScoresIsTaken) {
  Net net;
  const ValueId features = net.g.add_node("relu", UnaryAttrs{}, {net.g.inputs()[0]}, "features");
  net.g.mark_output(features);  // 1x3x8x8 is no row of scores
  EXPECT_EQ(net.ends(net.scores).logits, net.scores);
}

TEST(ClassifierEnds, GreyImagesAreImages) {
  Net net(1, {1, 1, 5, 7});
  const ClassifierEnds e = net.ends(net.scores);
  EXPECT_EQ(e.shape.channels, 1);
  EXPECT_EQ(e.shape.height, 5);
  EXPECT_EQ(e.shape.width, 7);
}

TEST(ClassifierEnds, NoImageInputIsRefused) {
  Graph g;
  const ValueId x = g.add_input("tokens", DType::kF32, {1, 16});
  const ValueId w = g.add_constant("w", noise({16, 4}, 1));
  g.mark_output(g.add_node("linear", MatMulAttrs{}, {x, w}));
  expect_mentions(error_of([&] { find_ends(g); }, ErrorCode::kUnsupported),
                  {"no image-like input", "'tokens'", "1x16", "image classifiers"});
}

TEST(ClassifierEnds, WrongChannelCountIsRefused) {
  Net net(1, {1, 4, 8, 8});
  expect_mentions(error_of([&] { net.ends(net.scores); }, ErrorCode::kUnsupported), {"'picture'", "1x4x8x8", "1 or 3 channels"});
}

TEST(ClassifierEnds, ChannelsLastIsRefusedWithItsCure) {
  Net net(1, {1, 8, 8, 3});
  expect_mentions(error_of([&] { net.ends(net.scores); }, ErrorCode::kUnsupported), {"'picture'", "1x8x8x3", "channels last", "NCHW"});
}

TEST(ClassifierEnds, SeveralInputsAreRefused) {
  {
    Net net;
    net.g.add_input("second", DType::kF32, {1, 3, 8, 8});
    expect_mentions(error_of([&] { net.ends(net.scores); }, ErrorCode::kUnsupported), {"several image inputs", "'picture'", "'second'"});
  }
  Net net;
  net.g.add_input("scale", DType::kF32, {1});
  expect_mentions(error_of([&] { net.ends(net.scores); }, ErrorCode::kUnsupported), {"beside the image", "'scale'", "constants"});
}

TEST(ClassifierEnds, NoScoresAreRefused) {
  Net net;
  expect_mentions(
      error_of([&] { net.ends(net.g.add_node("relu", UnaryAttrs{}, {net.g.inputs()[0]}, "features")); }, ErrorCode::kUnsupported),
      {"no output of class scores", "'features'", "1x3x8x8"});
}

TEST(Classifier, LogitsInBatchesAreTheLogitsOneByOne) {
  Classifier c(cpu(), conv_classifier());
  Probe probe(conv_classifier());
  const int64_t n = 2 * c.max_batch() + 3;
  const auto images = list<float>(noise({n, 3, 8, 8}, 8));
  std::vector<float> z(static_cast<size_t>(4 * n));
  int calls = 0;
  c.before_each_batch([&] { ++calls; });
  c.logits(z.data(), images.data(), n);
  EXPECT_EQ(c.images_run(), n);
  EXPECT_EQ(calls, 4) << "two whole batches, then 2 and 1: none is padded";
  for (int64_t i = 0; i < n; ++i) {
    const auto wanted = probe.logits({images.begin() + i * 192, images.begin() + (i + 1) * 192});
    // Another batch may take another algorithm; logits are of order 1 and sums have under 100 terms.
    for (int64_t k = 0; k < 4; ++k) ASSERT_NEAR(z[static_cast<size_t>(4 * i + k)], wanted[static_cast<size_t>(k)], 1e-5);
  }
  c.before_each_batch([] { throw Error(ErrorCode::kCancelled, "stopped"); });
  error_of([&] { c.logits(z.data(), images.data(), n); }, ErrorCode::kCancelled);
}

TEST(Classifier, SoftmaxAndArgmax) {
  const std::vector<float> z{1000.0f, 1001.0f, 1001.0f, -1000.0f};
  const auto p = softmax(z);
  const double e = std::exp(1.0), sum = 1 + 2 * e;
  EXPECT_NEAR(p[0], 1 / sum, 1e-7);  // one rounding to float
  EXPECT_NEAR(p[1], e / sum, 1e-7);
  EXPECT_EQ(p[3], 0);
  EXPECT_EQ(argmax(z), 1) << "the first of equal ones";
}

}  // namespace
}  // namespace actmatch::test
