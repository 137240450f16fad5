// The page about an evaluation: one self-contained HTML file.
#pragma once

#include <string>
#include <vector>

#include "engine/evaluate/summary.h"

namespace actmatch {

struct SummaryPage {
  std::vector<std::string> folders;
  Summary summary;
  size_t gallery = 12;  // pictures drawn
};
// Table, insertion and deletion curves, fidelity over area, time, gallery. Overlays that cannot be read are left out.
std::string render_summary(const SummaryPage& page);

}  // namespace actmatch
