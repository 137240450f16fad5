#include "engine/api/comparison.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/core/error.h"
#include "engine/evaluate/record_table.h"
#include "engine/evaluate/summary_page.h"
#include "engine/image/file.h"

namespace actmatch::api {
namespace {

using Json = nlohmann::ordered_json;

Json as_json(const Statistics& s) { return {{"count", s.count}, {"mean", s.mean}, {"median", s.median}, {"low", s.low}, {"high", s.high}}; }

}  // namespace

Json compare(const std::vector<std::string>& folders, const actmatch_comparison_options& options) {
  if (folders.empty()) throw Error(ErrorCode::kInvalidArgument, "no folder of an evaluation was given");
  const Summary summary = summarise(folders);
  // All are made before one is written, so that a table that cannot be leaves no half of the files.
  StagedFiles files;
  if (options.csv || options.parquet) {
    const RecordTable table = record_table(folders);
    if (options.parquet) files.add(options.parquet, as_parquet(table));
    if (options.csv) files.add(options.csv, as_csv(table));
  }
  if (options.html) files.add(options.html, render_summary({folders, summary, static_cast<size_t>(std::max<int64_t>(0, options.gallery))}));
  files.commit();

  Json json{{"pictures", summary.pictures},
            {"records", summary.records},
            {"unreadable", summary.unreadable},
            {"metrics", Json::array()},
            {"rows", Json::array()}};
  for (const MetricColumn& c : summary.columns)
    json["metrics"].push_back({{"name", c.name},
                               {"unit", c.unit},
                               {"direction", c.direction},
                               {"about", c.about},
                               {"options", c.options},
                               {"best", best_rows(summary, c)}});
  for (const SummaryRow& row : summary.rows) {
    Json metrics = Json::object();
    for (const auto& [name, s] : row.metrics) metrics[name] = as_json(s);
    json["rows"].push_back({{"method", row.method},
                            {"variant", row.variant},
                            {"setting", row.setting},
                            {"label", row.label()},
                            {"pictures", row.pictures.size()},
                            {"failed", row.failed},
                            {"seconds", as_json(row.seconds)},
                            {"metrics", std::move(metrics)}});
  }
  return json;
}

}  // namespace actmatch::api
