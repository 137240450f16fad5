// The metrics by name. Each is one file of engine/metrics/all, which says everything there is to say about it: formula, figures with
// direction and unit, options with their defaults; the build makes the list of them. Options come as JSON, as for methods.
//
// Ranking metrics order the pixels by the soft map and 1e-5 u, u uniform in (0, 1) and the same for every picture, so that ties are broken
// alike for all methods (Ranking). Replacements for pixels (network units): "mean", the problem's baseline colour; "black" and "white",
// pixels of 0 and 255; "blur", the picture under a Gaussian of sigma 20 pixels (replicated at the border); "zero", 0 in network units.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "engine/explain/json_reader.h"
#include "engine/explain/problem.h"

namespace actmatch {

enum class Direction { kUp, kDown, kNone };  // which way is better
const char* name_of(Direction direction);    // "up", "down", "none"

struct Figure {
  std::string name;
  Direction direction = Direction::kUp;
  std::string unit;   // "share", "probability", "count", ...
  std::string about;  // one line, for people
};

// What a metric reads beside picture and classifier.
enum MetricNeeds : uint32_t {
  kNeedsMap = 1,     // `soft`
  kNeedsMask = 2,    // `mask`
  kNeedsObject = 4,  // `object`
  kNeedsSeeds = 8,   // `seeds`
};

struct MetricInput {
  const Problem& problem;
  std::vector<float> soft;                 // [H, W] in 0..1
  HardMask mask;                           // [H, W]
  HardMask object;                         // [H, W] the pixels of the object's box or outline
  std::vector<HardMask> seeds;             // masks of the same method and picture under other seeds, `mask` not among them
  std::vector<std::vector<float>> others;  // further pictures [C, H, W], network units, as backgrounds; may be empty
  uint32_t has = 0;                        // MetricNeeds that are there
  std::map<std::string, std::vector<double>>* curves = nullptr;  // receives curves that figures were taken from ("insertion")
};

// One number a figure, in their order; NaN where a figure says nothing of this picture (an empty mask).
using Measure = std::function<std::vector<double>(Classifier& classifier, const MetricInput& input)>;

struct MetricInfo {
  const char* name;
  const char* source;  // where it is from
  uint32_t needs;      // MetricNeeds
  std::vector<Figure> figures;
  // Reads the options and gives what measures with them; the caller sees that nothing is left over.
  Measure (*with)(JsonReader& options);
};

std::span<const MetricInfo> all_metrics();               // by name
const MetricInfo& find_metric(const std::string& name);  // throws kNotFound, listing them

// All its options as they are where nobody says otherwise: what reads them says so.
nlohmann::json default_options(const MetricInfo& metric);
// "steps 224, baseline zero", for people; empty for none.
std::string text_of_options(const nlohmann::ordered_json& options);

struct Measured {
  std::vector<double> values;
  nlohmann::json options;  // what was settled, defaults included
};
// Throws kInvalidArgument where `input` lacks what the metric needs, kFormat for options that it does not know.
Measured measure(const MetricInfo& metric, Classifier& classifier, const MetricInput& input,
                 const nlohmann::json& options = nlohmann::json::object());

}  // namespace actmatch
