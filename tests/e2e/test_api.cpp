// The public interface: C and C++.
#include <actmatch/actmatch.hpp>
#include <algorithm>
#include <cmath>

#include "engine/image/decode.h"
#include "tests/e2e/command.h"

extern "C" int actmatch_c_client(const char* model_path, const char* image_path, const char* folder);

namespace actmatch::e2e {
namespace {

std::string picture() { return example("images/dotted_disc.png"); }

ExplainOptions quick_options() {
  ExplainOptions options;
  options.steps = 30;
  options.backgrounds = 8;
  return options;
}

actmatch_status status_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Failure& e) {
    EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos);
    return e.status();
  }
  return ACTMATCH_OK;
}

TEST(Api, WorksFromC) {
  const TemporaryFolder tmp;
  EXPECT_EQ(actmatch_c_client(shapes_model().c_str(), picture().c_str(), (tmp / "out").c_str()), 0) << actmatch_last_error();
  EXPECT_TRUE(fs::exists(tmp / "out/result.json"));
}

TEST(Api, VersionsAgree) {
  const std::string header =
      std::to_string(ACTMATCH_VERSION_MAJOR) + "." + std::to_string(ACTMATCH_VERSION_MINOR) + "." + std::to_string(ACTMATCH_VERSION_PATCH);
  EXPECT_EQ(version(), header);
}

TEST(Api, ABufferGivesWhatTheFileGives) {
  const TemporaryFolder tmp;
  const Model model(shapes_model(), "cpu", 1);
  Explainer explainer(model, quick_options());
  const Image image = read_image(picture());
  const Result from_file = explainer.run(picture());
  const Result from_buffer = explainer.run(image.rgb, image.width, image.height, "camera");
  const auto a = from_file.explanation(), b = from_buffer.explanation();
  EXPECT_TRUE(std::equal(a.mask, a.mask + 96 * 96, b.mask));
  EXPECT_EQ(a.p_e, b.p_e);
  EXPECT_EQ(from_file.losses("total").size(), 30u);
  EXPECT_EQ(from_file.losses("total"), from_buffer.losses("total"));
  EXPECT_TRUE(from_file.losses("no such term").empty());
  // The record can be verified although there never was a file, also from elsewhere.
  from_buffer.write(tmp / "out");
  fs::rename(tmp / "out", tmp / "moved");
  const auto claims = verify(tmp / "moved/result.json");
  EXPECT_FALSE(claims.empty());
  for (const Claim& claim : claims) EXPECT_TRUE(claim.ok) << claim.name << " " << claim.stated << " " << claim.found;
}

TEST(Api, ProgressCanStopARun) {
  const Model model(shapes_model(), "cpu", 1);
  Explainer explainer(model, quick_options());
  int calls = 0;
  EXPECT_EQ(status_of([&] {
              explainer.run(picture(), [&](const Progress& p) {
                if (std::string(p.phase) != "optimise") return true;
                EXPECT_EQ(p.steps, 30);
                EXPECT_GT(p.terms, 0u);
                EXPECT_STREQ(p.term_names[p.terms - 1], "total");
                return ++calls < 3;
              });
            }),
            ACTMATCH_CANCELLED);
  EXPECT_EQ(calls, 3);
  // What the callback throws comes out on the other side of the C interface.
  struct Mine {};
  EXPECT_THROW(explainer.run(picture(), [](const Progress&) -> bool { throw Mine(); }), Mine);
  EXPECT_EQ(explainer.run(picture()).summary().class_index, 1);  // and the explainer still works
}

TEST(Api, StatusesTellTheKindOfFailure) {
  EXPECT_EQ(status_of([] { Model("no-such.onnx"); }), ACTMATCH_NOT_FOUND);
  EXPECT_EQ(status_of([] { Model(picture().c_str()); }), ACTMATCH_FORMAT);
  EXPECT_EQ(status_of([] { Model(shapes_model(), "cuda:0"); }), ACTMATCH_UNSUPPORTED);
  EXPECT_EQ(status_of([] { Model(shapes_model(), "abacus"); }), ACTMATCH_INVALID_ARGUMENT);
  const Model model(shapes_model());
  const auto with = [&](auto&& change) {
    ExplainOptions options = quick_options();
    change(options);
    return status_of([&] { Explainer(model, options); });
  };
  EXPECT_EQ(with([](auto&) {}), ACTMATCH_OK);
  EXPECT_EQ(with([](auto& o) { o.tau = 1.5; }), ACTMATCH_INVALID_ARGUMENT);
  EXPECT_EQ(with([](auto& o) { o.rho = NAN; }), ACTMATCH_INVALID_ARGUMENT);
  EXPECT_EQ(with([](auto& o) { o.backgrounds = 0; }), ACTMATCH_INVALID_ARGUMENT);
  EXPECT_EQ(with([](auto& o) { o.tile = -1; }), ACTMATCH_INVALID_ARGUMENT);
  EXPECT_EQ(with([](auto& o) { o.instances = 0; }), ACTMATCH_INVALID_ARGUMENT);
  EXPECT_EQ(with([](auto& o) { o.steps = -5; }), ACTMATCH_INVALID_ARGUMENT);
  EXPECT_EQ(with([](auto& o) { o.resize = "squeeze"; }), ACTMATCH_INVALID_ARGUMENT);
  EXPECT_EQ(with([](auto& o) { o.generator = "gan"; }), ACTMATCH_INVALID_ARGUMENT);
  EXPECT_EQ(with([](auto& o) { o.recipe = "none"; }), ACTMATCH_NOT_FOUND);
  EXPECT_EQ(with([](auto& o) { o.method = "none"; }), ACTMATCH_NOT_FOUND);
  EXPECT_EQ(with([](auto& o) { o.method = "rise", o.recipe = "paper"; }), ACTMATCH_INVALID_ARGUMENT);
  EXPECT_EQ(with([](auto& o) { o.preprocess = "none"; }), ACTMATCH_NOT_FOUND);
  EXPECT_EQ(with([](auto& o) { o.class_name = "none"; }), ACTMATCH_NOT_FOUND);
  Explainer explainer(model, quick_options());
  EXPECT_EQ(status_of([&] { explainer.run({}, 0, 0, "empty"); }), ACTMATCH_INVALID_ARGUMENT);
  EXPECT_EQ(status_of([&] { explainer.run(shapes_model()); }), ACTMATCH_FORMAT);
}

}  // namespace
}  // namespace actmatch::e2e
