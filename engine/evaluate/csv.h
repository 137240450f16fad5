// Tables in CSV files (RFC 4180).
#pragma once

#include <string>
#include <vector>

namespace actmatch {

using CsvRow = std::vector<std::string>;

// All rows; lines end in LF or CRLF, a byte order mark is passed over, empty lines too. Throws kFormat naming `origin`.
std::vector<CsvRow> parse_csv(const std::string& text, const std::string& origin);
// A row with its line end; fields are quoted where they have to be.
std::string csv_line(const CsvRow& row);

}  // namespace actmatch
