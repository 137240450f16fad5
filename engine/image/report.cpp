#include "engine/image/report.h"

#include "engine/image/file.h"

namespace actmatch {
namespace {

constexpr const char* kStyle = R"(
:root { color-scheme: light; --ink: #1d2129; --soft: #5c6470; --line: #dfe3e8; --paper: #ffffff; --ground: #f5f6f8; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 4px; }
h2 { font-size: 18px; line-height: 1.3; margin: 0; overflow-wrap: anywhere; }
p { margin: 0 0 12px; }
.lead, .class { color: var(--soft); }
.class { margin: 2px 0 16px; overflow-wrap: anywhere; }
.facts { display: flex; flex-wrap: wrap; gap: 4px 28px; margin: 16px 0 24px; padding: 0; }
.facts div { display: flex; gap: 8px; }
.facts dt { color: var(--soft); }
.facts dd { margin: 0; overflow-wrap: anywhere; }
.caution { border-left: 3px solid #c98a00; padding: 2px 0 2px 12px; margin: 0 0 24px; }
article { background: var(--paper); border: 1px solid var(--line); border-radius: 8px; padding: 20px; margin: 0 0 20px; break-inside: avoid; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(158px, 1fr)); gap: 12px; margin: 0 0 16px; }
figure { margin: 0; }
figure img { display: block; width: 100%; height: auto; border: 1px solid var(--line); border-radius: 4px; image-rendering: auto; }
figure img.small { image-rendering: pixelated; }
figcaption { color: var(--soft); font-size: 13px; margin-top: 4px; }
.below { display: flex; flex-wrap: wrap; gap: 20px 32px; align-items: flex-start; }
table { border-collapse: collapse; font-size: 14px; flex: 0 1 auto; }
th, td { text-align: left; padding: 4px 16px 4px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 400; color: var(--soft); }
td { font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.wide { overflow-x: auto; margin: 0 0 12px; }
.wide table { white-space: nowrap; }
.wide thead th { vertical-align: bottom; }
td small { display: block; color: var(--soft); }
td.best { font-weight: 600; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(440px, 1fr)); gap: 20px 32px; }
.charts h3, article h3 { font-size: 15px; margin: 0 0 8px; }
.charts svg { display: block; width: 100%; height: auto; }
.chart { flex: 1 1 440px; min-width: 0; max-width: 640px; }
.chart svg { display: block; width: 100%; height: auto; }
@media print { body { background: none; } main { padding: 0; max-width: none; } }
)";

// The width that a PNG states in its header; 0 when it is none.
unsigned png_width(const std::vector<std::byte>& png) {
  if (png.size() < 20) return 0;
  unsigned width = 0;
  for (size_t i = 16; i < 20; ++i) width = width << 8 | static_cast<unsigned>(png[i]);
  return width;
}

void append_facts(std::string& html, const std::vector<std::pair<std::string, std::string>>& facts) {
  if (facts.empty()) return;
  html += "<dl class=\"facts\">\n";
  for (const auto& [label, value] : facts) html += "<div><dt>" + escape_html(label) + "</dt><dd>" + escape_html(value) + "</dd></div>\n";
  html += "</dl>\n";
}

void append_item(std::string& html, const ReportItem& item) {
  constexpr unsigned kSmallWidth = 112;  // such pictures are shown larger than they are: with sharp pixels
  html += "<article>\n<h2>" + escape_html(item.title) + "</h2>\n<p class=\"class\">" + escape_html(item.class_line) + "</p>\n";
  if (!item.pictures.empty()) {
    html += "<div class=\"pictures\">\n";
    for (const ReportPicture& picture : item.pictures) {
      const std::string caption = escape_html(picture.caption);
      html += std::string("<figure><img") + (png_width(picture.png) <= kSmallWidth ? " class=\"small\"" : "") + " alt=\"" + caption +
              " of " + escape_html(item.title) + "\" src=\"data:image/png;base64," + base64(picture.png) + "\"><figcaption>" + caption +
              "</figcaption></figure>\n";
    }
    html += "</div>\n";
  }
  const std::string chart = render_loss_chart(item.curves);
  if (!item.figures.empty() || !chart.empty()) html += "<div class=\"below\">\n";
  if (!item.figures.empty()) {
    html += "<table>\n";
    for (const auto& [label, value] : item.figures)
      html += "<tr><th scope=\"row\">" + escape_html(label) + "</th><td>" + escape_html(value) + "</td></tr>\n";
    html += "</table>\n";
  }
  if (!chart.empty()) html += "<div class=\"chart\">\n" + chart + "</div>\n";
  if (!item.figures.empty() || !chart.empty()) html += "</div>\n";
  html += "</article>\n";
}

}  // namespace

std::string escape_html(const std::string& text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      default: out += (c >= 0 && c < ' ' && c != '\n' && c != '\t') || c == '\x7f' ? ' ' : c;
    }
  }
  return out;
}

std::string render_page(const ReportHeader& header, const std::string& body) {
  std::string html = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
  html += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
  html += "<title>" + escape_html(header.title) + "</title>\n<style>" + kStyle + "</style>\n</head>\n<body>\n<main>\n";
  html += "<h1>" + escape_html(header.title) + "</h1>\n";
  if (!header.lead.empty()) html += "<p class=\"lead\">" + escape_html(header.lead) + "</p>\n";
  append_facts(html, header.facts);
  if (!header.caution.empty()) html += "<p class=\"caution\">" + escape_html(header.caution) + "</p>\n";
  return html + body + "</main>\n</body>\n</html>\n";
}

std::string render_report(const ReportHeader& header, const std::vector<ReportItem>& items) {
  std::string body;
  for (const ReportItem& item : items) append_item(body, item);
  return render_page(header, body);
}

}  // namespace actmatch
