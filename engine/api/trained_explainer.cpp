#include "engine/api/trained_explainer.h"

#include <nlohmann/json.hpp>

#include "engine/core/error.h"
#include "onnx_import/writer.h"

namespace actmatch::api {

namespace {

// What decides the numbers that a picture becomes; how it is resized does not.
bool same_numbers(const Preprocess& a, const Preprocess& b) {
  return a.bgr == b.bgr && a.grey == b.grey && a.scale == b.scale && a.offset == b.offset;
}

}  // namespace

bool names_explainer(const std::string& generator) { return generator.find('/') != std::string::npos || generator.ends_with(".onnx"); }

TrainedExplainer open_explainer(ModelSession& model, const Preprocess& preprocess, const std::string& path) {
  const auto about = onnx_import::read_metadata(path);
  const auto entry = [&](const char* key) {
    const auto it = about.find(key);
    return it == about.end() ? std::string() : it->second;
  };
  if (entry(kExplainerKind) != "explainer")
    throw Error(ErrorCode::kFormat, "'" + path + "' is no trained explainer; 'actmatch train " + model.path() + " ...' writes one");
  if (entry(kExplainerModel) != model.sha256())
    throw Error(ErrorCode::kInvalidArgument, "the explainer '" + path + "' was trained for another model than '" + model.path() +
                                                 "' (sha256 " + entry(kExplainerModel).substr(0, 12) + ".. and " +
                                                 model.sha256().substr(0, 12) + "..); train one for this model");
  if (const std::string trained = entry(kExplainerPreprocess);
      !trained.empty() && !same_numbers(preprocess_from_json(trained, "'" + path + "'"), preprocess))
    throw Error(ErrorCode::kInvalidArgument, "the explainer '" + path + "' was trained on pictures with another preprocessing, " + trained +
                                                 "; give that with --preprocess, or train anew");
  const onnx_import::Model file = onnx_import::Model::from_file(path);
  return {path, [file](int64_t batch) {
            onnx_import::BuildOptions options;
            options.batch = batch;
            return file.build(options);
          }};
}

ExplainerOpener explainer_opener(ModelSession& model, const Preprocess& preprocess) {
  return [&model, preprocess](const std::string& path) { return open_explainer(model, preprocess, path); };
}

}  // namespace actmatch::api
