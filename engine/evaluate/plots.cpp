#include "engine/evaluate/plots.h"

#include <algorithm>
#include <cmath>

#include "engine/image/chart_parts.h"
#include "engine/image/report.h"

namespace actmatch {
namespace {

using chart::coordinate;
using chart::number;

constexpr double kWidth = 480, kPlotHeight = 260, kLeft = 48, kRight = 12, kTop = 12, kAxis = 40;
constexpr double kBottom = kTop + kPlotHeight, kPlotWidth = kWidth - kLeft - kRight;

struct Frame {
  const PlotAxes& axes;
  double x(double v) const { return kLeft + kPlotWidth * (v - axes.x_low) / (axes.x_high - axes.x_low); }
  double y(double v) const { return kBottom - kPlotHeight * (v - axes.y_low) / (axes.y_high - axes.y_low); }
};

std::string text(double x, double y, const char* anchor, const std::string& what) {
  return "<text x=\"" + coordinate(x) + "\" y=\"" + coordinate(y) + "\" text-anchor=\"" + anchor + "\">" + escape_html(what) + "</text>\n";
}

std::string opening(double height, const std::string& label) {
  return "<svg viewBox=\"0 0 " + number(kWidth) + " " + number(height) + "\" role=\"img\" aria-label=\"" + escape_html(label) +
         "\" font-family=\"inherit\" font-size=\"12\" fill=\"#5c6470\">\n";
}

// The plot around `marks`, with the names below.
std::string framed(const std::vector<PlotSeries>& series, const PlotAxes& axes, const std::string& marks) {
  std::vector<std::string> names;
  for (const PlotSeries& s : series) names.push_back(s.name);
  double y = kBottom + kAxis + 10;
  const std::string legend = chart::legend(names, kLeft, kWidth, y);
  std::string svg = opening(y + 14, axes.y + " over " + axes.x);
  const Frame frame{axes};
  for (int tick = 0; tick <= 4; ++tick) {
    const double vy = axes.y_low + (axes.y_high - axes.y_low) * tick / 4, vx = axes.x_low + (axes.x_high - axes.x_low) * tick / 4;
    svg += "<line x1=\"" + coordinate(kLeft) + "\" y1=\"" + coordinate(frame.y(vy)) + "\" x2=\"" + coordinate(kWidth - kRight) +
           "\" y2=\"" + coordinate(frame.y(vy)) + "\" stroke=\"" + (tick == 0 ? "#9aa2ad" : "#e6e9ed") + "\"/>";
    svg += text(kLeft - 6, frame.y(vy) + 4, "end", number(vy, "%.3g"));
    svg += text(frame.x(vx), kBottom + 16, tick == 4 ? "end" : tick == 0 ? "start" : "middle", number(vx, "%.3g"));
  }
  svg += text(kLeft + kPlotWidth / 2, kBottom + 34, "middle", axes.x) + text(kLeft + 4, kTop + 2, "start", axes.y);
  return svg + marks + legend + "</svg>\n";
}

}  // namespace

std::string render_lines(const std::vector<PlotSeries>& series, const PlotAxes& axes) {
  const Frame frame{axes};
  std::string marks;
  for (size_t i = 0; i < series.size(); ++i) {
    std::string path;
    bool pen_down = false;
    for (size_t k = 0; k < std::min(series[i].x.size(), series[i].y.size()); ++k) {
      const double x = series[i].x[k], y = series[i].y[k];
      const bool there = std::isfinite(x) && std::isfinite(y);
      if (there) path += (pen_down ? "L" : "M") + coordinate(frame.x(x)) + " " + coordinate(frame.y(y));
      pen_down = there;
    }
    marks += "<path d=\"" + path + "\" fill=\"none\" " + chart::stroke(i) + " stroke-width=\"1.6\" stroke-linejoin=\"round\"/>\n";
  }
  return framed(series, axes, marks);
}

std::string render_points(const std::vector<PlotSeries>& series, const PlotAxes& axes) {
  const Frame frame{axes};
  std::string marks;
  for (size_t i = 0; i < series.size(); ++i)
    for (size_t k = 0; k < std::min(series[i].x.size(), series[i].y.size()); ++k) {
      const double x = std::clamp(series[i].x[k], axes.x_low, axes.x_high), y = std::clamp(series[i].y[k], axes.y_low, axes.y_high);
      if (!std::isfinite(x) || !std::isfinite(y)) continue;
      marks += "<circle cx=\"" + coordinate(frame.x(x)) + "\" cy=\"" + coordinate(frame.y(y)) + "\" r=\"3\" fill=\"" + chart::colour(i) +
               "\" fill-opacity=\"0.65\"/>\n";
    }
  return framed(series, axes, marks);
}

std::string render_bars(const std::vector<std::string>& names, const std::vector<double>& values, const std::string& unit) {
  constexpr double kRow = 22, kNames = 170, kFigures = 80, kFarApart = 30;
  double least = INFINITY, largest = 0;
  for (double v : values)
    if (std::isfinite(v) && v > 0) least = std::min(least, v), largest = std::max(largest, v);
  const bool logarithmic = largest > kFarApart * least;
  const double height = kRow * static_cast<double>(names.size()) + (logarithmic ? 24 : 6);
  std::string svg = opening(height, "seconds for each method");
  for (size_t i = 0; i < names.size(); ++i) {
    const double v = values[i], y = kRow * static_cast<double>(i);
    double share = largest > 0 && std::isfinite(v) ? v / largest : 0;
    if (logarithmic) share = v > 0 ? (std::log(v / least) + 1) / (std::log(largest / least) + 1) : 0;  // the least keeps a bar, too
    const double width = std::max(0.0, share) * (kWidth - kNames - kFigures);
    svg += text(kNames - 8, y + 15, "end", names[i]) + "<rect x=\"" + coordinate(kNames) + "\" y=\"" + coordinate(y + 4) + "\" width=\"" +
           coordinate(width) + "\" height=\"14\" fill=\"" + chart::colour(0) + "\"/>" +
           text(kNames + width + 6, y + 15, "start", number(v, "%.3g") + " " + unit) + "\n";
  }
  if (logarithmic) svg += text(kNames, height - 6, "start", "logarithmic");
  return svg + "</svg>\n";
}

}  // namespace actmatch
