// A loaded model on its device: shared by everything that is made from it.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "engine/api/device.h"
#include "engine/explain/classifier.h"
#include "onnx_import/importer.h"

namespace actmatch::api {

class ModelSession {
 public:
  ModelSession(const std::string& path, const DeviceOptions& device);
  ModelSession(const std::string& path, std::unique_ptr<Backend> backend, NoticeCallback notice);

  const std::string& path() const { return path_; }  // absolute
  const onnx_import::Model& model() const { return model_; }
  Backend& backend() { return *backend_; }
  // Made when first asked for; throws what find_ends throws for models that are no image classifiers.
  Classifier& classifier();
  const std::string& sha256();
  // One line for whoever uses the model, about what costs time but no result.
  void notice(const std::string& text) const {
    if (notice_) notice_(text);
  }
  // MODEL without ".onnx", with `suffix`: where files about the model are looked for.
  std::string sidecar(const std::string& suffix) const;

 private:
  std::string path_;
  onnx_import::Model model_;
  NoticeCallback notice_;
  std::unique_ptr<Backend> backend_;
  std::optional<Classifier> classifier_;
  std::string sha256_;
};

// See actmatch_model_info.
nlohmann::ordered_json model_info(ModelSession& session);

std::string absolute_path(const std::string& path);

}  // namespace actmatch::api
