#include "engine/api/labels.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstring>

#include "engine/core/error.h"
#include "engine/image/file.h"

namespace actmatch::api {

namespace {

std::string trimmed(const std::string& text) {
  const auto begin = text.find_first_not_of(" \t\r"), end = text.find_last_not_of(" \t\r");
  return begin == std::string::npos ? std::string() : text.substr(begin, end - begin + 1);
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(separator, at), text.size());
    parts.push_back(trimmed(text.substr(at, end - at)));
    at = end + 1;
  }
  return parts;
}

// Letters to insert, delete or replace to get from a to b.
size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t next = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = row[j];
      row[j] = next;
    }
  }
  return row.back();
}

std::string listed(const std::vector<int32_t>& classes, const std::vector<std::string>& names) {
  constexpr size_t kMost = 5;
  std::string text;
  for (size_t i = 0; i < std::min(kMost, classes.size()); ++i)
    text += (i ? ", " : "") + std::to_string(classes[i]) + " '" + names[static_cast<size_t>(classes[i])] + "'";
  if (classes.size() > kMost) text += " and " + std::to_string(classes.size() - kMost) + " more";
  return text;
}

}  // namespace

Labels::Labels(const std::string& path, int64_t classes) {
  const auto bytes = read_file(path);
  std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text.find('\0') != std::string::npos)
    throw Error(ErrorCode::kFormat, "labels '" + path + "' is not a text file; give one with a class name a line");
  if (text.rfind("\xEF\xBB\xBF", 0) == 0) text.erase(0, 3);
  names_ = split(text, '\n');
  while (!names_.empty() && names_.back().empty()) names_.pop_back();
  if (static_cast<int64_t>(names_.size()) != classes)
    throw Error(ErrorCode::kFormat, "labels '" + path + "' names " + std::to_string(names_.size()) + " classes and the model has " +
                                        std::to_string(classes) + "; give one line a class, in the model's order");
}

const std::string& Labels::name(int32_t index) const {
  static const std::string none;
  return index >= 0 && static_cast<size_t>(index) < names_.size() ? names_[static_cast<size_t>(index)] : none;
}

int32_t Labels::find(const std::string& given, int64_t classes) const {
  const std::string text = lower(trimmed(given));
  int64_t index = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), index);
  if (!text.empty() && end == text.data() + text.size() && (code == std::errc() || code == std::errc::result_out_of_range)) {
    if (code == std::errc() && index >= 0 && index < classes) return static_cast<int32_t>(index);
    throw Error(ErrorCode::kNotFound, "there is no class " + text + ": the model has classes 0 to " + std::to_string(classes - 1));
  }
  if (names_.empty())
    throw Error(ErrorCode::kNotFound,
                "class '" + given + "' is a name and there are no labels; give its index, or the names with --labels");

  // From the strictest reading to the loosest; the first that fits one class wins, and one that fits several is an error.
  std::vector<std::vector<int32_t>> fits(3);
  std::vector<std::pair<size_t, int32_t>> near;
  for (size_t i = 0; i < names_.size(); ++i) {
    const std::string whole = lower(names_[i]);
    std::vector<std::string> readings = split(whole, ',');
    readings.push_back(whole);
    const auto any = [&](auto&& test) { return std::any_of(readings.begin(), readings.end(), test); };
    const auto id = static_cast<int32_t>(i);
    if (whole == text) fits[0].push_back(id);
    if (any([&](const std::string& r) { return r == text; })) fits[1].push_back(id);
    if (!text.empty() && any([&](const std::string& r) { return r.rfind(text, 0) == 0; })) fits[2].push_back(id);
    size_t distance = text.size();
    for (const std::string& r : readings) distance = std::min(distance, r.find(text) != std::string::npos ? 0 : edit_distance(text, r));
    if (distance <= std::max<size_t>(1, text.size() / 3)) near.emplace_back(distance, id);
  }
  for (const auto& found : fits) {
    if (found.size() == 1) return found.front();
    if (found.size() > 1)
      throw Error(ErrorCode::kNotFound, "class '" + given + "' fits several: " + listed(found, names_) + "; give the index");
  }
  std::stable_sort(near.begin(), near.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<int32_t> candidates;
  for (const auto& [distance, id] : near) candidates.push_back(id);
  throw Error(ErrorCode::kNotFound, "there is no class '" + given + "' in the labels" +
                                        (candidates.empty() ? "; give the index or a name from the labels"
                                                            : "; did you mean " + listed(candidates, names_) + "?"));
}

}  // namespace actmatch::api
