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

TEST(ClassifierEnds, ChannelsLastIsTheImportersAffair) {
  Net net(1, {1, 8, 8, 3});
  expect_mentions(error_of([&] { net.ends(net.scores); }, ErrorCode::kUnsupported), {"'picture'", "1x8x8x3", "no image-like input"});
}

// Scores of three labels and what a classifier makes of them: `end` adds nodes to the scores 1x3.
ClassifierEnds ends_of_scores(Graph& g, Head head, const std::function<ValueId(Graph&, ValueId)>& end, int64_t labels = 3) {
  const ValueId x = g.add_input("picture", DType::kF32, {2, 3, 4, 4});
  const ValueId pooled = g.add_node("mean", ReduceAttrs{ReduceKind::kMean, {2, 3}, false}, {x});
  const ValueId w = g.add_constant("w", noise({3, labels}, 5));
  g.mark_output(end(g, g.add_node("linear", MatMulAttrs{}, {pooled, w}, "z")));
  return find_ends(g, head);
}
ValueId unary(Graph& g, UnaryKind kind, ValueId v) { return g.add_node("u" + std::to_string(v), UnaryAttrs{kind}, {v}); }

TEST(Heads, AreRecognised) {
  struct Case {
    const char* what;
    std::function<ValueId(Graph&, ValueId)> end;
    int64_t scores;
    Head head;
    bool softmax, sigmoid;
  };
  const auto same = [](Graph&, ValueId z) { return z; };
  const auto sigmoid = [](Graph& g, ValueId z) { return unary(g, UnaryKind::kSigmoid, z); };
  const auto column = [](Graph& g, ValueId z) { return g.add_node("flat", ReshapeAttrs{{2}}, {z}); };
  const auto log_of_softmax = [](Graph& g, ValueId z) { return unary(g, UnaryKind::kLog, g.add_node("s", SoftmaxAttrs{1, false}, {z})); };
  const auto written_out = [](Graph& g, ValueId z) {
    const ValueId e = unary(g, UnaryKind::kExp, z);
    return g.add_node("p", BinaryAttrs{BinaryKind::kDiv}, {e, g.add_node("sum", ReduceAttrs{ReduceKind::kSum, {1}, true}, {e})});
  };
  const auto as_map = [](Graph& g, ValueId z) {
    return g.add_node("last", TransposeAttrs{{0, 2, 3, 1}},
                      {unary(g, UnaryKind::kSigmoid, g.add_node("map", ReshapeAttrs{{2, 3, 1, 1}}, {z}))});
  };
  for (const Case& c :
       {Case{"logits", same, 3, Head::kSoftmax, false, false}, Case{"labels", sigmoid, 3, Head::kSigmoid, false, true},
        Case{"one score", same, 1, Head::kBinary, false, false}, Case{"one probability", sigmoid, 1, Head::kBinary, false, true},
        Case{"one score without an axis", column, 1, Head::kBinary, false, false},
        Case{"log of softmax", log_of_softmax, 3, Head::kSoftmax, true, false},
        Case{"softmax written out", written_out, 3, Head::kSoftmax, true, false},
        Case{"labels as a map, channels last", as_map, 3, Head::kSigmoid, false, true}}) {
    Graph g;
    const ClassifierEnds e = ends_of_scores(g, Head::kAuto, c.end, c.scores);
    EXPECT_EQ(e.shape.head, c.head) << c.what;
    EXPECT_EQ(e.shape.ends_in_softmax, c.softmax) << c.what;
    EXPECT_EQ(e.shape.ends_in_sigmoid, c.sigmoid) << c.what;
    EXPECT_EQ(e.shape.labels, c.scores == 1 ? 2 : 3) << c.what;
    EXPECT_EQ(e.shape.classes, c.head == Head::kSoftmax ? 3 : 2) << c.what;
  }
}

