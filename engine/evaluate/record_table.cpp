#include "engine/evaluate/record_table.h"

#include <algorithm>
#include <charconv>

#include "engine/evaluate/csv.h"
#include "engine/evaluate/run_groups.h"

namespace actmatch {
namespace {

using Json = nlohmann::ordered_json;
using Cell = RecordTable::Cell;
using Column = RecordTable::Column;

Cell cell_of(const Json& value, const Cell& type) {
  if (std::holds_alternative<std::string>(type)) return value.is_string() ? Cell(value.get<std::string>()) : Cell();
  if (!value.is_number()) return {};
  return std::holds_alternative<double>(type) ? Cell(value.get<double>()) : Cell(value.get<int64_t>());
}

std::string text_of(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof(text), value).ptr};
}

std::string text_of(const Cell& cell) {
  if (const auto* text = std::get_if<std::string>(&cell)) return *text;
  if (const auto* whole = std::get_if<int64_t>(&cell)) return std::to_string(*whole);
  if (const auto* real = std::get_if<double>(&cell)) return text_of(*real);
  return {};
}

}  // namespace

RecordTable record_table(const std::vector<std::string>& folders) {
  const Cell text = std::string(), whole = int64_t{0}, real = 0.0;
  RecordTable table;
  table.columns = {{"run", text, {}},    {"model", text, {}},      {"setting", text, {}}, {"image", text, {}},   {"asked_class", text, {}},
                   {"class", whole, {}}, {"class_name", text, {}}, {"method", text, {}},  {"variant", text, {}}, {"seed", whole, {}},
                   {"status", text, {}}, {"error", text, {}},      {"seconds", real, {}}, {"passes", whole, {}}};
  const size_t plain = table.columns.size();
  const size_t own = 3;  // those that are the run's
  std::vector<RunRecords> runs;
  for (const std::string& folder : folders) runs.push_back(read_run(folder));
  const RunGroups groups = group_runs(runs);
  for (size_t r = 0; r < runs.size(); ++r)
    for (const Json& record : runs[r].records) {
      table.columns[0].cells.emplace_back(runs[r].folder);
      table.columns[1].cells.emplace_back(runs[r].settings.value("model", ""));
      table.columns[2].cells.emplace_back(groups.labels[groups.of[r]]);
      for (size_t c = own; c < plain; ++c) {
        const auto it = record.find(table.columns[c].name);
        table.columns[c].cells.push_back(it == record.end() ? Cell() : cell_of(*it, table.columns[c].type));
      }
      if (const auto metrics = record.find("metrics"); metrics != record.end() && metrics->is_object())
        for (const auto& item : metrics->items()) {
          const std::string& name = item.key();
          auto column = std::find_if(table.columns.begin() + static_cast<ptrdiff_t>(plain), table.columns.end(),
                                     [&](const Column& c) { return c.name == name; });
          if (column == table.columns.end()) column = table.columns.insert(column, {name, real, {}});
          column->cells.resize(table.rows);
          column->cells.push_back(cell_of(item.value(), real));
        }
      ++table.rows;
    }
  for (Column& column : table.columns) column.cells.resize(table.rows);
  return table;
}

std::string as_csv(const RecordTable& table) {
  CsvRow row;
  for (const Column& column : table.columns) row.push_back(column.name);
  std::string csv = csv_line(row);
  for (size_t r = 0; r < table.rows; ++r) {
    for (size_t c = 0; c < row.size(); ++c) row[c] = text_of(table.columns[c].cells[r]);
    csv += csv_line(row);
  }
  return csv;
}

}  // namespace actmatch
