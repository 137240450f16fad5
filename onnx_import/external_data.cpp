#include "onnx_import/external_data.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <optional>

#include "engine/core/error.h"

namespace actmatch::onnx_import {

namespace fs = std::filesystem;

namespace {

// What `external_data` says; later entries of the same key win, as in a map.
struct Location {
  std::string file;
  uint64_t offset = 0;
  std::optional<uint64_t> length;
};

uint64_t natural(const std::string& text, const char* key, const std::string& where) {
  uint64_t value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc() || end != text.data() + text.size())
    throw Error(ErrorCode::kFormat,
                where + " has the " + key + " '" + text + "' in its external file, which is no number of bytes; the file is damaged");
  return value;
}

Location location_of(const onnx::TensorProto& tensor, const std::string& where) {
  Location location;
  for (const auto& entry : tensor.external_data()) {
    if (entry.key() == "location") location.file = entry.value();
    if (entry.key() == "offset") location.offset = natural(entry.value(), "offset", where);
    if (entry.key() == "length") location.length = natural(entry.value(), "length", where);
  }
  return location;
}

// Does `path` lie in `folder`? Both without links and dots.
bool is_inside(const fs::path& path, const fs::path& folder) {
  const auto [end, ignored] = std::mismatch(folder.begin(), folder.end(), path.begin(), path.end());
  return end == folder.end();
}

}  // namespace

bool is_external(const onnx::TensorProto& tensor) {
  return tensor.data_location() == onnx::TensorProto::EXTERNAL || tensor.external_data_size() > 0;
}

std::shared_ptr<const ByteSource> ExternalFiles::open(const std::string& location, const std::string& where) {
  const auto refuse = [&](const std::string& what) {
    throw Error(ErrorCode::kUnsupported, where + " keeps its data in the file '" + location.c_str() + "', " + what +
                                             "; save the model with its weights inside, or in a file beside it");
  };
  if (model_path_.empty())
    throw Error(ErrorCode::kUnsupported,
                where + " keeps its data in another file, '" + location +
                    "', and the model came as bytes, without a folder; open it by its path, or save it as one file");
  if (const auto known = paths_.find(location); known != paths_.end()) return files_.at(known->second);
  const fs::path given(location);
  if (location.empty() || location.find('\0') != std::string::npos) refuse("which is no name of a file");
  if (given.is_absolute()) refuse("an absolute path: only files in the model's folder are read");
  if (std::find(given.begin(), given.end(), "..") != given.end()) refuse("which leads out of the model's folder");
  std::error_code code;
  const fs::path model = fs::absolute(model_path_, code);
  const fs::path folder = model.parent_path(), path = folder / given;
  const fs::path resolved = fs::canonical(path, code);
  if (code)
    throw Error(ErrorCode::kNotFound, where + " keeps its data in the file '" + location + "', which is not in '" + folder.string() +
                                          "'; copy it there, beside the model");
  // A link may lead to where the model itself lies, as the caches of model hubs arrange it, but nowhere else.
  const fs::path real_folder = fs::canonical(folder, code), model_folder = fs::canonical(model, code).parent_path();
  if (code || (!is_inside(resolved, real_folder) && !is_inside(resolved, model_folder))) refuse("a link out of the model's folder");
  auto& file = files_[resolved.string()];
  if (!file) file = std::make_shared<FileSource>(resolved.string(), where + ": the file of weights", false);
  paths_[location] = resolved.string();
  return file;
}

StoredTensor ExternalFiles::locate(const onnx::TensorProto& tensor, const std::string& where) {
  const Location location = location_of(tensor, where);
  StoredTensor stored = describe_tensor(tensor, where);
  const uint64_t needed = stored_bytes(tensor.data_type(), element_count(stored.shape));
  if (location.length && *location.length != needed)
    throw Error(ErrorCode::kFormat, where + " has the shape " + to_string(stored.shape) + " of " + type_name(tensor.data_type()) + " but " +
                                        std::to_string(*location.length) + " bytes in '" + location.file +
                                        "'; the file is damaged, export it again");
  stored.source = open(location.file, where);
  if (location.offset > stored.source->size() || needed > stored.source->size() - location.offset)
    throw Error(ErrorCode::kFormat, where + " needs " + std::to_string(needed) + " bytes from byte " + std::to_string(location.offset) +
                                        " on of '" + location.file + "', which has only " + std::to_string(stored.source->size()) +
                                        "; check that it was copied completely");
  stored.offset = location.offset;
  return stored;
}

}  // namespace actmatch::onnx_import
