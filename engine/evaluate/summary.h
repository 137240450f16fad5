// Many records as one table: for each method (and variant) and metric the mean, the median and the mean's interval.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/evaluate/run_folder.h"
#include "engine/evaluate/statistics.h"

namespace actmatch {

struct MetricColumn {
  std::string name, unit, about;
  int direction = 0;    // 1: larger is better; -1: smaller; 0: neither
  std::string options;  // as text; empty where there are none
};

struct SummaryRow {
  std::string method, variant;
  std::string setting;  // what sets it apart from rows of the same method and variant: model, settings of the run, options of the method
  size_t group = 0;     // rows of one group are of one model and of the same settings
  std::string label() const {
    const std::string what = variant + (variant.empty() || setting.empty() ? "" : "; ") + setting;
    return what.empty() ? method : method + " [" + what + "]";
  }
  int64_t failed = 0;
  std::vector<std::string> pictures;                   // those with figures: names, the same in all rows, for people
  std::vector<std::string> overlays;                   // one each: the path of a drawing, empty where there is none
  std::map<std::string, std::vector<double>> figures;  // by metric, one each; NaN where a picture has none
  std::map<std::string, Statistics> metrics;           // of these; a metric nobody has a figure for is missing
  std::map<std::string, std::vector<double>> curves;   // means of the records' curves, point by point
  Statistics seconds;
};

struct Summary {
  std::vector<MetricColumn> columns;
  std::vector<SummaryRow> rows;  // as they first appear
  size_t records = 0, pictures = 0, unreadable = 0;
};

// Joins runs. Those of another model or with other settings get rows of their own (run_groups.h), as do methods whose options differ from
// run to run. Otherwise the same picture, class, method, variant and seed in two of them counts once, the later run's; pictures are the
// same where name and content are. Figures of several seeds are averaged for each picture first, so that the interval is that over
// pictures. A picture that several seeds have masks of adds the metric seed-agreement, from the masks the records point to.
Summary summarise(const std::vector<std::string>& folders);

// Of each row: has it the best mean of the column among the rows of its group, over those pictures that all of them have a figure for? None
// has where there is no such picture, where the column has no direction, or where all rows are equal.
std::vector<bool> best_rows(const Summary& summary, const MetricColumn& column);

}  // namespace actmatch