TEST(Heads, ThatDoNotFitAreRefused) {
  const auto same = [](Graph&, ValueId z) { return z; };
  const auto softmax_end = [](Graph& g, ValueId z) { return g.add_node("s", SoftmaxAttrs{1, false}, {z}); };
  for (const auto& [head, end, scores] : {std::tuple{Head::kBinary, std::function<ValueId(Graph&, ValueId)>(same), 3},
                                          {Head::kSoftmax, same, 1},
                                          {Head::kSigmoid, softmax_end, 3}}) {
    Graph g;
    expect_mentions(error_of([&, h = head, &e = end, n = scores] { ends_of_scores(g, h, e, n); }, ErrorCode::kInvalidArgument),
                    {"head", name_of(head)});
  }
  EXPECT_EQ(head_of("sigmoid"), Head::kSigmoid);
  error_of([] { head_of("argmax"); }, ErrorCode::kInvalidArgument);
}

// The row that is explained: softmax of (0, z) at 1 is the sigmoid of the label's logit, whatever the other labels say.
TEST(Heads, DecisionsAreThoseOfTheSigmoid) {
  for (int64_t label : {0, 2}) {
    const auto source = [](int64_t n, const std::vector<std::string>&) {
      Graph g;
      const ValueId x = g.add_input("picture", DType::kF32, {n, 3, 4, 4});
      const ValueId pooled = g.add_node("mean", ReduceAttrs{ReduceKind::kMean, {2, 3}, false}, {x});
      const ValueId z = g.add_node("linear", MatMulAttrs{}, {pooled, g.add_constant("w", noise({3, 3}, 5))}, "z");
      g.mark_output(g.add_node("p", UnaryAttrs{UnaryKind::kSigmoid}, {z}));
      return g;
    };
    Classifier all(cpu(), source), decision(cpu(), source, Head::kAuto, label);
    EXPECT_EQ(all.shape().classes, 3);
    ASSERT_EQ(decision.shape().classes, 2);
    EXPECT_EQ(decision.shape().labels, 3);
    const auto image = noise_image(all.shape(), 3);
    std::vector<float> z(3), row(2);
    all.logits(z.data(), image.data(), 1);
    decision.logits(row.data(), image.data(), 1);
    EXPECT_EQ(row[0], 0.0f);
    EXPECT_EQ(row[1], z[static_cast<size_t>(label)]);
    EXPECT_NEAR(softmax(row)[1], 1 / (1 + std::exp(-z[static_cast<size_t>(label)])), 1e-6);  // a few roundings
  }
}

TEST(OwnNormalisation, IsRecognisedByWhatItTakes) {
  const auto net = [](const std::vector<std::pair<BinaryKind, std::vector<float>>>& steps) {
    Graph g;
    ValueId v = g.add_input("picture", DType::kF32, {1, 3, 4, 4});
    for (const auto& [kind, values] : steps) {
      const bool one = values.size() == 1;
      const ValueId c = g.add_constant("c", Tensor::of<float>(one ? Shape{} : Shape{1, 3, 1, 1}, values));
      v = g.add_node("n" + std::to_string(v), BinaryAttrs{kind}, {v, c});
    }
    g.mark_output(g.add_node("mean", ReduceAttrs{ReduceKind::kMean, {2, 3}, false}, {v}));
    return find_own_normalisation(g, g.inputs()[0]);
  };
  using enum BinaryKind;
  EXPECT_EQ(net({}), "");
  EXPECT_EQ(net({{kDiv, {255}}}), "raw");
  EXPECT_EQ(net({{kMul, {1 / 127.5f}}, {kSub, {1}}}), "raw");
  EXPECT_EQ(net({{kSub, {123.7f, 116.3f, 103.5f}}, {kDiv, {58.4f, 57.1f, 57.4f}}}), "raw");
  EXPECT_EQ(net({{kAdd, {-103.9f, -116.8f, -123.7f}}}), "raw");
  EXPECT_EQ(net({{kSub, {0.485f, 0.456f, 0.406f}}, {kDiv, {0.229f, 0.224f, 0.225f}}}), "unit");
  EXPECT_EQ(net({{kSub, {0.5f}}, {kMul, {2}}}), "unit");
  EXPECT_EQ(net({{kMul, {1}}, {kAdd, {0.01f}}}), "") << "neither";
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
