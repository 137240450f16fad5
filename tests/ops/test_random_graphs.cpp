// Graphs of 5 to 15 random operators on maps of random channel counts, against the reference in double.
#include "tests/ops/graph_maker.h"

namespace actmatch::test {
namespace {

class RandomGraph {
 public:
  explicit RandomGraph(GraphMaker& g) : g_(g), r_(g.random()) {}

  void make() {
    pool_ = {g_.input(r_.uniform({r_.integer(1, 3), r_.integer(1, 9), r_.integer(4, 9), r_.integer(4, 9)}))};
    const int64_t nodes = r_.integer(5, 15);
    for (int64_t i = 0; i < nodes; ++i) pool_.push_back(bounded(next()));
    // Everything nobody reads is an output; a few others are seeded in the middle.
    const auto consumers = g_.graph.consumers();
    for (ValueId v : pool_) {
      if (g_.graph.value(v).kind != ValueKind::kActivation) continue;
      if (consumers[static_cast<size_t>(v)].empty())
        g_.output(v);
      else if (r_.chance(0.2))
        g_.seed(v);
      else if (r_.chance(0.1))
        g_.options.gradients.wanted.push_back(v);
      else if (r_.chance(0.1))
        g_.options.exposed.push_back(v);
    }
  }

 private:
  ValueId pick() {
    return pool_[static_cast<size_t>(r_.chance(0.6) ? static_cast<int64_t>(pool_.size()) - 1
                                                    : r_.integer(0, static_cast<int64_t>(pool_.size()) - 1))];
  }
  // Squashes what has grown, so that products of products stay near 1.
  ValueId bounded(ValueId v) { return r_.chance(0.15) ? g_.unary(UnaryKind::kTanh, v) : v; }
  int64_t channels() {
    const int64_t choices[] = {1, 3, 5, 8, 12, 16, 17, 24};
    return choices[r_.integer(0, 7)];
  }
  // Another value of the same shape, or nothing.
  ValueId partner(ValueId v) {
    std::vector<ValueId> same;
    for (ValueId other : pool_)
      if (g_.shape(other) == g_.shape(v)) same.push_back(other);
    return same[static_cast<size_t>(r_.integer(0, static_cast<int64_t>(same.size()) - 1))];
  }

  ValueId next() {
    const ValueId x = pick();
    const Shape s = g_.shape(x);
    const bool small = s[2] < 3 || s[3] < 3;
    switch (r_.integer(0, 13)) {
      case 0:
      case 1: return g_.relu(g_.conv(x, channels(), 3, r_.integer(1, small ? 1 : 2), 1));
      case 2: return g_.conv(x, s[1], 3, 1, 1, s[1]);
      case 3: return g_.unary(UnaryKind::kClip, g_.conv(x, channels(), 1, 1, 0), 0.0f, 1.0f);
      case 4: {
        constexpr UnaryKind kKinds[] = {UnaryKind::kRelu, UnaryKind::kSigmoid, UnaryKind::kHardSwish, UnaryKind::kSoftplus,
                                        UnaryKind::kErf,  UnaryKind::kAbs,     UnaryKind::kGelu};
        return g_.unary(kKinds[r_.integer(0, 6)], x);
      }
      case 5:
      case 6: {
        constexpr BinaryKind kKinds[] = {BinaryKind::kAdd, BinaryKind::kSub, BinaryKind::kMul, BinaryKind::kMax};
        const ValueId sum = g_.binary(kKinds[r_.integer(0, 3)], x, partner(x));
        return r_.chance(0.5) ? g_.relu(sum) : sum;
      }
      case 7:
        if (small) return g_.sum(x, g_.global_mean(x));
        return g_.add(PoolAttrs{static_cast<PoolMode>(r_.integer(0, 2)), {3, 2}, {2, r_.integer(1, 2)}, {1, 0, 1, 1}}, {x});
      case 8: return g_.add(ConcatAttrs{1}, {x, partner(x), partner(x)});
      case 9:
        return g_.binary(BinaryKind::kMul, x, g_.unary(UnaryKind::kHardSigmoid, g_.conv(g_.global_mean(x), s[1], 1, 1, 0), 0.25f, 0.5f));
      case 10: return g_.add(TransposeAttrs{{0, 1, 3, 2}}, {x});
      case 11: return g_.add(ConvTransposeAttrs{{2, 2}, {1, 1, 1, 1}}, {x, g_.weight({s[1], 4, 3, 3}, 0.3), g_.weight({4}, 0.1)});
      case 12: return g_.add(SoftmaxAttrs{1, r_.chance(0.5)}, {x});
      default: return g_.add(PadAttrs{{0, 0, 1, 0}, {0, 1, 0, 1}, r_.chance(0.5) ? PadMode::kEdge : PadMode::kConstant, 0.5f}, {x});
    }
  }
  GraphMaker& g_;
  RandomArrays& r_;
  std::vector<ValueId> pool_;
};

TEST(RandomGraphs, LikeTheOracle) {
  int checked = 0;
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    GraphMaker g(1000 + seed, seed % 2 ? Leaf::kConstant : Leaf::kParameter);
    RandomGraph(g).make();
    if (g.distance_to_kinks() < 1e-5) continue;  // there float and double may differ by design
    if (seed % 3 == 0) g.take_in_place();
    SCOPED_TRACE("seed " + std::to_string(seed) + (seed % 3 == 0 ? ", in place" : ""));
    // Up to 15 layers in fp32, with cancelling differences among them.
    g.check(squared(1e-10), squared(1e-10));
    ++checked;
    if (::testing::Test::HasFailure()) break;  // one graph at a time is enough to look at
  }
  EXPECT_GE(checked, 30) << "too many graphs come near a kink";
}

// The reference itself, in float against double: it is the same code, so this guards the float instantiation that other tests may use.
TEST(RandomGraphs, TheReferenceInFloatAgreesWithDouble) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    GraphMaker g(1000 + seed);
    RandomGraph(g).make();
    if (g.distance_to_kinks() < 1e-5) continue;
    const auto narrow = [](const Arrays& arrays) {
      std::map<ValueId, oracle::Array<float>> out;
      for (const auto& [id, a] : arrays) {
        oracle::Array<float> f(a.shape);
        for (int64_t i = 0; i < a.count(); ++i) f[i] = static_cast<float>(a[i]);
        out[id] = f;
      }
      return out;
    };
    const auto wide = oracle::run<double>(g.graph, g.inputs, g.seeds);
    const auto single = oracle::run<float>(g.graph, narrow(g.inputs), narrow(g.seeds));
    for (ValueId id : g.options.gradients.wanted) {
      const auto& want = wide.gradients[static_cast<size_t>(id)];
      const auto& got = single.gradients[static_cast<size_t>(id)];
      ASSERT_EQ(got.present, want.present);
      Doubles widened(got.shape);
      for (int64_t i = 0; i < got.count(); ++i) widened[i] = got[i];
      if (want.present) {
        EXPECT_TRUE(matches(widened, want, in_precision(squared(1e-10)))) << "seed " << seed;  // fp32 through 15 layers
      }
    }
  }
}

}  // namespace
}  // namespace actmatch::test
