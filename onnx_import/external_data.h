// Tensors whose elements lie in other files beside the model.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "onnx_import/initializers.h"

namespace actmatch::onnx_import {

bool is_external(const onnx::TensorProto& tensor);

class ExternalFiles {
 public:
  // `model_path`: the file the locations are relative to; empty for a model that came as bytes, which has no folder.
  explicit ExternalFiles(std::string model_path) : model_path_(std::move(model_path)) {}

  // Where the elements of an external tensor lie, all of them inside the file. A file outside the model's folder, by its path or through a
  // link, is refused (kUnsupported), a missing one (kNotFound) and one that is too short (kFormat) too.
  StoredTensor locate(const onnx::TensorProto& tensor, const std::string& where);

  const std::map<std::string, std::shared_ptr<const ByteSource>>& files() const { return files_; }  // by path

 private:
  std::shared_ptr<const ByteSource> open(const std::string& location, const std::string& where);
  std::string model_path_;
  std::map<std::string, std::string> paths_;  // by location
  std::map<std::string, std::shared_ptr<const ByteSource>> files_;
};

}  // namespace actmatch::onnx_import
