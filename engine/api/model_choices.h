// What the user says about a model that its file leaves open.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "engine/explain/classifier_ends.h"

namespace actmatch::api {

struct ModelChoices {
  std::string input, output;  // names; empty: the one that looks like it
  Head head = Head::kAuto;
  Shape input_shape;  // of the picture's input, as the file orders its axes; two extents are height and width; empty: as declared
  enum class Layout : uint8_t { kAuto, kChannelsFirst, kChannelsLast } layout = Layout::kAuto;
  std::map<std::string, double> fixed;  // other inputs, which have this value in all elements
};

// From texts as the C interface takes them, empty for what is not chosen: "224x224", "nhwc", "training=0,temperature=1". Throws
// kInvalidArgument.
ModelChoices make_choices(const std::string& input, const std::string& output, const std::string& head, const std::string& input_shape,
                          const std::string& layout, const std::string& fixed);

// For records: only what was chosen. `choices_from_json` throws kFormat; `where` names the record.
nlohmann::ordered_json choices_to_json(const ModelChoices& choices);
ModelChoices choices_from_json(const nlohmann::ordered_json& json, const std::string& where);

}  // namespace actmatch::api
