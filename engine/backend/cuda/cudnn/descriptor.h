// cuDNN's backend descriptors with an owner and checked calls. Only the .cpp files of this folder include this header (and with it
// cuDNN's).
#pragma once

#include <cudnn_graph.h>

#include <span>
#include <string>
#include <vector>

#include "engine/core/error.h"

namespace actmatch::cuda {

// A line of the source, for messages: as a default argument, the caller's. (std::source_location, which clang 14 does not have.)
struct Where {
  const char* file = "";
  int line = 0;
  static constexpr Where current(const char* file = __builtin_FILE(), int line = __builtin_LINE()) { return {file, line}; }
};

// What a call of cuDNN failed with. `what` has status, cuDNN's own explanation, call, file and line, on one line.
class CudnnError : public Error {
 public:
  CudnnError(cudnnStatus_t status, const std::string& message);
  cudnnStatus_t status() const { return status_; }

 private:
  cudnnStatus_t status_;
};

// Throws CudnnError unless the status is success; `call` names the function and what it was about.
void check(cudnnStatus_t status, const std::string& call, Where where = Where::current());

// One backend descriptor. Every call is checked and throws CudnnError; `where` is the caller's line, for the message.
class Descriptor {
 public:
  // `name` says in messages which descriptor it was: "tensor x".
  Descriptor(cudnnBackendDescriptorType_t type, std::string name, Where where = Where::current());
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept;
  Descriptor& operator=(Descriptor&& other) noexcept;

  cudnnBackendDescriptor_t get() const { return handle_; }

  void set(cudnnBackendAttributeName_t attribute, int64_t value, Where where = Where::current());
  void set(cudnnBackendAttributeName_t attribute, std::span<const int64_t> values, Where where = Where::current());
  void set(cudnnBackendAttributeName_t attribute, bool value, Where where = Where::current());
  void set(cudnnBackendAttributeName_t attribute, float value, Where where = Where::current());
  void set(cudnnBackendAttributeName_t attribute, double value, Where where = Where::current());
  void set(cudnnBackendAttributeName_t attribute, cudnnDataType_t value, Where where = Where::current());
  void set(cudnnBackendAttributeName_t attribute, const std::string& text, Where where = Where::current());
  void set(cudnnBackendAttributeName_t attribute, const Descriptor& value, Where where = Where::current());
  void set(cudnnBackendAttributeName_t attribute, std::span<const cudnnBackendDescriptor_t> values, Where where = Where::current());
  // Anything else: enumerations and pointers.
  void set(cudnnBackendAttributeName_t attribute, cudnnBackendAttributeType_t type, int64_t count, const void* values,
           Where where = Where::current());
  void finalize(Where where = Where::current());

  int64_t get_int64(cudnnBackendAttributeName_t attribute, Where where = Where::current()) const;
  std::string get_text(cudnnBackendAttributeName_t attribute, Where where = Where::current()) const;
  // How many values the attribute has.
  int64_t count(cudnnBackendAttributeName_t attribute, cudnnBackendAttributeType_t type, Where where = Where::current()) const;
  // All values of an attribute of plain numbers or enumerations.
  template <class T>
  std::vector<T> get_all(cudnnBackendAttributeName_t attribute, cudnnBackendAttributeType_t type, Where where = Where::current()) const {
    std::vector<T> values(static_cast<size_t>(count(attribute, type, where)));
    get(attribute, type, std::span(values), where);
    return values;
  }
  // Copies an attribute that is a list of descriptors into new ones of the given kind. Not every attribute tells its count beforehand
  // (knob choices answer 0), hence the bound.
  std::vector<Descriptor> get_descriptors(cudnnBackendAttributeName_t attribute, cudnnBackendDescriptorType_t kind, const std::string& name,
                                          int64_t at_most, Where where = Where::current()) const;

 private:
  template <class T>
  void get(cudnnBackendAttributeName_t attribute, cudnnBackendAttributeType_t type, std::span<T> values, Where where) const {
    get_raw(attribute, type, static_cast<int64_t>(values.size()), values.data(), where);
  }
  // Returns how many values there were.
  int64_t get_raw(cudnnBackendAttributeName_t attribute, cudnnBackendAttributeType_t type, int64_t room, void* values, Where where) const;

  cudnnBackendDescriptor_t handle_ = nullptr;
  std::string name_;
};

}  // namespace actmatch::cuda
