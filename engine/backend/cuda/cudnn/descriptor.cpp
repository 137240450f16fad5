#include "engine/backend/cuda/cudnn/descriptor.h"

#include <algorithm>
#include <array>
#include <utility>

namespace actmatch::cuda {
namespace {

ErrorCode code_of(cudnnStatus_t status) {
  if (status == CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED || status == CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED)
    return ErrorCode::kOutOfMemory;
  switch (CUDNN_STATUS_CATEGORY(status)) {
    case CUDNN_STATUS_NOT_SUPPORTED: return ErrorCode::kUnsupported;
    case CUDNN_STATUS_BAD_PARAM: return ErrorCode::kInvalidArgument;
    default: return ErrorCode::kInternal;
  }
}

// cuDNN's explanation has line breaks; messages of ours are one line.
std::string last_error_text() {
  std::array<char, 4096> buffer{};
  cudnnGetLastErrorString(buffer.data(), buffer.size() - 1);
  std::string text(buffer.data());
  std::replace(text.begin(), text.end(), '\n', ' ');
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

std::string number(cudnnBackendAttributeName_t attribute) { return "attribute " + std::to_string(static_cast<int>(attribute)); }

}  // namespace

CudnnError::CudnnError(cudnnStatus_t status, const std::string& message) : Error(code_of(status), message), status_(status) {}

void check(cudnnStatus_t status, const std::string& call, Where where) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  const std::string detail = last_error_text();
  std::string file = where.file;
  if (const size_t engine = file.rfind("engine/"); engine != std::string::npos) file.erase(0, engine);
  throw CudnnError(status, std::string(cudnnGetErrorString(status)) + " from " + call + (detail.empty() ? "" : ": " + detail) + " (" +
                               file + ":" + std::to_string(where.line) + ")");
}

Descriptor::Descriptor(cudnnBackendDescriptorType_t type, std::string name, Where where) : name_(std::move(name)) {
  check(cudnnBackendCreateDescriptor(type, &handle_), "cudnnBackendCreateDescriptor of " + name_, where);
}

Descriptor::~Descriptor() {
  if (handle_) cudnnBackendDestroyDescriptor(handle_);
}

Descriptor::Descriptor(Descriptor&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)), name_(std::move(other.name_)) {}

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  std::swap(handle_, other.handle_);
  std::swap(name_, other.name_);
  return *this;
}

void Descriptor::set(cudnnBackendAttributeName_t attribute, cudnnBackendAttributeType_t type, int64_t count, const void* values,
                     Where where) {
  check(cudnnBackendSetAttribute(handle_, attribute, type, count, values),
        "cudnnBackendSetAttribute of " + name_ + ", " + number(attribute), where);
}

void Descriptor::set(cudnnBackendAttributeName_t attribute, int64_t value, Where where) {
  set(attribute, CUDNN_TYPE_INT64, 1, &value, where);
}
void Descriptor::set(cudnnBackendAttributeName_t attribute, std::span<const int64_t> values, Where where) {
  set(attribute, CUDNN_TYPE_INT64, static_cast<int64_t>(values.size()), values.data(), where);
}
void Descriptor::set(cudnnBackendAttributeName_t attribute, bool value, Where where) {
  set(attribute, CUDNN_TYPE_BOOLEAN, 1, &value, where);
}
void Descriptor::set(cudnnBackendAttributeName_t attribute, float value, Where where) {
  set(attribute, CUDNN_TYPE_FLOAT, 1, &value, where);
}
void Descriptor::set(cudnnBackendAttributeName_t attribute, double value, Where where) {
  set(attribute, CUDNN_TYPE_DOUBLE, 1, &value, where);
}
void Descriptor::set(cudnnBackendAttributeName_t attribute, cudnnDataType_t value, Where where) {
  set(attribute, CUDNN_TYPE_DATA_TYPE, 1, &value, where);
}
void Descriptor::set(cudnnBackendAttributeName_t attribute, const std::string& text, Where where) {
  set(attribute, CUDNN_TYPE_CHAR, static_cast<int64_t>(text.size()), text.data(), where);
}
void Descriptor::set(cudnnBackendAttributeName_t attribute, const Descriptor& value, Where where) {
  set(attribute, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value.handle_, where);
}
void Descriptor::set(cudnnBackendAttributeName_t attribute, std::span<const cudnnBackendDescriptor_t> values, Where where) {
  set(attribute, CUDNN_TYPE_BACKEND_DESCRIPTOR, static_cast<int64_t>(values.size()), values.data(), where);
}

void Descriptor::finalize(Where where) { check(cudnnBackendFinalize(handle_), "cudnnBackendFinalize of " + name_, where); }

int64_t Descriptor::get_raw(cudnnBackendAttributeName_t attribute, cudnnBackendAttributeType_t type, int64_t room, void* values,
                            Where where) const {
  int64_t found = 0;
  check(cudnnBackendGetAttribute(handle_, attribute, type, room, &found, values),
        "cudnnBackendGetAttribute of " + name_ + ", " + number(attribute), where);
  return found;
}

int64_t Descriptor::count(cudnnBackendAttributeName_t attribute, cudnnBackendAttributeType_t type, Where where) const {
  return get_raw(attribute, type, 0, nullptr, where);
}

int64_t Descriptor::get_int64(cudnnBackendAttributeName_t attribute, Where where) const {
  int64_t value = 0;
  get_raw(attribute, CUDNN_TYPE_INT64, 1, &value, where);
  return value;
}

std::string Descriptor::get_text(cudnnBackendAttributeName_t attribute, Where where) const {
  const std::vector<char> text = get_all<char>(attribute, CUDNN_TYPE_CHAR, where);
  return {text.begin(), std::find(text.begin(), text.end(), '\0')};
}

std::vector<Descriptor> Descriptor::get_descriptors(cudnnBackendAttributeName_t attribute, cudnnBackendDescriptorType_t kind,
                                                    const std::string& name, int64_t at_most, Where where) const {
  std::vector<Descriptor> descriptors;
  std::vector<cudnnBackendDescriptor_t> handles;
  for (int64_t i = 0; i < at_most; ++i) handles.push_back(descriptors.emplace_back(kind, name, where).get());
  const int64_t filled = at_most ? get_raw(attribute, CUDNN_TYPE_BACKEND_DESCRIPTOR, at_most, handles.data(), where) : 0;
  while (static_cast<int64_t>(descriptors.size()) > filled) descriptors.pop_back();
  return descriptors;
}

}  // namespace actmatch::cuda
