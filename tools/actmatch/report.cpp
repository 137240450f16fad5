#include <actmatch/actmatch.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "tools/actmatch/commands.h"
#include "tools/actmatch/console.h"

namespace actmatch::tool {

namespace {

struct ReportFlags {
  std::vector<std::string> folders;
  ComparisonOptions options;
  bool quiet = false;
};

std::string mean_and_interval(const nlohmann::json& s) {
  return format("%.3g", s["mean"]) + " [" + format("%.3g", s["low"]) + ", " + format("%.3g", s["high"]) + "]";
}

std::string arrow(int direction) { return direction > 0 ? " up" : direction < 0 ? " down" : ""; }

// A metric a row and a method a column, as on the page; the best of a row has a star, and what is of some of the pictures only says of how
// many.
std::string table_text(const nlohmann::json& comparison) {
  std::vector<std::string> titles{"mean [95 % interval]"}, pictures{"pictures"}, failed{"failed"};
  for (const auto& row : comparison["rows"]) {
    titles.push_back(">" + row["label"].get<std::string>());
    pictures.push_back(row["pictures"].dump());
    failed.push_back(row["failed"].dump());
  }
  Table table(titles);
  table.add(pictures);
  table.add(failed);
  for (const auto& metric : comparison["metrics"]) {
    std::vector<std::string> cells{metric["name"].get<std::string>() + arrow(metric["direction"])};
    size_t place = 0;
    for (const auto& row : comparison["rows"]) {
      const auto it = row["metrics"].find(metric["name"].get<std::string>());
      std::string cell = "- ";
      if (it != row["metrics"].end()) {
        cell = mean_and_interval(*it) + (metric["best"][place].get<bool>() ? "*" : " ");
        if ((*it)["count"] != row["pictures"]) cell = "of " + (*it)["count"].dump() + ": " + cell;
      }
      cells.push_back(cell);
      ++place;
    }
    table.add(cells);
  }
  std::vector<std::string> seconds{"seconds a picture"};
  for (const auto& row : comparison["rows"])
    seconds.push_back(row["seconds"]["count"] == 0 ? "-" : mean_and_interval(row["seconds"]) + " ");
  table.add(seconds);
  return table.text();
}

int report(const ReportFlags& flags) {
  const auto comparison = nlohmann::json::parse(compare(flags.folders, flags.options));
  if (flags.quiet) return kOk;
  std::printf("%s", table_text(comparison).c_str());
  std::printf("\n%zu records of %zu pictures", comparison["records"].get<size_t>(), comparison["pictures"].get<size_t>());
  if (comparison["unreadable"] > 0) std::printf("; %zu pictures could not be read", comparison["unreadable"].get<size_t>());
  if (flags.options.html) std::printf("; the page: %s", flags.options.html->c_str());
  std::printf("\n");
  return kOk;
}

}  // namespace

void add_report(CLI::App& app, Action& action) {
  auto flags = std::make_shared<ReportFlags>();
  CLI::App* c = app.add_subcommand("report", "Sum evaluations up: a table of means and intervals, and one page");
  c->add_option("RUN", flags->folders,
                "folders that 'evaluate' wrote; what several of them hold of the same work counts once, and other models or settings have "
                "columns of their own")
      ->required();
  c->add_option("--out", flags->options.html,
                "the page: table, curves, area against fidelity, time, gallery; one HTML file that stands alone");
  c->add_option("--csv", flags->options.csv, "all records as a CSV table");
  c->add_option("--parquet", flags->options.parquet, "all records as Apache Parquet (in builds that found Apache Arrow)");
  c->add_option("--gallery", flags->options.gallery, "pictures drawn on the page")->capture_default_str()->check(CLI::Range(0, 100000));
  c->add_flag("--quiet", flags->quiet, "print nothing but errors");
  c->footer(footer("actmatch report runs/squeezenet runs/mobilenet --out report.html --csv records.csv"));
  c->callback([flags, &action] { action = [flags] { return report(*flags); }; });
}

}  // namespace actmatch::tool
