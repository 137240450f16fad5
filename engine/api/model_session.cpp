#include "engine/api/model_session.h"

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "engine/api/sha256.h"
#include "engine/core/error.h"
#include "engine/image/file.h"

namespace actmatch::api {

std::string absolute_path(const std::string& path) {
  std::error_code error;
  const auto absolute = std::filesystem::absolute(path, error);
  return error ? path : absolute.lexically_normal().string();
}

ModelSession::ModelSession(const std::string& path, const DeviceOptions& device)
    : path_(absolute_path(path)), model_(onnx_import::Model::from_file(path)), notice_(device.notice), backend_(make_backend(device)) {}

ModelSession::ModelSession(const std::string& path, std::unique_ptr<Backend> backend, NoticeCallback notice)
    : path_(absolute_path(path)), model_(onnx_import::Model::from_file(path)), notice_(std::move(notice)), backend_(std::move(backend)) {}

Classifier& ModelSession::classifier() {
  if (!classifier_) {
    classifier_.emplace(*backend_, [model = model_](int64_t batch, const std::vector<std::string>& keep) {
      onnx_import::BuildOptions options;
      options.batch = batch;
      options.keep_values = keep;
      return model.build(options);
    });
  }
  return *classifier_;
}

const std::string& ModelSession::sha256() {
  if (sha256_.empty()) sha256_ = sha256_hex(read_file(path_));
  return sha256_;
}

std::string ModelSession::sidecar(const std::string& suffix) const {
  std::filesystem::path path(path_);
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return (extension == ".onnx" ? path.replace_extension().string() : path_) + suffix;
}

}  // namespace actmatch::api
