#include "engine/api/model_session.h"

#include <algorithm>
#include <cctype>
#include <chrono>
#include <filesystem>

#include "engine/api/sha256.h"
#include "engine/core/error.h"

namespace actmatch::api {

std::string absolute_path(const std::string& path) {
  std::error_code error;
  const auto absolute = std::filesystem::absolute(path, error);
  return error ? path : absolute.lexically_normal().string();
}

namespace {

template <class Action>
auto seconds_of(Action action, double& seconds) {
  const auto start = std::chrono::steady_clock::now();
  auto result = action();
  seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace

ModelSession::ModelSession(const std::string& path, const DeviceOptions& device, ModelChoices choices)
    : ModelSession(path, make_backend(device), device.notice, std::move(choices)) {}

ModelSession::ModelSession(const std::string& path, std::unique_ptr<Backend> backend, NoticeCallback notice, ModelChoices choices)
    : path_(absolute_path(path)),
      choices_(std::move(choices)),
      model_(seconds_of([&] { return onnx_import::Model::from_file(path); }, read_seconds_)),
      notice_(std::move(notice)),
      backend_(std::move(backend)) {
  find_picture();
}

// The input that was named, or the only one with one or three channels before or behind two other axes.
void ModelSession::find_picture() {
  const auto is_count = [](int64_t extent) { return extent == 1 || extent == 3; };
  const onnx_import::ModelInput* found = nullptr;
  Shape shape;
  for (const auto& input : model_.inputs()) {
    if (choices_.input.empty() ? choices_.fixed.contains(input.name) : input.name != choices_.input) continue;
    Shape candidate = input.shape;
    if (choices_.input_shape.size() == 4 && (candidate.size() == 4 || candidate.empty())) candidate = choices_.input_shape;
    const bool like_picture = candidate.size() == 4 && input.dtype != DType::kBool && (is_count(candidate[1]) || is_count(candidate[3]));
    if (choices_.input.empty() && !like_picture) continue;
    if (found) return;  // several: which one has to be said
    found = &input;
    shape = candidate;
  }
  if (!found && !choices_.input.empty())
    throw Error(ErrorCode::kInvalidArgument, "'" + path_ + "' has no input '" + choices_.input + "'; 'actmatch inspect MODEL' lists them");
  if (!found) return;
  picture_ = found->name;
  channels_last_ = choices_.layout == ModelChoices::Layout::kChannelsLast;
  if (choices_.layout == ModelChoices::Layout::kAuto) channels_last_ = shape.size() == 4 && is_count(shape[3]) && !is_count(shape[1]);
  if (choices_.input_shape.empty()) return;
  if (choices_.input_shape.size() == 2 && shape.size() == 4) {
    shape[channels_last_ ? 1 : 2] = choices_.input_shape[0];
    shape[channels_last_ ? 2 : 3] = choices_.input_shape[1];
  } else if (choices_.input_shape.size() == 2) {
    throw Error(ErrorCode::kInvalidArgument, "the input '" + picture_ + "' does not have four axes; give the whole input shape");
  } else {
    shape = choices_.input_shape;
  }
  if (shape[0] < 1) shape[0] = 1;
  picture_shape_ = shape;
}

onnx_import::BuildOptions ModelSession::build_options(int64_t batch, const std::vector<std::string>& keep) const {
  onnx_import::BuildOptions options;
  options.batch = batch;
  options.keep_values = keep;
  options.picture = picture_;
  options.picture_channels_last = channels_last_;
  options.fixed_inputs = choices_.fixed;
  if (!choices_.output.empty()) options.outputs = {choices_.output};
  if (!picture_shape_.empty()) {
    options.input_shapes[picture_] = picture_shape_;
    if (batch > 0) options.input_shapes[picture_][0] = batch;
  }
  return options;
}

GraphSource ModelSession::source() const {
  return [this](int64_t batch, const std::vector<std::string>& keep) { return model_.build(build_options(batch, keep)); };
}

Classifier& ModelSession::classifier() {
  if (!classifier_) classifier_.emplace(*backend_, source(), choices_.head);
  return *classifier_;
}

const std::string& ModelSession::sha256() {
  if (!sha256_.empty()) return sha256_;
  sha256_ = sha256_of_file(path_);
  if (model_.external_files().empty()) return sha256_;
  std::string all = sha256_;
  for (const std::string& path : model_.external_files()) all += sha256_of_file(path);
  sha256_ = sha256_hex(std::as_bytes(std::span(all)));
  return sha256_;
}

std::string ModelSession::sidecar(const std::string& suffix) const {
  std::filesystem::path path(path_);
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return (extension == ".onnx" ? path.replace_extension().string() : path_) + suffix;
}

}  // namespace actmatch::api
