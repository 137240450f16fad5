// The charts of the page about an evaluation, as <svg> elements.
#pragma once

#include <string>
#include <vector>

namespace actmatch {

struct PlotSeries {
  std::string name;
  std::vector<double> x, y;  // points that are not finite are left out
};

struct PlotAxes {
  std::string x, y;  // what lies along them
  double x_low = 0, x_high = 1, y_low = 0, y_high = 1;
};

std::string render_lines(const std::vector<PlotSeries>& series, const PlotAxes& axes);
std::string render_points(const std::vector<PlotSeries>& series, const PlotAxes& axes);

// A bar for each name: its length the value, written behind it. On a logarithmic scale where the values are far apart.
std::string render_bars(const std::vector<std::string>& names, const std::vector<double>& values, const std::string& unit);

}  // namespace actmatch
