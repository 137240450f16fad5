#include "engine/amortise/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "engine/core/error.h"
#include "engine/image/file.h"

namespace actmatch {

namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kLengthBytes = 8;
constexpr const char* kSteps = "steps_done";

[[noreturn]] void damaged(const std::string& path, const std::string& what) {
  throw Error(ErrorCode::kFormat,
              "'" + path + "' is no checkpoint of a training, or a damaged one (" + what + "); remove it and begin anew");
}

// The bytes that an entry of the header speaks of, as floats.
std::vector<float> array_at(const Json& entry, std::span<const std::byte> data) {
  const auto begin = entry.at("data_offsets").at(0).get<uint64_t>(), end = entry.at("data_offsets").at(1).get<uint64_t>();
  if (entry.at("dtype") != "F32" || begin > end || end > data.size() || (end - begin) % sizeof(float) != 0)
    throw std::out_of_range("an array lies outside of the file");
  std::vector<float> values((end - begin) / sizeof(float));
  std::memcpy(values.data(), data.data() + begin, end - begin);
  return values;
}

}  // namespace

void write_checkpoint(const std::string& path, const Checkpoint& checkpoint) {
  Json header;
  header["__metadata__"] = checkpoint.about;
  header["__metadata__"][kSteps] = std::to_string(checkpoint.state.steps_done);
  size_t at = 0;
  for (const auto& [name, values] : checkpoint.state.arrays) {
    const size_t bytes = values.size() * sizeof(float);
    header[name] = {{"dtype", "F32"}, {"shape", {values.size()}}, {"data_offsets", {at, at + bytes}}};
    at += bytes;
  }
  std::string text = header.dump();
  text.resize((text.size() + kLengthBytes - 1) / kLengthBytes * kLengthBytes, ' ');  // arrays begin where floats may
  std::vector<std::byte> file(kLengthBytes + text.size() + at);
  for (size_t i = 0; i < kLengthBytes; ++i) file[i] = static_cast<std::byte>(text.size() >> (8 * i) & 0xff);
  std::memcpy(file.data() + kLengthBytes, text.data(), text.size());
  std::byte* data = file.data() + kLengthBytes + text.size();
  for (const auto& [name, values] : checkpoint.state.arrays) {
    std::memcpy(data, values.data(), values.size() * sizeof(float));
    data += values.size() * sizeof(float);
  }
  write_file_atomically(path, std::span<const std::byte>(file));
}

Checkpoint read_checkpoint(const std::string& path) {
  const std::vector<std::byte> file = read_file(path);
  uint64_t length = 0;
  if (file.size() < kLengthBytes) damaged(path, "it is too short");
  for (size_t i = 0; i < kLengthBytes; ++i) length |= std::to_integer<uint64_t>(file[i]) << (8 * i);
  if (length > file.size() - kLengthBytes) damaged(path, "it is shorter than its header says");
  Checkpoint checkpoint;
  try {
    const char* text = reinterpret_cast<const char*>(file.data()) + kLengthBytes;
    const Json header = Json::parse(text, text + length);
    const auto data = std::span(file).subspan(kLengthBytes + length);
    for (const auto& [name, entry] : header.items()) {
      if (name == "__metadata__")
        checkpoint.about = entry.get<std::map<std::string, std::string>>();
      else
        checkpoint.state.arrays[name] = array_at(entry, data);
    }
    checkpoint.state.steps_done = std::stoll(checkpoint.about.at(kSteps));
    checkpoint.about.erase(kSteps);
  } catch (const std::exception& e) {  // of the JSON library and of the lookups above
    damaged(path, "its header is not right");
  }
  if (checkpoint.state.steps_done < 0) damaged(path, "its number of steps is negative");
  return checkpoint;
}

}  // namespace actmatch
