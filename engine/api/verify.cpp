#include "engine/api/verify.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/api/explain_session.h"
#include "engine/api/sha256.h"
#include "engine/api/trained_explainer.h"
#include "engine/core/error.h"
#include "engine/explain/feasibility.h"
#include "engine/explain/prune.h"
#include "engine/image/file.h"
#include "engine/image/npy.h"
#include "engine/methods/registry.h"

namespace actmatch::api {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using kernels::RandomStream;

namespace {

// Another machine or thread count adds up in another order. Probabilities may differ by the share `probability`, and whatever hangs on a
// difference of logits smaller than `logit` is allowed to fall either way.
struct Tolerance {
  double probability = 1e-3;
  float logit = 1e-3f;
};

// Of the coarser of two precisions. One rounding to 11 bits (tf32) is half a thousandth, one to 8 bits (bf16) four; logits are of the order
// of ten and come through some dozens of them, whose errors add up like a walk at random. A change of a logit by d changes p by the share
// d.
Tolerance tolerance_of(Precision a, Precision b) {
  switch (std::max(a, b)) {  // from fine to coarse
    case Precision::kTf32: return {2e-2, 2e-2f};
    case Precision::kBf16: return {1.5e-1, 1.5e-1f};
    case Precision::kF32: break;
  }
  return {};
}

Json load_json(const std::string& path) {
  const auto bytes = read_file(path);
  Json json =
      Json::parse(reinterpret_cast<const char*>(bytes.data()), reinterpret_cast<const char*>(bytes.data()) + bytes.size(), nullptr, false);
  if (!json.is_object())
    throw Error(ErrorCode::kFormat, "'" + path + "' is not a result.json; give the record that 'actmatch explain' wrote");
  return json;
}

class Record {
 public:
  explicit Record(const std::string& path) : path_(path), json_(load_json(path)) {
    if (integer("schema_version") != kSchemaVersion)
      throw Error(ErrorCode::kUnsupported, "'" + path + "' has schema_version " + std::to_string(integer("schema_version")) +
                                               " and this version reads " + std::to_string(kSchemaVersion) + "; explain the picture again");
  }
  const Json& at(const char* key) const {
    const auto it = json_.find(key);
    if (it == json_.end()) throw Error(ErrorCode::kFormat, "'" + path_ + "' lacks the key '" + key + "'; it is damaged or cut off");
    return *it;
  }
  // Null where the record lacks it, as older ones do.
  const Json* find(const char* key) const {
    const auto it = json_.find(key);
    return it == json_.end() ? nullptr : &*it;
  }
  std::string text(const char* key) const { return typed<std::string>(key, at(key).is_string(), "a text"); }
  double number(const char* key) const { return typed<double>(key, at(key).is_number(), "a number"); }
  int64_t integer(const char* key) const { return typed<int64_t>(key, at(key).is_number_integer(), "a whole number"); }
  uint64_t natural(const char* key) const { return typed<uint64_t>(key, at(key).is_number_unsigned(), "a whole number, not negative"); }
  bool truth(const char* key) const { return typed<bool>(key, at(key).is_boolean(), "true or false"); }
  int64_t count(const char* key, int64_t low, int64_t high) const {
    const int64_t value = integer(key);
    if (value < low || value > high) fail(key, "a whole number from " + std::to_string(low) + " to " + std::to_string(high));
    return value;
  }
  double share(const char* key) const {
    const double value = number(key);
    if (!(value >= 0.0 && value <= 1.0)) fail(key, "a number from 0 to 1");
    return value;
  }
  Precision precision() const {
    try {
      return precision_of(text("precision"));
    } catch (const Error& e) {
      throw Error(ErrorCode::kFormat, "'" + path_ + "': 'precision': " + e.what());
    }
  }
  const std::string& path() const { return path_; }

 private:
  [[noreturn]] void fail(const char* key, const std::string& what) const {
    throw Error(ErrorCode::kFormat, "'" + path_ + "': '" + key + "' must be " + what);
  }
  template <class T>
  T typed(const char* key, bool right, const char* what) const {
    if (!right) fail(key, what);
    return at(key).get<T>();
  }
  std::string path_;
  Json json_;
};

std::string show(bool value) { return value ? "yes" : "no"; }
std::string show(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.6g", value);
  return text;
}

class ClaimList {
 public:
  explicit ClaimList(const Tolerance& tolerance) : tolerance_(tolerance) {}
  void add(const std::string& name, const std::string& stated, const std::string& found, bool ok) {
    claims_.push_back({name, stated, found, ok});
  }
  // `open`: too close to call, so that both answers are right.
  void add_truth(const std::string& name, bool stated, bool found, bool open = false) {
    add(name, show(stated), show(found), stated == found || open);
  }
  void add_probability(const std::string& name, double stated, double found) {
    add(name, show(stated), show(found), std::abs(stated - found) <= tolerance_.probability * std::max(found, 1e-6));
  }
  void add_file(const std::string& name, const std::string& stated, const std::string& found) {
    add(name, stated.substr(0, 12), found.substr(0, 12), stated == found);
  }
  std::vector<Claim> take() { return std::move(claims_); }

