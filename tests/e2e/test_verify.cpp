// `actmatch verify` believes nothing: whatever is changed in the record, the mask, the picture or the model is found.
#include "engine/image/decode.h"
#include "engine/image/draw.h"
#include "engine/image/file.h"
#include "tests/e2e/command.h"

namespace actmatch::e2e {
namespace {

class Verify : public testing::Test {
 protected:
  void SetUp() override {
    fs::copy(example("images/dotted_disc.png"), tmp / "photo.png");
    ASSERT_EQ(run_actmatch(quick_explain(tmp / "photo.png", tmp / "out", {"--quiet"})).status, 0);
    original_ = contents(record());
  }
  std::string record() const { return tmp / "out/photo/result.json"; }
  Outcome verify(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments{"verify", record()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_actmatch(arguments);
  }
  // The record with one value replaced.
  void tamper(const std::string& key, const nlohmann::ordered_json& value) const {
    auto json = nlohmann::ordered_json::parse(original_);
    json[key] = value;
    write(record(), json.dump());
  }
  void expect_refuted(const std::string& claim) const {
    const Outcome run = verify();
    EXPECT_EQ(run.status, 1) << claim << run.out << run.err;
    EXPECT_NE(run.err.find("does not hold"), std::string::npos) << run.err;
    EXPECT_NE(run.err.find(claim), std::string::npos) << run.err;
  }

  TemporaryFolder tmp;
  std::string original_;
};

TEST_F(Verify, AcceptsWhatExplainWrote) {
  const Outcome run = verify();
  EXPECT_EQ(run.status, 0) << run.out << run.err;
  for (const char* claim : {"p_x", "p_e", "label_kept", "feasible", "area", "background_stability", "fresh_stability", "necessity",
                            "p_complement", "minimal_tile"})
    EXPECT_NE(run.out.find(claim), std::string::npos) << claim;
  EXPECT_EQ(run.out.find("NO"), std::string::npos) << run.out;
  EXPECT_EQ(run.err, "");
  const Outcome quiet = verify({"--quiet"});
  EXPECT_EQ(quiet.status, 0);
  EXPECT_EQ(quiet.out + quiet.err, "");
}

TEST_F(Verify, FindsChangedNumbers) {
  const auto json = nlohmann::json::parse(original_);
  for (const char* key : {"p_x", "p_e", "p_complement"}) {
    // 1 % off: ten times the tolerance. Something is added too, for a p_complement that is nearly 0.
    tamper(key, json[key].get<double>() * 0.99 + (json[key].get<double>() < 0.01 ? 0.01 : 0.0));
    expect_refuted(key);
  }
  tamper("area", json["area"].get<double>() - 1.0 / (96 * 96));  // one pixel
  expect_refuted("area");
  const double stability = json["background_stability"].get<double>();
  tamper("background_stability", stability > 0.5 ? stability - 2.0 / 8 : stability + 2.0 / 8);
  expect_refuted("background_stability");
  const double fresh = json["fresh_stability"].get<double>();
  tamper("fresh_stability", fresh > 0.5 ? fresh - 2.0 / 8 : fresh + 2.0 / 8);
  expect_refuted("fresh_stability");
  for (const char* key : {"label_kept", "feasible", "necessity"}) {
    tamper(key, !json[key].get<bool>());
    expect_refuted(key);
  }
  tamper("class_index", 3);
  expect_refuted("p_x");
  tamper("model_sha256", std::string(64, '0'));
  expect_refuted("model_sha256");
}

// A certificate for a mask that is larger than need be: the mask grown by one tile is still feasible, and not minimal.
TEST_F(Verify, FindsAMaskThatIsNotMinimal) {
  const std::string path = tmp / "out/photo/mask.png";
  const Image image = read_image(path);
  std::vector<uint8_t> mask(96 * 96);
  for (size_t i = 0; i < mask.size(); ++i) mask[i] = image.rgb[3 * i] ? 1 : 0;
  bool grown = false;
  for (size_t tile = 0; tile < 144 && !grown; ++tile) {
    const size_t top = tile / 12 * 8, left = tile % 12 * 8;
    bool free = true;
    for (size_t y = top; y < top + 8; ++y)
      for (size_t x = left; x < left + 8; ++x) free = free && !mask[y * 96 + x];
    if (!free) continue;
    for (size_t y = top; y < top + 8; ++y)
      for (size_t x = left; x < left + 8; ++x) mask[y * 96 + x] = 1;
    grown = true;
  }
  ASSERT_TRUE(grown);
  write_file_atomically(path, encode_png(draw_mask(mask, 96, 96)));
  // Even with the figures of the larger mask.
  auto json = nlohmann::json::parse(original_);
  tamper("area", json["area"].get<double>() + 64.0 / (96 * 96));
  expect_refuted("minimal_tile");
}

TEST_F(Verify, FindsAChangedMaskAndPicture) {
  const std::string path = tmp / "out/photo/mask.png", mask = contents(path);
  write_file_atomically(path, encode_png(draw_mask(std::vector<uint8_t>(96 * 96, 1), 96, 96)));
  expect_refuted("area");
  Image grey{96, 96, std::vector<uint8_t>(96 * 96 * 3, 128)};  // neither 0 nor 255
  write_file_atomically(path, encode_png(grey));
  Outcome run = verify();
  EXPECT_EQ(run.status, 1);
  expect_one_line(run);
  EXPECT_NE(run.err.find("is not hard"), std::string::npos) << run.err;
  write_file_atomically(path, encode_png(draw_mask(std::vector<uint8_t>(48 * 48, 1), 48, 48)));
  run = verify();
  EXPECT_EQ(run.status, 1);
  expect_one_line(run);
  write(path, mask);
  fs::copy(example("images/striped_star.png"), tmp / "photo.png", fs::copy_options::overwrite_existing);
  expect_refuted("image_sha256");
}

TEST_F(Verify, FollowsFilesThatHaveMoved) {
  fs::rename(tmp / "photo.png", tmp / "moved.png");
  const Outcome lost = verify();
  EXPECT_EQ(lost.status, 1);
  expect_one_line(lost);
  EXPECT_NE(lost.err.find("--image"), std::string::npos) << lost.err;
  EXPECT_EQ(verify({"--image", tmp / "moved.png"}).status, 0);
}

TEST_F(Verify, RefusesRecordsThatAreNone) {
  for (const std::string& text : {std::string("{"), std::string("[]"), original_.substr(0, original_.size() / 2), std::string("{}")}) {
    write(record(), text);
    const Outcome run = verify();
    EXPECT_EQ(run.status, 1) << text.substr(0, 20);
    expect_one_line(run);
  }
  for (const char* key : {"p_e", "operating_point", "preprocess", "seed", "backgrounds", "minimal_tile", "schema_version", "class_index"}) {
    tamper(key, nlohmann::ordered_json::array());
    const Outcome run = verify();
    EXPECT_EQ(run.status, 1) << key;
    expect_one_line(run);
    EXPECT_NE(run.err.find(key), std::string::npos) << run.err;
  }
}

}  // namespace
}  // namespace actmatch::e2e
