#include "engine/evaluate/sweep.h"

#include "engine/core/error.h"
#include "engine/image/file.h"

namespace actmatch {
namespace {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;

constexpr size_t kMostVariants = 10000;

std::string name_of(const std::vector<std::pair<std::string, Json>>& changes) {
  std::string name;
  for (const auto& [field, value] : changes) {
    if (!name.empty()) name += ", ";
    name += field + "=" + (value.is_string() ? value.get<std::string>() : value.dump());
  }
  return name;
}

// The object of lists at `key`; an empty one where the key is missing.
OrderedJson lists_at(const OrderedJson& json, const char* key, const std::string& origin) {
  const auto it = json.find(key);
  if (it == json.end()) return OrderedJson::object();
  const auto wrong = [&](const std::string& what) { return Error(ErrorCode::kFormat, "'" + origin + "': " + what); };
  if (!it->is_object()) throw wrong(std::string("'") + key + "' must be an object {\"field\": [values]}");
  for (const auto& [field, values] : it->items())
    if (!values.is_array() || values.empty()) throw wrong(std::string("'") + key + "." + field + "' must be a list of values");
  return *it;
}

}  // namespace

Sweep parse_sweep(const std::string& text, const std::string& origin) {
  const auto wrong = [&](const std::string& what) { return Error(ErrorCode::kFormat, "'" + origin + "': " + what); };
  OrderedJson json;
  try {
    json = OrderedJson::parse(text);
  } catch (const OrderedJson::parse_error& e) {
    throw wrong("byte " + std::to_string(e.byte) + " is no JSON");
  }
  if (!json.is_object()) throw wrong("a sweep must be an object {...}");
  for (const auto& [key, value] : json.items()) {
    if (key != "recipe" && key != "method" && key != "each" && key != "grid" && key != "seeds")
      throw wrong("there is no key '" + key + "'; there are recipe, method, each, grid, seeds");
    if ((key == "recipe" || key == "method") && !value.is_string()) throw wrong("'" + key + "' must be a string");
  }
  Sweep sweep;
  sweep.recipe = json.value("recipe", "");
  sweep.method = json.value("method", sweep.method);
  const OrderedJson each = lists_at(json, "each", origin), grid = lists_at(json, "grid", origin);
  for (const auto& [field, values] : each.items())
    for (const OrderedJson& value : values) sweep.variants.push_back({"", {{field, Json(value)}}});
  std::vector<Variant> combinations;
  if (!grid.empty()) combinations.emplace_back();
  for (const auto& [field, values] : grid.items()) {
    if (combinations.size() * values.size() > kMostVariants)
      throw wrong("'grid' has more than " + std::to_string(kMostVariants) + " combinations");
    std::vector<Variant> longer;
    for (const Variant& variant : combinations)
      for (const OrderedJson& value : values) {
        longer.push_back(variant);
        longer.back().changes.emplace_back(field, Json(value));
      }
    combinations = std::move(longer);
  }
  sweep.variants.insert(sweep.variants.end(), combinations.begin(), combinations.end());
  for (Variant& variant : sweep.variants) variant.name = name_of(variant.changes);
  if (const auto seeds = json.find("seeds"); seeds != json.end()) {
    if (!seeds->is_array() || seeds->empty()) throw wrong("'seeds' must be a list of whole numbers");
    for (const OrderedJson& seed : *seeds) {
      if (!seed.is_number_unsigned()) throw wrong("'seeds' must be a list of whole numbers, none below 0");
      sweep.seeds.push_back(seed.get<uint64_t>());
    }
  }
  return sweep;
}

Sweep read_sweep(const std::string& path) {
  const std::vector<std::byte> bytes = read_file(path);
  return parse_sweep(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), path);
}

std::string apply_changes(const std::string& recipe_json, const Variant& variant) {
  OrderedJson recipe = OrderedJson::parse(recipe_json);
  for (const auto& [field, value] : variant.changes) {
    OrderedJson* at = &recipe;
    for (size_t begin = 0;;) {
      const size_t dot = field.find('.', begin);
      const std::string key = field.substr(begin, dot - begin);
      if (!at->is_object() && !at->is_null())
        throw Error(ErrorCode::kFormat, "the sweep's field '" + field + "' goes through '" + field.substr(0, begin ? begin - 1 : 0) +
                                            "', which holds no further fields");
      at = &(*at)[key];
      if (dot == std::string::npos) break;
      begin = dot + 1;
    }
    *at = value;
  }
  return recipe.dump(2);
}

}  // namespace actmatch
