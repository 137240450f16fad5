// A loaded model on its device: shared by everything that is made from it.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "engine/backend/backend.h"
#include "engine/explain/classifier.h"
#include "onnx_import/importer.h"

namespace actmatch::api {

// "auto" and "cpu"; throws kUnsupported for CUDA devices, which this build does not have, and kInvalidArgument for other names.
std::unique_ptr<Backend> make_backend(const std::string& device, int threads);
// [{"name": ..., "description": ...}]
std::string devices_json();

class ModelSession {
 public:
  ModelSession(const std::string& path, const std::string& device, int threads);

  const std::string& path() const { return path_; }  // absolute
  const onnx_import::Model& model() const { return model_; }
  Backend& backend() { return *backend_; }
  // Made when first asked for; throws what find_ends throws for models that are no image classifiers.
  Classifier& classifier();
  const std::string& sha256();
  // MODEL without ".onnx", with `suffix`: where files about the model are looked for.
  std::string sidecar(const std::string& suffix) const;

 private:
  std::string path_;
  onnx_import::Model model_;
  std::unique_ptr<Backend> backend_;
  std::optional<Classifier> classifier_;
  std::string sha256_;
};

// See actmatch_model_info.
nlohmann::ordered_json model_info(ModelSession& session);

std::string absolute_path(const std::string& path);

}  // namespace actmatch::api
