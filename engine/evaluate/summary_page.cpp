#include "engine/evaluate/summary_page.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "engine/core/error.h"
#include "engine/evaluate/plots.h"
#include "engine/image/chart_parts.h"
#include "engine/image/file.h"
#include "engine/image/report.h"

namespace actmatch {
namespace {

using chart::number;

std::string arrow(int direction) { return direction > 0 ? " ↑" : direction < 0 ? " ↓" : ""; }

// One metric a row, one method a column: there are more metrics than methods, and pages are read downward.
std::string table_of(const Summary& summary) {
  std::string html =
      "<article>\n<h2>Means over the pictures</h2>\n<p class=\"class\">with 95 % intervals (bootstrap over pictures) and medians; arrows "
      "point to "
      "the better side; bold is the best mean over the pictures that all methods have that figure for, within one model and one setting; a "
      "figure that only some of a method's pictures have says of how many</p>\n<div class=\"wide\"><table>\n<thead><tr><th></th>";
  for (const SummaryRow& row : summary.rows) html += "<th scope=\"col\">" + escape_html(row.label()) + "</th>";
  html += "</tr></thead>\n<tbody>\n<tr><th scope=\"row\">pictures</th>";
  for (const SummaryRow& row : summary.rows)
    html += "<td>" + std::to_string(row.pictures.size()) +
            (row.failed > 0 ? "<small>" + std::to_string(row.failed) + " failed</small>" : "") + "</td>";
  html += "</tr>\n";
  for (const MetricColumn& column : summary.columns) {
    const std::vector<bool> best = best_rows(summary, column);
    html += "<tr><th scope=\"row\" title=\"" + escape_html(column.about) + "\">" + escape_html(column.name) + arrow(column.direction) +
            (column.unit.empty() ? "" : " (" + escape_html(column.unit) + ")") +
            (column.options.empty() ? "" : "<small>" + escape_html(column.options) + "</small>") + "</th>";
    for (size_t r = 0; r < summary.rows.size(); ++r) {
      const auto it = summary.rows[r].metrics.find(column.name);
      if (it == summary.rows[r].metrics.end()) {
        html += "<td>–</td>";
        continue;
      }
      const Statistics& s = it->second;
      html += std::string("<td") + (best[r] ? " class=\"best\"" : "") + ">" + number(s.mean, "%.3g") + "<small>" + number(s.low, "%.3g") +
              " to " + number(s.high, "%.3g") + "; median " + number(s.median, "%.3g") +
              (s.count < static_cast<int64_t>(summary.rows[r].pictures.size()) ? "; of " + std::to_string(s.count) + " pictures" : "") +
              "</small></td>";
    }
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n</article>\n";
}

std::string figure_of(const std::string& title, const std::string& svg) {
  return "<div><h3>" + escape_html(title) + "</h3>\n" + svg + "</div>\n";
}

std::string curves_of(const Summary& summary, const std::string& name, const std::string& title, const std::string& along) {
  std::vector<PlotSeries> series;
  for (const SummaryRow& row : summary.rows) {
    const auto it = row.curves.find(name);
    if (it == row.curves.end()) continue;
    PlotSeries one{row.label(), {}, it->second};
    for (size_t i = 0; i < it->second.size(); ++i)
      one.x.push_back(100.0 * static_cast<double>(i) / static_cast<double>(std::max<size_t>(1, it->second.size() - 1)));
    series.push_back(std::move(one));
  }
  return series.empty() ? "" : figure_of(title, render_lines(series, {along, "probability of the class", 0, 100, 0, 1}));
}

std::string scatter_of(const Summary& summary) {
  std::vector<PlotSeries> series;
  double largest = 0.01;
  for (const SummaryRow& row : summary.rows) {
    const auto area = row.figures.find("area"), kept = row.figures.find("p_ratio_mean");
    if (area == row.figures.end() || kept == row.figures.end()) continue;
    series.push_back({row.label(), area->second, kept->second});
    for (double& a : series.back().x) largest = std::max(largest, std::isfinite(a) ? a *= 100 : 0);
  }
  if (series.empty()) return "";
  return figure_of("Fidelity over area, a point a picture",
                   render_points(series, {"pixels in the mask, %", "p(masked picture) / p(picture), at most 2", 0,
                                          std::min(100.0, largest * 1.05), 0, 2}));
}

std::string times_of(const Summary& summary) {
  std::vector<std::string> names;
  std::vector<double> seconds;
  for (const SummaryRow& row : summary.rows) {
    if (row.seconds.count == 0) continue;
    names.push_back(row.label());
    seconds.push_back(row.seconds.mean);
  }
  return names.empty() ? "" : figure_of("Time for a picture, mean", render_bars(names, seconds, "s"));
}

std::string gallery_of(const Summary& summary, size_t most) {
  std::vector<std::string> pictures;
  for (const SummaryRow& row : summary.rows)
    for (const std::string& picture : row.pictures)
      if (std::find(pictures.begin(), pictures.end(), picture) == pictures.end()) pictures.push_back(picture);
  std::string html;
  for (size_t i = 0; i < std::min(most, pictures.size()); ++i) {
    std::string shown;
    for (const SummaryRow& row : summary.rows) {
      const auto place = static_cast<size_t>(std::find(row.pictures.begin(), row.pictures.end(), pictures[i]) - row.pictures.begin());
      if (place == row.pictures.size() || row.overlays[place].empty()) continue;
      try {
        shown += "<figure><img alt=\"" + escape_html(row.label() + " of " + pictures[i]) + "\" src=\"data:image/png;base64," +
                 base64(read_file(row.overlays[place])) + "\"><figcaption>" + escape_html(row.label()) + "</figcaption></figure>\n";
      } catch (const Error&) {  // somebody tidied the folder; the table does not need it
      }
    }
    if (!shown.empty())
      html += "<article>\n<h2>" + escape_html(pictures[i]) + "</h2>\n<div class=\"pictures\">\n" + shown + "</div>\n</article>\n";
  }
  return html;
}

}  // namespace

std::string render_summary(const SummaryPage& page) {
  const Summary& summary = page.summary;
  ReportHeader header;
  header.title = "Explanations compared";
  header.lead = "What each method's map or mask is worth to the classifier itself, on the same pictures.";
  for (const std::string& folder : page.folders) {
    const auto settings = read_run(folder).settings;
    header.facts.emplace_back("run", folder);
    header.facts.emplace_back("model", std::filesystem::path(settings.value("model", "")).filename().string());
  }
  header.facts.emplace_back("pictures", std::to_string(summary.pictures));
  header.facts.emplace_back("records", std::to_string(summary.records));
  if (summary.unreadable > 0) header.facts.emplace_back("unreadable pictures", std::to_string(summary.unreadable));
  header.caution =
      "A masked picture is unlike anything the classifier was trained on, and a very small mask can act like an adversarial pattern. Read "
      "every area beside the "
      "stability on random backgrounds and beside the controls (center, random).";
  std::string body = table_of(summary);
  const std::string charts = curves_of(summary, "insertion", "Insertion: the most important pixels put in first", "pixels put in, %") +
                             curves_of(summary, "deletion", "Deletion: the most important pixels taken out first", "pixels taken out, %") +
                             scatter_of(summary) + times_of(summary);
  if (!charts.empty()) body += "<article>\n<div class=\"charts\">\n" + charts + "</div>\n</article>\n";
  return render_page(header, body + gallery_of(summary, page.gallery));
}

}  // namespace actmatch
