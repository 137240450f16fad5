// Options that several methods have, by the names that recipes use.
#pragma once

#include <map>
#include <string>

#include "engine/methods/passes.h"

namespace actmatch {

// "score": what is differentiated. "channels": how a gradient [C, H, W] becomes a map.
inline const std::map<std::string, Score> kScores{{"logit", Score::kLogit}, {"probability", Score::kProbability}};
inline const std::map<std::string, Reduce> kReductions{{"sum", Reduce::kSum}, {"sum-abs", Reduce::kSumAbs}, {"max-abs", Reduce::kMaxAbs}};

}  // namespace actmatch
