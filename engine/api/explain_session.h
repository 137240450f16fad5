// Everything that is settled before the first picture: recipe, preprocessing, labels, class, criterion, the compiled model.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "actmatch/actmatch.h"
#include "engine/api/labels.h"
#include "engine/api/model_session.h"
#include "engine/api/result.h"
#include "engine/explain/explainer.h"
#include "engine/image/preprocess.h"

namespace actmatch::api {

// The picture as the classifier takes it and the backgrounds to go with it. The random backgrounds are those of image 0: what is found for
// a picture depends on the seed and not on the other pictures of a run.
ExplainInput make_input(const ClassifierShape& shape, const Image& fitted, const Preprocess& preprocess);

class ExplainSession {
 public:
  ExplainSession(std::shared_ptr<ModelSession> model, const actmatch_explain_options& options);

  nlohmann::ordered_json info() const;
  Result run_file(const std::string& path, const ExplainProgressCallback& progress);
  Result run_picture(const Image& image, const std::string& name, const ExplainProgressCallback& progress);

  const ModelSession& model() const { return *model_; }
  std::string device() const { return model_->backend().name(); }
  std::string precision() const { return actmatch::name_of(model_->backend().precision()); }
  const Recipe& recipe() const { return recipe_; }
  const ExplainSettings& settings() const { return settings_; }

 private:
  void choose_preprocess(const actmatch_explain_options& options);
  void choose_labels(const actmatch_explain_options& options);
  Result run(const Image& image, Provenance provenance, const ExplainProgressCallback& progress);

  std::shared_ptr<ModelSession> model_;
  Classifier& classifier_;
  Recipe recipe_;
  ExplainSettings settings_;
  Preprocess preprocess_;
  Labels labels_;
  std::string preprocess_from_, labels_from_;
  int32_t label_ = -1;
  std::unique_ptr<Explainer> explainer_;
};

}  // namespace actmatch::api
