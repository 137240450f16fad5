// A loaded model on its device: shared by everything that is made from it.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "engine/api/device.h"
#include "engine/api/model_choices.h"
#include "engine/explain/classifier.h"
#include "onnx_import/importer.h"

namespace actmatch::api {

class ModelSession {
 public:
  ModelSession(const std::string& path, const DeviceOptions& device, ModelChoices choices = {});
  ModelSession(const std::string& path, std::unique_ptr<Backend> backend, NoticeCallback notice, ModelChoices choices = {});

  const std::string& path() const { return path_; }  // absolute
  const onnx_import::Model& model() const { return model_; }
  Backend& backend() { return *backend_; }
  const ModelChoices& choices() const { return choices_; }
  // How the graph of a classifier is built: the picture's input found or chosen, with channels first, other inputs fixed.
  onnx_import::BuildOptions build_options(int64_t batch, const std::vector<std::string>& keep = {}) const;
  bool channels_last() const { return channels_last_; }  // in the file
  // Made when first asked for; throws what find_ends throws for models that are no image classifiers. Of a head that decides about each
  // label by itself it gives the scores of all, and decision(label) is the one to explain.
  Classifier& classifier();
  std::unique_ptr<Classifier> decision(int64_t label) { return std::make_unique<Classifier>(*backend_, source(), choices_.head, label); }
  // Of the file and, where weights lie in other files, of the digests of all.
  const std::string& sha256();
  double read_seconds() const { return read_seconds_; }  // that opening the file took
  // One line for whoever uses the model, about what costs time but no result.
  void notice(const std::string& text) const {
    if (notice_) notice_(text);
  }
  // MODEL without ".onnx", with `suffix`: where files about the model are looked for.
  std::string sidecar(const std::string& suffix) const;

 private:
  void find_picture();
  GraphSource source() const;
  std::string path_;
  ModelChoices choices_;
  double read_seconds_ = 0;
  onnx_import::Model model_;
  std::string picture_;  // name of its input; empty: none found, which the classifier will say
  bool channels_last_ = false;
  Shape picture_shape_;  // as chosen; empty: as declared
  NoticeCallback notice_;
  std::unique_ptr<Backend> backend_;
  std::optional<Classifier> classifier_;
  std::string sha256_;
};

// See actmatch_model_info.
nlohmann::ordered_json model_info(ModelSession& session);

std::string absolute_path(const std::string& path);

}  // namespace actmatch::api
