// The loss chart of the report: inline SVG.
#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/image/chart_parts.h"
#include "engine/image/report.h"

namespace actmatch {
namespace {

// The chart's own units; CSS scales it to the page.
constexpr double kWidth = 620, kPlotHeight = 220, kLeft = 58, kRight = 12, kTop = 12, kAxis = 26;
constexpr size_t kMostPoints = 300;  // a curve; more would not be seen
constexpr double kWideSpan = 30;     // largest over smallest magnitude from which on a logarithm reads better

constexpr double kLeastOfLog = 1e-6;  // of the largest value: below, decades of nothing would fill the chart
constexpr double kLeastOfSymlog = 1e-3;

using chart::coordinate;
using chart::number;

// Maps values to 0..1 from bottom to top, and knows where the axis needs its ticks.
class Scale {
 public:
  // `small_magnitude`: what all but a few of the values that are not 0 exceed; a single tiny value must not shape the chart.
  Scale(double low, double high, double small_magnitude) : low_(low), high_(high) {
    const double largest = std::max(std::abs(low), std::abs(high));
    const bool wide = small_magnitude > 0 && largest / small_magnitude > kWideSpan;
    kind_ = !wide ? Kind::kLinear : low > largest * kLeastOfLog ? Kind::kLog : Kind::kSymlog;
    threshold_ = kind_ == Kind::kSymlog ? std::max(small_magnitude, largest * kLeastOfSymlog) : 1;  // linear within this of zero
    begin_ = bend(low);
    span_ = bend(high) - begin_;
    if (!(span_ > 0)) {  // one constant value: in the middle
      begin_ -= 0.5;
      span_ = 1;
    }
  }

  double place(double v) const { return (bend(v) - begin_) / span_; }
  const char* label() const { return kind_ == Kind::kLinear ? "" : kind_ == Kind::kLog ? "logarithmic" : "symmetric logarithmic"; }

  std::vector<double> ticks() const {
    std::vector<double> out;
    if (kind_ == Kind::kLinear) {
      if (low_ == high_) return {low_};
      const double raw = (high_ - low_) / 4;
      const double power = std::pow(10, std::floor(std::log10(raw)));
      const double step = power * (raw / power < 1.5 ? 1 : raw / power < 3.5 ? 2 : raw / power < 7.5 ? 5 : 10);
      for (double i = std::ceil(low_ / step); i * step <= high_ + step * 1e-9 && out.size() < 12; ++i) out.push_back(i * step);
      return out;
    }
    const int first = static_cast<int>(std::floor(std::log10(kind_ == Kind::kLog ? low_ : threshold_)));
    const int last = static_cast<int>(std::ceil(std::log10(std::max(std::abs(low_), std::abs(high_)))));
    const int stride = std::max(1, (last - first + 5) / 6 * (low_ < 0 ? 2 : 1));
    const bool few_decades = kind_ == Kind::kLog && last - first <= 3;
    for (int decade = first; decade <= last; decade += stride)
      for (double factor : {1.0, 2.0, 5.0, -1.0}) {
        const double v = factor * std::pow(10, decade);
        if (std::abs(factor) > 1 && !few_decades) continue;
        if (v >= low_ && v <= high_ && std::abs(v) >= threshold_ * 0.999 * (kind_ == Kind::kSymlog)) out.push_back(v);
      }
    if (kind_ == Kind::kSymlog && low_ <= 0 && high_ >= 0) out.push_back(0);
    if (out.empty()) out = {low_, high_};
    return out;
  }

 private:
  enum class Kind { kLinear, kLog, kSymlog };
  double bend(double v) const {
    if (kind_ == Kind::kLinear) return v;
    if (kind_ == Kind::kLog) return std::log10(v);
    return std::copysign(std::log10(1 + std::abs(v) / threshold_), v);
  }

