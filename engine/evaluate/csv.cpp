#include "engine/evaluate/csv.h"

#include <csv.h>

#include "engine/core/error.h"

namespace actmatch {
namespace {

struct Collector {
  std::vector<CsvRow> rows;
  CsvRow row;
};

void end_of_field(void* text, size_t size, void* user) {
  static_cast<Collector*>(user)->row.emplace_back(static_cast<const char*>(text), size);
}
void end_of_row(int, void* user) {
  auto* collector = static_cast<Collector*>(user);
  collector->rows.push_back(std::move(collector->row));
  collector->row.clear();
}

}  // namespace

std::vector<CsvRow> parse_csv(const std::string& text, const std::string& origin) {
  const size_t begin = text.rfind("\xEF\xBB\xBF", 0) == 0 ? 3 : 0;
  Collector collector;
  csv_parser parser;
  csv_init(&parser, CSV_STRICT | CSV_STRICT_FINI);
  bool good = csv_parse(&parser, text.data() + begin, text.size() - begin, end_of_field, end_of_row, &collector) == text.size() - begin;
  good = csv_fini(&parser, end_of_field, end_of_row, &collector) == 0 && good;
  const std::string reason = csv_strerror(csv_error(&parser));
  csv_free(&parser);
  if (!good)
    throw Error(ErrorCode::kFormat, "'" + origin + "' is no CSV table: after row " + std::to_string(collector.rows.size()) +
                                        " a quote stands where none may be (" + reason + ")");
  return std::move(collector.rows);
}

std::string csv_line(const CsvRow& row) {
  std::string line;
  for (const std::string& field : row) {
    if (&field != &row.front()) line += ',';
    if (field.find_first_of(",\"\r\n") == std::string::npos) {
      line += field;
      continue;
    }
    std::string quoted(2 * field.size() + 2, '\0');
    quoted.resize(csv_write(quoted.data(), quoted.size(), field.data(), field.size()));
    line += quoted;
  }
  return line + "\r\n";
}

}  // namespace actmatch
