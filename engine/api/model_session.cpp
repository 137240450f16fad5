#include "engine/api/model_session.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/api/sha256.h"
#include "engine/core/error.h"
#include "engine/image/file.h"

namespace actmatch::api {

namespace {

bool names_cuda(const std::string& device) {
  if (device == "cuda") return true;
  if (device.rfind("cuda:", 0) != 0 || device.size() == 5) return false;
  return std::all_of(device.begin() + 5, device.end(), [](unsigned char c) { return std::isdigit(c); });
}

}  // namespace

std::unique_ptr<Backend> make_backend(const std::string& device, int threads) {
  if (threads < 0) throw Error(ErrorCode::kInvalidArgument, "the number of threads must not be negative; 0 takes what there is");
  if (device == "auto" || device == "cpu") return make_cpu_backend(threads);
  if (names_cuda(device))
    throw Error(ErrorCode::kUnsupported, "device '" + device + "': this build has no CUDA backend; use 'cpu' or 'auto'");
  throw Error(ErrorCode::kInvalidArgument, "there is no device '" + device + "'; use 'auto', 'cpu', 'cuda' or 'cuda:N'");
}

std::string devices_json() {
  const auto cpu = make_cpu_backend(0);
  return nlohmann::ordered_json::array({{{"name", cpu->name()}, {"description", cpu->description()}}}).dump();
}

std::string absolute_path(const std::string& path) {
  std::error_code error;
  const auto absolute = std::filesystem::absolute(path, error);
  return error ? path : absolute.lexically_normal().string();
}

ModelSession::ModelSession(const std::string& path, const std::string& device, int threads)
    : path_(absolute_path(path)), model_(onnx_import::Model::from_file(path)), backend_(make_backend(device, threads)) {}

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
