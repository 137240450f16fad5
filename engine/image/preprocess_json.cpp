// The presets, and preprocessing as JSON.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/core/error.h"
#include "engine/image/preprocess.h"

namespace actmatch {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<double, 3> kImagenetMean = {0.485, 0.456, 0.406};  // of RGB / 255
constexpr std::array<double, 3> kImagenetStd = {0.229, 0.224, 0.225};
constexpr std::array<double, 3> kCaffeMean = {103.939, 116.779, 123.68};  // of BGR
constexpr const char* kPresets[] = {"imagenet", "tf", "caffe", "unit", "raw"};
constexpr const char* kFitNames[] = {"short-side", "stretch", "none"};  // in the order of FitMode
constexpr const char* kInterpolationNames[] = {"bilinear-antialias", "nearest"};
constexpr const char* kChannelOrders[] = {"RGB", "BGR", "GREY"};
constexpr const char* kKeys[] = {"preset", "channel_order", "scale",      "offset", "mean",         "std",
                                 "resize", "resize_ratio",  "short_side", "crop",   "interpolation"};

template <class Names>
std::string listed(const Names& names) {
  std::string text;
  for (const char* name : names) text += (text.empty() ? "" : ", ") + std::string(name);
  return text;
}

void set_from_mean_std(Preprocess& p, const std::array<double, 3>& mean, const std::array<double, 3>& deviation) {
  for (size_t c = 0; c < 3; ++c) {
    p.scale[c] = static_cast<float>(1 / (255 * deviation[c]));
    p.offset[c] = static_cast<float>(-mean[c] / deviation[c]);
  }
}

class JsonReader {
 public:
  JsonReader(const std::string& text, const std::string& name) : name_(name), json_(Json::parse(text, nullptr, false)) {
    if (json_.is_discarded()) fail("is not JSON");
    if (!json_.is_object()) fail("is not a JSON object");
    for (auto it = json_.begin(); it != json_.end(); ++it)
      if (std::none_of(std::begin(kKeys), std::end(kKeys), [&](const char* known) { return it.key() == known; }))
        fail("has the unknown key \"" + printable(it.key()) + "\"; known are " + listed(kKeys));
  }

  bool has(const char* key) const { return json_.contains(key); }

  // The place of a string value in `names`.
  template <class Names>
  size_t choice(const char* key, const Names& names) const {
    const Json& value = json_.at(key);
    for (size_t i = 0; i < std::size(names); ++i)
      if (value.is_string() && value.get<std::string>() == names[i]) return i;
    fail(std::string("needs one of ") + listed(names) + " as \"" + key + "\"");
  }

  double number(const char* key, double least, double most) const {
    const Json& value = json_.at(key);
    const double v = value.is_number() ? value.get<double>() : std::nan("");
    if (!(v >= least && v <= most))
      fail_value(std::string("needs a number from ") + format(least) + " to " + format(most) + " as \"" + key + "\"");
    return v;
  }

  // One number a channel, or one for all.
  std::array<double, 3> triple(const char* key, bool grey) const {
    const Json& value = json_.at(key);
    std::array<double, 3> out{};
    const bool right_size = value.is_array() && (value.size() == 1 || (value.size() == 3 && !grey));
    for (size_t c = 0; right_size && c < 3; ++c) {
      const Json& entry = value[value.size() == 1 ? 0 : c];
      out[c] = entry.is_number() ? entry.get<double>() : std::nan("");
    }
    constexpr double kLargest = 1e6;
    for (double v : out)
      if (!right_size || !(std::abs(v) <= kLargest))
        fail_value(std::string("needs ") + (grey ? "a list of one number" : "a list of one or three numbers") + " as \"" + key + "\"");
    return out;
  }

  [[noreturn]] void fail(const std::string& what) const { throw Error(ErrorCode::kFormat, "the preprocessing in '" + name_ + "' " + what); }
  [[noreturn]] void fail_value(const std::string& what) const {
    throw Error(ErrorCode::kInvalidArgument, "the preprocessing in '" + name_ + "' " + what);
  }

 private:
  static std::string format(double v) { return Json(v).dump(); }
  static std::string printable(const std::string& key) {
    std::string text;
    for (char c : key.substr(0, 40)) text += c < ' ' || c > '~' ? '?' : c;
    return text;
  }

