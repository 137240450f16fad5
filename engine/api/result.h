// What was found for one picture: the explanations, their records, and the files they become.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "engine/explain/explainer.h"
#include "engine/image/draw.h"
#include "engine/image/file.h"
#include "engine/image/report.h"

namespace actmatch::api {

inline constexpr int kSchemaVersion = 1;

std::string operating_point(const ExplainSettings& settings);  // "sufficient", "robust"

// By which method, and how that was set.
struct HowFound {
  std::string method, recipe;
  std::string generator;           // of activation matching; otherwise empty
  int64_t steps = 0;               // likewise; 0: the method decides
  nlohmann::ordered_json options;  // of the other methods, defaults included
};

// Where a result comes from.
struct Provenance {
  std::string title;         // the picture's name, for people
  std::string image;         // absolute path; empty for a picture that came as a buffer
  std::string image_sha256;  // of the file
  std::string model, model_sha256, device, precision, preprocess, class_name;
  std::string head = "softmax", model_options = "{}";  // JSON
  int64_t batch = 1;                                   // pictures that were explained at once; times are this picture's share
};

class Result {
 public:
  Result(Explainer::Outcome outcome, Provenance provenance, const HowFound& how, const ExplainSettings& settings, Image fitted, Image shown,
         Colour background);

  const Explainer::Outcome& outcome() const { return outcome_; }
  const Provenance& provenance() const { return provenance_; }
  const Explanation& explanation(int64_t instance) const;  // throws kNotFound
  const std::string& json(int64_t instance) const;
  int width() const { return fitted_.width; }
  int height() const { return fitted_.height; }
  // The terms that were in use, the weighted total last.
  std::vector<const TermTrace*> losses(int64_t instance) const;

  void write(const std::string& folder) const;
  ReportItem report_item(int64_t instance) const;

 private:
  std::string record(size_t instance, const HowFound& how, const ExplainSettings& settings) const;
  void stage_instance(StagedFiles& files, size_t instance, const std::string& folder) const;

  Explainer::Outcome outcome_;
  Provenance provenance_;
  Image fitted_, shown_;  // the picture in the model's size; and as the model sees it (grey for a grey model)
  Colour background_;
  std::vector<std::byte> fitted_png_;  // only of a picture that came as a buffer
  std::vector<std::string> records_;
};

// The terms of a trace that were in use.
std::vector<const TermTrace*> used_terms(const std::vector<TermTrace>& losses);

}  // namespace actmatch::api