  Kind kind_ = Kind::kLinear;
  double low_, high_, threshold_ = 1, begin_ = 0, span_ = 1;
};

// The path of one curve. Long curves keep the least and the largest value of each stretch, so that no spike is lost.
std::string path_of(const std::vector<float>& values, const Scale& scale, size_t steps) {
  const double plot_width = kWidth - kLeft - kRight;
  std::string path;
  bool pen_down = false;
  const auto point = [&](size_t i) {
    const double v = values[i];
    if (!std::isfinite(v)) {
      pen_down = false;
      return;
    }
    const double x = kLeft + (steps > 1 ? plot_width * static_cast<double>(i) / static_cast<double>(steps - 1) : plot_width / 2);
    path += pen_down ? 'L' : 'M';
    path += coordinate(x) + " " + coordinate(kTop + kPlotHeight * (1 - scale.place(v)));
    pen_down = true;
  };
  const size_t stretch = std::max<size_t>(1, (values.size() * 2 + kMostPoints - 1) / kMostPoints);
  for (size_t begin = 0; begin < values.size(); begin += stretch) {
    const size_t end = std::min(begin + stretch, values.size());
    if (stretch < 3) {
      for (size_t i = begin; i < end; ++i) point(i);
      continue;
    }
    size_t least = end, largest = end;
    for (size_t i = begin; i < end; ++i) {
      if (!std::isfinite(values[i])) continue;
      if (least == end || values[i] < values[least]) least = i;
      if (largest == end || values[i] > values[largest]) largest = i;
    }
    if (least == end) {
      pen_down = false;
      continue;
    }
    point(std::min(least, largest));
    if (least != largest) point(std::max(least, largest));
  }
  return path;
}
}  // namespace

std::string render_loss_chart(const std::vector<LossCurve>& curves) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  double low = kInfinity, high = -kInfinity;
  std::vector<double> magnitudes;
  size_t steps = 0;
  for (const LossCurve& curve : curves) {
    steps = std::max(steps, curve.values.size());
    for (float v : curve.values) {
      if (!std::isfinite(v)) continue;
      low = std::min<double>(low, v);
      high = std::max<double>(high, v);
      if (v != 0) magnitudes.push_back(std::abs(v));
    }
  }
  if (!(low <= high)) return {};
  const auto few = static_cast<ptrdiff_t>(magnitudes.size() / 20);
  std::nth_element(magnitudes.begin(), magnitudes.begin() + few, magnitudes.end());
  const Scale scale(low, high, magnitudes.empty() ? 0 : magnitudes[static_cast<size_t>(few)]);

  std::vector<std::string> names;
  for (const LossCurve& curve : curves) names.push_back(curve.name);
  double y = kTop + kPlotHeight + kAxis + 10;
  const std::string legend = chart::legend(names, kLeft, kWidth, y);
  const double bottom = kTop + kPlotHeight;
  std::string svg = "<svg viewBox=\"0 0 " + number(kWidth) + " " + number(y + 14) +
                    "\" role=\"img\" aria-label=\"loss terms over the steps\" font-family=\"inherit\" font-size=\"12\" fill=\"#5c6470\">\n";
  for (double tick : scale.ticks()) {
    const std::string at = coordinate(bottom - kPlotHeight * scale.place(tick));
    svg += "<line x1=\"" + coordinate(kLeft) + "\" y1=\"" + at + "\" x2=\"" + coordinate(kWidth - kRight) + "\" y2=\"" + at +
           "\" stroke=\"#e6e9ed\"/><text x=\"" + coordinate(kLeft - 6) + "\" y=\"" + at + "\" dy=\"4\" text-anchor=\"end\">" +
           number(tick) + "</text>\n";
  }
  svg += "<line x1=\"" + coordinate(kLeft) + "\" y1=\"" + coordinate(bottom) + "\" x2=\"" + coordinate(kWidth - kRight) + "\" y2=\"" +
         coordinate(bottom) + "\" stroke=\"#9aa2ad\"/>\n";
  const std::string unit = *scale.label() ? std::string("step, values ") + scale.label() : "step";
  svg += "<text x=\"" + coordinate(kLeft) + "\" y=\"" + coordinate(bottom + 16) + "\">0</text><text x=\"" +
         coordinate((kLeft + kWidth - kRight) / 2) + "\" y=\"" + coordinate(bottom + 16) + "\" text-anchor=\"middle\">" + unit +
         "</text><text x=\"" + coordinate(kWidth - kRight) + "\" y=\"" + coordinate(bottom + 16) + "\" text-anchor=\"end\">" +
         std::to_string(steps - 1) + "</text>\n";
  for (size_t i = 0; i < curves.size(); ++i)
    svg += "<path d=\"" + path_of(curves[i].values, scale, steps) + "\" fill=\"none\" " + chart::stroke(i) +
           " stroke-width=\"1.6\" stroke-linejoin=\"round\"/>\n";
  return svg + legend + "</svg>\n";
}

}  // namespace actmatch