  const std::string& name_;
  Json json_;
};

// Channel order, scale and offset where no preset is named.
void read_levels(const JsonReader& json, Preprocess& p) {
  const size_t order = json.has("channel_order") ? json.choice("channel_order", kChannelOrders) : 0;
  p.bgr = order == 1;
  p.grey = order == 2;
  if (json.has("mean") != json.has("std")) json.fail("has one of \"mean\" and \"std\"; give both");
  if (json.has("mean")) {
    if (json.has("scale") || json.has("offset")) json.fail("has \"mean\" and \"std\" beside \"scale\" or \"offset\"; give one pair");
    const std::array<double, 3> deviation = json.triple("std", p.grey);
    for (double v : deviation)
      if (!(v >= 1e-6)) json.fail_value("has a \"std\" that is not positive");
    return set_from_mean_std(p, json.triple("mean", p.grey), deviation);
  }
  if (!json.has("scale"))
    json.fail("says nothing of the pixels' scale; give \"preset\", \"scale\" and \"offset\", or \"mean\" and \"std\"");
  const std::array<double, 3> scale = json.triple("scale", p.grey);
  const std::array<double, 3> offset = json.has("offset") ? json.triple("offset", p.grey) : std::array<double, 3>{};
  for (size_t c = 0; c < 3; ++c) {
    if (!(std::abs(scale[c]) >= 1e-9)) json.fail_value("has the \"scale\" 0");
    p.scale[c] = static_cast<float>(scale[c]);
    p.offset[c] = static_cast<float>(offset[c]);
  }
}

bool same_levels(const Preprocess& a, const Preprocess& b) {
  return a.bgr == b.bgr && a.grey == b.grey && a.scale == b.scale && a.offset == b.offset;
}

}  // namespace

std::vector<std::string> preprocess_preset_names() { return {std::begin(kPresets), std::end(kPresets)}; }

Preprocess preprocess_preset(const std::string& name) {
  Preprocess p;
  p.name = name;
  if (name == "imagenet") {
    set_from_mean_std(p, kImagenetMean, kImagenetStd);
  } else if (name == "tf") {
    p.scale.fill(static_cast<float>(1 / 127.5));
    p.offset.fill(-1);
  } else if (name == "caffe") {
    p.bgr = true;
    p.scale.fill(1);
    for (size_t c = 0; c < 3; ++c) p.offset[c] = static_cast<float>(-kCaffeMean[c]);
  } else if (name == "unit") {
    p.scale.fill(static_cast<float>(1 / 255.0));
  } else if (name == "raw") {
    p.scale.fill(1);
  } else {
    throw Error(ErrorCode::kInvalidArgument,
                "there is no preprocessing '" + name + "'; choose one of " + listed(kPresets) + ", or a JSON file");
  }
  return p;
}

Preprocess preprocess_from_json(const std::string& text, const std::string& name) {
  const JsonReader json(text, name);
  Preprocess p;
  if (json.has("preset")) {
    for (const char* key : {"channel_order", "scale", "offset", "mean", "std"})
      if (json.has(key)) json.fail(std::string("has \"preset\" and \"") + key + "\"; give one of them");
    p = preprocess_preset(kPresets[json.choice("preset", kPresets)]);
  } else {
    p.name = name;
    read_levels(json, p);
  }
  if (json.has("resize")) p.fit = static_cast<FitMode>(json.choice("resize", kFitNames));
  if (json.has("resize_ratio")) p.resize_ratio = json.number("resize_ratio", 1, 4);
  if (json.has("short_side")) {
    const double side = json.number("short_side", 0, 16384);
    if (side != std::floor(side)) json.fail_value("needs a whole number as \"short_side\"");
    p.short_side = static_cast<int>(side);
  }
  if (json.has("crop")) json.choice("crop", std::array{"center"});
  if (json.has("interpolation")) p.interpolation = static_cast<Interpolation>(json.choice("interpolation", kInterpolationNames));
  return p;
}

std::string preprocess_to_json(const Preprocess& p) {
  Json json;
  for (const char* preset : kPresets)
    if (p.name == preset && same_levels(p, preprocess_preset(preset))) json["preset"] = preset;
  if (json.is_null()) {
    json["channel_order"] = kChannelOrders[p.grey ? 2 : p.bgr ? 1 : 0];
    const size_t count = p.grey ? 1 : 3;
    json["scale"] = std::vector<float>(p.scale.begin(), p.scale.begin() + static_cast<ptrdiff_t>(count));
    json["offset"] = std::vector<float>(p.offset.begin(), p.offset.begin() + static_cast<ptrdiff_t>(count));
  }
  json["resize"] = kFitNames[static_cast<size_t>(p.fit)];
  if (p.fit == FitMode::kShortSide) {
    if (p.short_side > 0)
      json["short_side"] = p.short_side;
    else
      json["resize_ratio"] = p.resize_ratio;
    json["crop"] = "center";
  }
  json["interpolation"] = kInterpolationNames[static_cast<size_t>(p.interpolation)];
  return json.dump();
}

}  // namespace actmatch
