// Class names, and the way from what a user calls a class to its index.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace actmatch::api {

class Labels {
 public:
  Labels() = default;
  // A class name a line, in the order of the classes. Throws kFormat when there are not exactly `classes` of them.
  Labels(const std::string& path, int64_t classes);

  bool empty() const { return names_.empty(); }
  const std::string& name(int32_t index) const;  // "" without labels
  // `text`: an index, or a name: the whole line or one of its synonyms (the parts between commas), or the beginning of exactly one of them;
  // case does not matter. Throws kNotFound, listing what comes near.
  int32_t find(const std::string& text, int64_t classes) const;

 private:
  std::vector<std::string> names_;
};

}  // namespace actmatch::api
