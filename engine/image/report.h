// One self-contained HTML page of results: no script, no network, pictures inlined.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace actmatch {

struct ReportPicture {
  std::string caption;  // "photo", "mask", ...
  std::vector<std::byte> png;
};

// A quantity over the steps; values that are not finite leave a gap.
struct LossCurve {
  std::string name;
  std::vector<float> values;
};

// One explained picture.
struct ReportItem {
  std::string title;       // the file's name
  std::string class_line;  // "281 tabby cat, p = 0.94"
  std::vector<ReportPicture> pictures;
  std::vector<std::pair<std::string, std::string>> figures;  // label, value
  std::vector<LossCurve> curves;
};

struct ReportHeader {
  std::string title;
  std::string lead;                                        // one sentence under the title; may be empty
  std::vector<std::pair<std::string, std::string>> facts;  // model, recipe, device, seed ...
  std::string caution;                                     // what a reader must not conclude; may be empty
};

// The page. All texts are plain text (UTF-8) and escaped here. The curves of an item share one chart: linear as long as nearly all
// values lie within a factor of 30, else logarithmic, or symmetric-logarithmic where some values are (almost) zero or negative.
std::string render_report(const ReportHeader& header, const std::vector<ReportItem>& items);

// A page of that header and look around `body`, which is HTML already.
std::string render_page(const ReportHeader& header, const std::string& body);

// `text` with &, <, >, " and ' as entities; control characters, which HTML forbids, become spaces.
std::string escape_html(const std::string& text);

// The chart alone, as an <svg> element; empty when no curve has a finite value.
std::string render_loss_chart(const std::vector<LossCurve>& curves);

}  // namespace actmatch
