// All records of some runs as one flat table, for pandas, R and spreadsheets.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "engine/evaluate/run_folder.h"

namespace actmatch {

// run, model, setting (what sets the run apart from others, see run_groups.h), image, asked_class, class, class_name, method, variant,
// seed, status, error, seconds, passes, then the metrics by name. Cells without a value are monostate; a column holds one type beside that.
struct RecordTable {
  using Cell = std::variant<std::monostate, int64_t, double, std::string>;
  struct Column {
    std::string name;
    Cell type;  // an empty value of the column's type
    std::vector<Cell> cells;
  };
  std::vector<Column> columns;
  size_t rows = 0;
};

RecordTable record_table(const std::vector<std::string>& folders);

// RFC 4180; numbers with as many digits as tell them apart.
std::string as_csv(const RecordTable& table);

// Apache Parquet, as bytes of a file. Throws kUnsupported where the engine was built without Apache Arrow.
std::string as_parquet(const RecordTable& table);

}  // namespace actmatch