 private:
  Tolerance tolerance_;
  std::vector<Claim> claims_;
};

// The backend in the precision that was asked for; otherwise in the recorded one, or in fp32 where the device does not have that.
std::unique_ptr<Backend> backend_of(const VerifySettings& settings, const std::string& recorded) {
  DeviceOptions options{settings.device, settings.threads, settings.precision.empty() ? recorded : settings.precision, {}};
  try {
    return make_backend(options);
  } catch (const Error& e) {
    if (e.code() != ErrorCode::kUnsupported || !settings.precision.empty()) throw;
    options.precision = name_of(Precision::kF32);
    return make_backend(options);
  }
}

// A path of the record: as it is, or, when it is relative, from where the record lies.
std::string find_file(const Record& record, const char* key, const std::string& replacement, const char* flag) {
  std::string path = replacement;
  if (path.empty()) {
    const fs::path stated = record.text(key);
    path = (stated.is_absolute() ? stated : fs::path(record.path()).parent_path() / stated).string();
  }
  std::error_code ignored;
  if (!fs::exists(path, ignored))
    throw Error(ErrorCode::kNotFound,
                std::string("the ") + key + " '" + path + "' of '" + record.path() + "' is not there; say where it is now with " + flag);
  return path;
}

HardMask load_mask(const std::string& path, const ClassifierShape& shape) {
  const Image image = read_image(path);
  if (image.width != shape.width || image.height != shape.height)
    throw Error(ErrorCode::kFormat, "mask '" + path + "' is " + std::to_string(image.width) + "x" + std::to_string(image.height) +
                                        " and the model takes " + std::to_string(shape.width) + "x" + std::to_string(shape.height) +
                                        "; it belongs to another model or was resized");
  HardMask mask(static_cast<size_t>(shape.width * shape.height));
  for (size_t i = 0; i < mask.size(); ++i) {
    const uint8_t* p = image.rgb.data() + 3 * i;
    if (p[0] != p[1] || p[1] != p[2] || (p[0] != 0 && p[0] != 255))
      throw Error(ErrorCode::kFormat, "mask '" + path + "' is not hard: every pixel must be 0 or 255; it was changed after it was written");
    mask[i] = p[0] ? 1 : 0;
  }
  return mask;
}

// The method's soft map once more, beside the one that was written. Claims nothing of an optimisation, which amplifies rounding.
void check_map(const Record& record, Classifier& classifier, const Problem& problem, bool robust, const ExplainerOpener& open,
               const Tolerance& tolerance, ClaimList& claims) {
  const std::string name = record.find("method") ? record.text("method") : kMainMethod;
  if (!find_method(name).repeatable) return;
  const ClassifierShape& shape = classifier.shape();
  const std::string path = (fs::path(record.path()).parent_path() / "soft_mask.npy").string();
  const Tensor stated = read_npy(path);
  if (stated.dtype() != DType::kF32 || stated.shape() != Shape{shape.height, shape.width})
    throw Error(ErrorCode::kFormat, "'" + path + "' is not a map of " + std::to_string(shape.height) + "x" + std::to_string(shape.width) +
                                        " floats; it belongs to another model or was changed");
  const MadeMethod made =
      make_method(classifier, {name, record.text("recipe"), "'options' in " + record.path(), record.at("options")}, robust, open);
  const SoftMap found = made.method->run(std::span(&problem, 1), problem.backgrounds.seed, {}).front();
  double difference = 0;
  for (size_t i = 0; i < found.soft.size(); ++i) difference += std::abs(static_cast<double>(found.soft[i]) - stated.data<float>()[i]);
  difference /= static_cast<double>(found.soft.size());
  claims.add("soft_mask", name + "'s", "off by " + show(difference) + " on average", difference <= tolerance.probability);
}

}  // namespace

std::vector<Claim> verify_record(const std::string& given_path, const VerifySettings& settings) {
  const Record record(given_path);
  const std::string model_path = find_file(record, "model", settings.model, "--model FILE");
  const std::string image_path = find_file(record, "image", settings.image, "--image FILE");
  const std::string mask_path = (fs::path(given_path).parent_path() / "mask.png").string();
  const Precision recorded = record.precision();
  const Json* options = record.find("model_options");
  ModelSession session(model_path, backend_of(settings, name_of(recorded)), {},
                       options ? choices_from_json(*options, "'" + given_path + "'") : ModelChoices{});
  const Tolerance tolerance = tolerance_of(recorded, session.backend().precision());
  const float close = tolerance.logit;
  const ClassifierShape& model_shape = session.classifier().shape();
  const bool by_label = model_shape.head == Head::kSigmoid;
  if (const Json* head = record.find("head"); head && *head != name_of(model_shape.head))
    throw Error(ErrorCode::kFormat, "'" + given_path + "' was made for another head than the model has (" + name_of(model_shape.head) +
                                        "); it belongs to another model or was changed");
  const int64_t label = record.count("class_index", 0, model_shape.labels - 1);
  const std::unique_ptr<Classifier> decision = by_label ? session.decision(label) : nullptr;
  Classifier& classifier = decision ? *decision : session.classifier();
  const ClassifierShape& shape = classifier.shape();
  const HardMask mask = load_mask(mask_path, shape);
  const auto image_bytes = read_file(image_path);
  const Preprocess preprocess = preprocess_from_json(record.at("preprocess").dump(), "'preprocess' in " + given_path);
  const Image fitted =
      fit_image(decode_image(image_bytes, image_path), preprocess, static_cast<int>(shape.width), static_cast<int>(shape.height));

  ExplainInput input = make_input(shape, fitted, preprocess);
  input.label = by_label ? 1 : static_cast<int32_t>(label);
  ExplainSettings explain;
  explain.seed = record.natural("seed");
  const std::string point = record.text("operating_point");
  if (point != "robust" && point != "sufficient")
    throw Error(ErrorCode::kFormat, "'" + given_path + "': 'operating_point' must be \"sufficient\" or \"robust\"");
  explain.criterion = {point == "robust", record.share("tau"), record.share("rho"), record.count("backgrounds", 1, 4096)};
  const Criterion& criterion = explain.criterion;
  const int64_t tile = record.count("minimal_tile", 0, 4096);

  Problem problem = make_problem(classifier, input, explain);
  FeasibilityChecker checker(classifier, problem);
  const BaselineCheck e = checker.baseline(std::span(&mask, 1)).front();
  const BaselineCheck c = checker.complement(std::span(&mask, 1)).front();
  const std::vector<float> margins = checker.margins(mask, RandomStream::kCertify);
  const auto holding = [&](float above) { return std::count_if(margins.begin(), margins.end(), [&](float m) { return m > above; }); };
  const auto K = static_cast<double>(criterion.backgrounds);

  ClaimList claims(tolerance);
  claims.add_file("model_sha256", record.text("model_sha256"), session.sha256());
  claims.add_file("image_sha256", record.text("image_sha256"), sha256_hex(image_bytes));
  claims.add_probability("p_x", record.number("p_x"), problem.p_x);
  const bool kept = e.top == problem.label, kept_open = std::abs(e.margin) < close;
  claims.add_truth("label_kept", record.truth("label_kept"), kept, kept_open);
  claims.add_probability("p_e", record.number("p_e"), e.p_label);

  const int64_t surely = holding(close), held = holding(0.0f), at_most = holding(-close),
                needed = needed_backgrounds(criterion.rho, criterion.backgrounds);
  const double wanted = criterion.tau * problem.p_x;
  const bool enough = e.p_label >= wanted && (!criterion.robust || held >= needed);
  const bool feasible_open = kept_open || std::abs(e.p_label - wanted) <= tolerance.probability * wanted ||
                             (criterion.robust && surely < needed && at_most >= needed);
  claims.add_truth("feasible", record.truth("feasible"), kept && enough, feasible_open);

  const double area = static_cast<double>(count_pixels(mask)) / static_cast<double>(mask.size());
  claims.add("area", show(record.number("area")), show(area),
             std::abs(record.number("area") - area) < 0.5 / static_cast<double>(mask.size()));
  const double stability = record.number("background_stability");
  claims.add("background_stability", show(stability), show(static_cast<double>(held) / K),
             stability * K > static_cast<double>(surely) - 0.5 && stability * K < static_cast<double>(at_most) + 0.5);
  const auto turning = static_cast<double>(at_most - surely);  // so many turn by a hair there; here perhaps one more
  const double fresh = record.number("fresh_stability"), fresh_found = static_cast<double>(checker.held_fresh(mask)) / K;
  claims.add("fresh_stability", show(fresh), show(fresh_found), std::abs(fresh - fresh_found) * K < 1.5 + turning);
  claims.add_truth("necessity", record.truth("necessity"), c.top != problem.label, std::abs(c.margin) < close);
  claims.add_probability("p_complement", record.number("p_complement"), c.p_label);
  if (tile > 0) {
    // A removal that would leave the mask feasible by a hair only does not refute the certificate.
    problem.criterion.tau *= 1.0 + tolerance.probability;
    const bool minimal = is_minimal(checker, mask, shape.height, shape.width, tile, criterion.robust);
    claims.add("minimal_tile", std::to_string(tile), minimal ? std::to_string(tile) : "not minimal", minimal);
  }
  check_map(record, classifier, problem, criterion.robust, explainer_opener(session, preprocess), tolerance, claims);
  return claims.take();
}

}  // namespace actmatch::api
