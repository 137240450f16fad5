// What the charts of our pages (inline SVG) have in common: numbers, colours, legends.
#pragma once

#include <string>
#include <vector>

namespace actmatch::chart {

std::string number(double v, const char* format = "%.4g");
std::string coordinate(double v);  // in the chart's own units, to a tenth

// Of the i-th curve: one of eight that also colour-blind readers tell apart.
const char* colour(size_t i);
// stroke="..." of the i-th curve; from the ninth on dashed.
std::string stroke(size_t i);

// A line and a name for each curve, in rows between `left` and `right`, the first at `y`; `y` becomes that of the last one.
std::string legend(const std::vector<std::string>& names, double left, double right, double& y);

}  // namespace actmatch::chart
