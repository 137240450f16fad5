#include "engine/backend/cuda/plan_choice.h"

namespace actmatch::cuda {

std::string describe(const EngineChoice& choice) {
  std::string text = "engine " + std::to_string(choice.engine) + " {";
  const char* separator = "";
  for (const auto& [knob, value] : choice.knobs) {
    text += separator + std::to_string(knob) + "=" + std::to_string(value);
    separator = ", ";
  }
  return text + "}";
}

}  // namespace actmatch::cuda
