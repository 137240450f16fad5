// The names under which a profiler shows what an explanation is doing.
#include <set>

#include "engine/backend/trace_range.h"
#include "tests/explain/busy_recipe.h"
#include "tests/support/limited_backend.h"

namespace actmatch::test {
namespace {

// Writes down every range that begins, behind those it lies in.
class RangeBackend : public LimitedBackend {
 public:
  RangeBackend() : LimitedBackend(cpu()) {}
  std::vector<std::string> begun, open;

  void begin_range(const char* name) override {
    open.push_back(name);
    std::string path;
    for (const std::string& o : open) path += (path.empty() ? "" : "/") + o;
    begun.push_back(path);
  }
  void end_range() override {
    ASSERT_FALSE(open.empty());
    open.pop_back();
  }
};

const std::vector<std::string> kParts = {"generator forward",
                                         "masks",
                                         "compose",
                                         "classifier forward",
                                         "losses of the logits",
                                         "losses of the activations",
                                         "classifier backward",
                                         "compose backward",
                                         "regulariser",
                                         "mask and generator backward",
                                         "optimiser",
                                         "controller",
                                         "trace"};

// The step that is recorded, and those that are issued call by call, show their parts in order.
TEST(Ranges, EveryPartOfAStepHasAName) {
  RangeBackend backend;
  const GraphSource source = conv_classifier(kSize);
  Classifier classifier(backend, source);
  const Problem problem = problem_for(classifier, telling_picture(source, 0.1f), 0.1f);
  Recipe r = busy();
  r.steps = 2, r.soft_until = 0;
  Optimiser optimiser(classifier, r);
  backend.begun.clear();
  optimiser.run(problem, kSeed, {});
  EXPECT_TRUE(backend.open.empty());
  std::vector<std::string> want{"activations of the picture"};
  for (const std::string step : {"step, run and recorded", "step"}) {
    want.push_back(step);
    for (const std::string& part : kParts) want.push_back(step + "/" + part);
  }
  for (const char* last : {"generator forward", "masks"}) want.push_back(last);  // the map after the last step
  EXPECT_EQ(backend.begun, want);
}

TEST(Ranges, ChecksAndPruningHaveNames) {
  RangeBackend backend;
  const GraphSource source = conv_classifier(kSize);
  Classifier classifier(backend, source);
  const auto x = telling_picture(source, 0.1f);
  const Problem p = problem_for(classifier, x, 0.1f);
  ExplainSettings settings;
  settings.prune.tile = 2;
  Explainer(classifier, busy()).explain({p.x, p.colour, p.backgrounds, -1, p.image_index}, settings, {});
  EXPECT_TRUE(backend.open.empty());
  const std::set<std::string> begun(backend.begun.begin(), backend.begun.end());
  for (const char* name : {"classifier, forward only", "pruning and checks", "pruning and checks/classifier, forward only",
                           "pruning and checks/classifier, forward and back"})
    EXPECT_EQ(begun.count(name), 1u) << name;
}

// What is thrown leaves no range open.
TEST(Ranges, EndWithAnError) {
  RangeBackend backend;
  Classifier classifier(backend, conv_classifier(kSize));
  std::vector<float> z(4);
  {
    const TraceRange range(backend, "outer");
    EXPECT_THROW(classifier.logits_of(z.data(), 1, [](float*, int64_t, int64_t) { throw Error(ErrorCode::kCancelled, "stopped"); }), Error);
    EXPECT_EQ(backend.open, (std::vector<std::string>{"outer"}));
  }
  EXPECT_EQ(backend.begun, (std::vector<std::string>{"outer", "outer/classifier, forward only"}));
  EXPECT_TRUE(backend.open.empty());
}

}  // namespace
}  // namespace actmatch::test
