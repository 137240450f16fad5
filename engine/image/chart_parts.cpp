#include "engine/image/chart_parts.h"

#include <algorithm>
#include <cstdio>
#include <iterator>

#include "engine/image/report.h"

namespace actmatch::chart {
namespace {

// After Okabe and Ito, the yellow darkened for white paper.
constexpr const char* kColours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9", "#1d2129", "#8c6bb1"};

// An entry takes about this much room: its line, and its letters at 12 units.
double legend_width(const std::string& name) { return 40 + 7.0 * static_cast<double>(std::min<size_t>(name.size(), 40)); }

}  // namespace

std::string number(double v, const char* format) {
  char text[40];
  std::snprintf(text, sizeof text, format, v);
  return text;
}

std::string coordinate(double v) { return number(v, "%.1f"); }

const char* colour(size_t i) { return kColours[i % std::size(kColours)]; }

std::string stroke(size_t i) {
  return std::string("stroke=\"") + colour(i) + "\"" + (i < std::size(kColours) ? "" : " stroke-dasharray=\"4 3\"");
}

std::string legend(const std::vector<std::string>& names, double left, double right, double& y) {
  std::string svg;
  double x = left;
  for (size_t i = 0; i < names.size(); ++i) {
    if (x > left && x + legend_width(names[i]) > right) {
      x = left;
      y += 18;
    }
    svg += "<line x1=\"" + coordinate(x) + "\" y1=\"" + coordinate(y) + "\" x2=\"" + coordinate(x + 18) + "\" y2=\"" + coordinate(y) +
           "\" " + stroke(i) + " stroke-width=\"2\"/><text x=\"" + coordinate(x + 23) + "\" y=\"" + coordinate(y + 4) + "\">" +
           escape_html(names[i]) + "</text>\n";
    x += legend_width(names[i]);
  }
  return svg;
}

}  // namespace actmatch::chart
