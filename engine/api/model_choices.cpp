#include "engine/api/model_choices.h"

#include <charconv>
#include <nlohmann/json.hpp>

#include "engine/core/error.h"

namespace actmatch::api {

using Json = nlohmann::ordered_json;

namespace {

template <class Number>
bool parse(const std::string& text, Number& value) {
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  return !text.empty() && code == std::errc() && end == text.data() + text.size();
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  for (size_t begin = 0;;) {
    const size_t end = text.find(separator, begin);
    parts.push_back(text.substr(begin, end - begin));
    if (end == std::string::npos) return parts;
    begin = end + 1;
  }
}

Shape parse_shape(const std::string& text) {
  Shape shape;
  for (const std::string& part : split(text, 'x')) {
    int64_t extent = 0;
    if (!parse(part, extent) || extent < 1 || extent > 1 << 20)
      throw Error(ErrorCode::kInvalidArgument, "the input shape '" + text + "' is none; give HEIGHTxWIDTH or all extents, as 1x3x224x224");
    shape.push_back(extent);
  }
  if (shape.size() != 2 && shape.size() != 4)
    throw Error(ErrorCode::kInvalidArgument, "the input shape '" + text + "' has " + std::to_string(shape.size()) +
                                                 " extents; give HEIGHTxWIDTH or all four, as 1x3x224x224");
  return shape;
}

}  // namespace

ModelChoices make_choices(const std::string& input, const std::string& output, const std::string& head, const std::string& input_shape,
                          const std::string& layout, const std::string& fixed) {
  ModelChoices choices;
  choices.input = input;
  choices.output = output;
  if (!head.empty()) choices.head = head_of(head);
  if (!input_shape.empty()) choices.input_shape = parse_shape(input_shape);
  if (layout == "nchw")
    choices.layout = ModelChoices::Layout::kChannelsFirst;
  else if (layout == "nhwc")
    choices.layout = ModelChoices::Layout::kChannelsLast;
  else if (!layout.empty() && layout != "auto")
    throw Error(ErrorCode::kInvalidArgument, "there is no layout '" + layout + "'; take auto, nchw or nhwc");
  if (!fixed.empty())
    for (const std::string& pair : split(fixed, ',')) {
      const size_t equals = pair.rfind('=');
      double value = 0;
      if (equals == std::string::npos || equals == 0 || !parse(pair.substr(equals + 1), value))
        throw Error(ErrorCode::kInvalidArgument, "'" + pair + "' does not say what an input is; give NAME=NUMBER");
      choices.fixed[pair.substr(0, equals)] = value;
    }
  return choices;
}

Json choices_to_json(const ModelChoices& choices) {
  Json json = Json::object();
  if (!choices.input.empty()) json["input"] = choices.input;
  if (!choices.output.empty()) json["output"] = choices.output;
  if (choices.head != Head::kAuto) json["head"] = name_of(choices.head);
  if (!choices.input_shape.empty()) json["input_shape"] = to_string(choices.input_shape);
  if (choices.layout != ModelChoices::Layout::kAuto)
    json["layout"] = choices.layout == ModelChoices::Layout::kChannelsFirst ? "nchw" : "nhwc";
  if (!choices.fixed.empty()) json["fixed"] = choices.fixed;
  return json;
}

ModelChoices choices_from_json(const Json& json, const std::string& where) {
  const auto fail = [&](const std::string& what) -> Error { return {ErrorCode::kFormat, where + ": " + what + "; it is damaged"}; };
  if (!json.is_object()) throw fail("'model_options' must be an object");
  std::map<std::string, std::string> texts;
  std::map<std::string, double> fixed;
  for (const auto& [key, value] : json.items()) {
    if (key == "fixed" && value.is_object()) {
      for (const auto& [name, number] : value.items()) {
        if (!number.is_number()) throw fail("'fixed' must hold numbers");
        fixed[name] = number.get<double>();
      }
    } else if (value.is_string() && (key == "input" || key == "output" || key == "head" || key == "input_shape" || key == "layout")) {
      texts[key] = value.get<std::string>();
    } else {
      throw fail("'model_options' holds '" + key + "', which is not known");
    }
  }
  ModelChoices choices = make_choices(texts["input"], texts["output"], texts["head"], texts["input_shape"], texts["layout"], {});
  choices.fixed = std::move(fixed);
  return choices;
}

}  // namespace actmatch::api
