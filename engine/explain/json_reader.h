// Recipes and options of methods as JSON.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "engine/core/error.h"

namespace actmatch {

// Comments are allowed. Throws kFormat.
inline nlohmann::json parse_recipe(const std::string& text, const std::string& origin) {
  try {
    return nlohmann::json::parse(text, nullptr, true, true);
  } catch (const nlohmann::json::parse_error& e) {
    throw Error(ErrorCode::kFormat,
                origin + " is not JSON (error at byte " + std::to_string(e.byte) + "); see the built-in recipes for the form");
  } catch (const nlohmann::json::out_of_range&) {
    throw Error(ErrorCode::kFormat, origin + " has a number beyond the range of double; write a smaller one");
  }
}

// Reads an object key by key and complains about what it does not know, so that a misspelt key is not silently ignored.
class JsonReader {
 public:
  using Json = nlohmann::json;
  JsonReader(const Json& json, std::string origin, std::string path) : json_(json), origin_(std::move(origin)), path_(std::move(path)) {
    if (!json.is_object()) fail(path_.empty() ? "the recipe" : "'" + path_ + "'", "must be an object {...}");
  }
  template <class T>
  void number(const char* key, T& value, double low, double high) {
    const Json::const_iterator it = look_up(key, value);
    if (it == json_.end()) return;
    if (!it->is_number() || !(it->get<double>() >= low) || !(it->get<double>() <= high))
      fail(quoted(key), "must be a number from " + short_number(low) + " to " + short_number(high));
    if (std::is_integral_v<T> && it->get<double>() != std::floor(it->get<double>())) fail(quoted(key), "must be a whole number");
    settled_[key] = value = it->get<T>();
  }
  void boolean(const char* key, bool& value) {
    const auto it = look_up(key, value);
    if (it == json_.end()) return;
    if (!it->is_boolean()) fail(quoted(key), "must be true or false");
    settled_[key] = value = it->get<bool>();
  }
  void text(const char* key, std::string& value) {
    const auto it = look_up(key, value);
    if (it == json_.end()) return;
    if (!it->is_string()) fail(quoted(key), "must be a string");
    settled_[key] = value = it->get<std::string>();
  }
  template <class T>
  void choice(const char* key, T& value, const std::map<std::string, T>& choices) {
    std::string chosen;
    text(key, chosen);
    if (!chosen.empty()) value = pick(key, chosen, choices);
    for (const auto& [name, choice] : choices)
      if (choice == value) settled_[key] = name;
  }
  template <class T>
  T pick(const char* key, const std::string& chosen, const std::map<std::string, T>& choices) {
    const auto it = choices.find(chosen);
    if (it != choices.end()) return it->second;
    std::string list;
    for (const auto& [name, unused] : choices) list += (list.empty() ? "" : ", ") + name;
    fail(quoted(key), "is '" + chosen + "'; choose one of " + list);
  }
  // A list, not empty.
  void numbers(const char* key, std::vector<double>& values, double low, double high) {
    const auto it = look_up(key, values);
    if (it == json_.end()) return;
    const auto good = [&](const Json& v) { return v.is_number() && v.get<double>() >= low && v.get<double>() <= high; };
    if (!it->is_array() || it->empty() || !std::all_of(it->begin(), it->end(), good))
      fail(quoted(key), "must be a list of numbers from " + short_number(low) + " to " + short_number(high));
    settled_[key] = values = it->get<std::vector<double>>();
  }
  template <class T>
  void choices(const char* key, std::vector<T>& values, const std::map<std::string, T>& choices) {
    if (const Json* list = child(key)) {
      if (!list->is_array() || list->empty()) fail(quoted(key), "must be a list of names");
      values.clear();
      for (const Json& v : *list) values.push_back(pick(key, v.is_string() ? v.get<std::string>() : v.dump(), choices));
    }
    settled_[key] = Json::array();
    for (const T& value : values)
      for (const auto& [name, choice] : choices)
        if (choice == value) settled_[key].push_back(name);
  }
  const Json* child(const char* key) {
    known_.insert(key);
    const auto it = json_.find(key);
    return it == json_.end() ? nullptr : &*it;
  }
  void finish() {
    for (const auto& [key, unused] : json_.items())
      if (!known_.count(key)) fail(quoted(key.c_str()), "is not a key of a recipe");
  }
  [[noreturn]] void fail(const std::string& what, const std::string& why) {
    throw Error(ErrorCode::kFormat, origin_ + ": " + what + " " + why);
  }
  std::string quoted(const char* key) const { return "'" + (path_.empty() ? "" : path_ + ".") + key + "'"; }

  const Json& json() const { return json_; }
  const std::string& origin() const { return origin_; }
  // Whoever takes the whole object checks its keys.
  void all_read() {
    for (const auto& [key, unused] : json_.items()) known_.insert(key);
  }
  // What the values read so far came to: the object's or the defaults.
  const Json& settled() const { return settled_; }

 private:
  Json::const_iterator look_up(const char* key, Json otherwise) {
    known_.insert(key);
    settled_[key] = std::move(otherwise);
    return json_.find(key);
  }
  static std::string short_number(double v) {
    std::string s = std::to_string(v);
    s.erase(s.find_last_not_of('0') + 1);
    if (s.back() == '.') s.pop_back();
    return s;
  }
  const Json& json_;
  std::string origin_, path_;
  std::set<std::string> known_;
  Json settled_ = Json::object();
};

}  // namespace actmatch
