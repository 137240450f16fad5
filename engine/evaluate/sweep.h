// Variants of a recipe, to be evaluated beside one another: ablations, sensitivity to weights, agreement over seeds. As JSON:
//
//   {"recipe": "default",                          what is varied; a name or a file, default: what --recipe says
//    "method": "activation-matching",              whose recipe it is; default that one
//    "each": {"weights.act": [0], "weights.tv": [0, 1]},   one field changed at a time
//    "grid": {"steps": [100, 300], "area.end": [0.03, 0.05]},   all combinations
//    "seeds": [0, 1, 2]}
//
// A field's name is the path of its keys with dots between. The recipe as it is comes first.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace actmatch {

struct Variant {
  std::string name;                                             // "weights.act=0, steps=100"; empty: the recipe as it is
  std::vector<std::pair<std::string, nlohmann::json>> changes;  // path of a field, its value
};

struct Sweep {
  std::string recipe;  // empty: not said
  std::string method = "activation-matching";
  std::vector<Variant> variants{Variant{}};
  std::vector<uint64_t> seeds;  // empty: not said
};

// Throws kNotFound, kIo, or kFormat naming the key.
Sweep read_sweep(const std::string& path);
Sweep parse_sweep(const std::string& text, const std::string& origin);

// The recipe's text with the variant's changes. Whether there are such fields is for the recipe's own reader to say.
std::string apply_changes(const std::string& recipe_json, const Variant& variant);

}  // namespace actmatch
