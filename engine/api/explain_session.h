// Everything that is settled before the first picture: recipe, preprocessing, labels, class, criterion, the compiled model.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>

#include "actmatch/actmatch.h"
#include "engine/api/labels.h"
#include "engine/api/model_session.h"
#include "engine/api/result.h"
#include "engine/explain/batch_size.h"
#include "engine/explain/explainer.h"
#include "engine/image/preprocess.h"
#include "engine/methods/registry.h"

namespace actmatch::api {

// The picture as the classifier takes it and the backgrounds to go with it. The random backgrounds are those of image 0: what is found for
// a picture depends on the seed and not on the other pictures of a run.
ExplainInput make_input(const ClassifierShape& shape, const Image& fitted, const Preprocess& preprocess);

// A picture that is to be explained: a file, or pixels under a name.
struct Picture {
  std::string path;              // empty: the pixels
  const uint8_t* rgb = nullptr;  // the caller's, as in an Image
  int width = 0, height = 0;
  std::string name;
};

// A picture on its way: read, fitted and in network units; or what was wrong with it.
struct PreparedPicture {
  int stored_width = 0, stored_height = 0;  // before it was fitted
  Image fitted;
  ExplainInput input;
  int32_t asked = -1;  // the class, or of a head with labels the label; -1: the top one
  Provenance provenance;
  std::exception_ptr error;
};

// Receives results in the order of the pictures, on a thread other than the caller's, while the device works on later pictures. One of
// `result` and `error` is set; `index` counts the pictures. False: wants no more. Must not throw.
using ResultSink = std::function<bool(size_t index, std::unique_ptr<Result> result, std::exception_ptr error)>;

class ExplainSession {
 public:
  ExplainSession(std::shared_ptr<ModelSession> model, const actmatch_explain_options& options);

  nlohmann::ordered_json info() const;
  Result run(const Picture& picture, const ExplainProgressCallback& progress);
  // Explains all pictures, `batch` at once (0: as many as suits the device). Reading them ahead and handing results on happen beside that.
  // What is wrong with one picture goes to the sink under its number. Throws what ends the whole run (kCancelled: the progress callback or
  // the sink wanted that; kOutOfMemory: not even one picture fits; the device was lost); what was finished before has then been handed on.
  void run_batch(std::span<const Picture> pictures, int64_t batch, const ExplainProgressCallback& progress, const ResultSink& sink);

  // The two halves of run(), for those who want something else of the same picture. `prepare` may be called on any thread; what was wrong
  // is in its `error`. `explain` takes memory as run() does, `seed` in place of the settings'.
  PreparedPicture prepare(const Picture& picture) const;
  Explainer::Outcome explain(const PreparedPicture& picture, uint64_t seed, const ExplainProgressCallback& progress);
  // What explain() works on; the picture's `asked` is settled by it.
  Problem problem_of(PreparedPicture& picture);

  const ModelSession& model() const { return *model_; }
  // The one that the latest picture was run on; of a head with labels that of its label.
  Classifier& classifier() { return *classifier_; }
  int64_t classes() const { return shape_.labels; }
  const Preprocess& preprocess() const { return preprocess_; }
  const Labels& labels() const { return labels_; }
  std::string device() const { return model_->backend().name(); }
  std::string precision() const { return actmatch::name_of(model_->backend().precision()); }
  const HowFound& how() const { return how_; }
  const ExplainSettings& settings() const { return settings_; }

 private:
  // Settles the method that the options name, or their recipe.
  void choose_method(const actmatch_explain_options& options);
  void choose_preprocess(const actmatch_explain_options& options);
  void choose_labels(const actmatch_explain_options& options);
  struct Finished {
    size_t index = 0;
    PreparedPicture picture;
    Explainer::Outcome outcome;
    int64_t batch = 1;
  };
  bool deliver(Finished done, const ResultSink& sink) const;
  void make_explainer();  // of the method, for the classifier at hand
  // The classifier and the explainer for a label, where each label has one of its own (a sigmoid head).
  void take_label(int64_t label);
  bool by_label() const { return shape_.head == Head::kSigmoid; }
  // The label with the highest score on a picture.
  int32_t top_label(const ExplainInput& input) const;
  // Classifier and explainer for what is asked of the picture.
  void settle(const PreparedPicture& picture);
  void run_one_by_one(std::span<const Picture> pictures, const ExplainProgressCallback& progress, const ResultSink& sink);
  // Any thread may call it.
  Result finish(PreparedPicture picture, Explainer::Outcome outcome, int64_t batch) const;
  // After an error: did memory run out, and is there something to be made smaller? Then it was, and the user was told.
  bool made_smaller(BatchSize& size, const Error& error) const;

  std::shared_ptr<ModelSession> model_;
  const ClassifierShape shape_;           // of the model; the classifier of one label has another
  std::unique_ptr<Classifier> decision_;  // about the label taken
  Classifier* classifier_;                // that, or the model's
  HowFound how_;
  MethodRecipe method_;
  Recipe recipe_;  // of activation matching
  ExplainSettings settings_;
  Preprocess preprocess_;
  Labels labels_;
  std::string preprocess_from_, labels_from_;
  int32_t label_ = -1;  // what is to be explained; -1: each picture's top one
  int64_t taken_ = -1;  // the label that classifier and explainer are for
  Provenance common_;   // what all results share
  std::unique_ptr<Explainer> explainer_;
};

}  // namespace actmatch::api
