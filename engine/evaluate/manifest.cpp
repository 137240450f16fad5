#include "engine/evaluate/manifest.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <sstream>

#include "engine/core/error.h"
#include "engine/evaluate/csv.h"
#include "engine/image/file.h"

namespace actmatch {
namespace {

std::vector<std::array<double, 4>> parse_boxes(const std::string& text, const std::string& where) {
  std::vector<std::array<double, 4>> boxes;
  std::istringstream list(text);
  for (std::string one; std::getline(list, one, ';');) {
    if (one.find_first_not_of(' ') == std::string::npos) continue;
    std::istringstream numbers(one);
    std::array<double, 4> box{};
    std::string rest;
    if (!(numbers >> box[0] >> box[1] >> box[2] >> box[3]) || numbers >> rest || !(box[0] < box[2]) || !(box[1] < box[3]))
      throw Error(ErrorCode::kFormat,
                  where + ": '" + one + "' is no box; write \"x0 y0 x1 y1\" with x0 < x1 and y0 < y1, several with ';' between");
    boxes.push_back(box);
  }
  return boxes;
}

std::vector<ManifestEntry> read_table(const std::string& path) {
  const std::vector<std::byte> bytes = read_file(path);
  const std::vector<CsvRow> rows = parse_csv(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), path);
  if (rows.empty()) throw Error(ErrorCode::kFormat, "'" + path + "' is empty; its first row must name the columns (image, class, boxes)");
  const auto column = [&](const char* name) {
    return static_cast<size_t>(std::find(rows[0].begin(), rows[0].end(), name) - rows[0].begin());
  };
  const size_t image = column("image"), class_name = column("class"), boxes = column("boxes");
  if (image == rows[0].size()) throw Error(ErrorCode::kFormat, "'" + path + "' has no column 'image'; its first row must name the columns");
  std::vector<ManifestEntry> entries;
  std::set<std::pair<std::string, std::string>> seen;
  for (size_t r = 1; r < rows.size(); ++r) {
    const std::string where = "'" + path + "', row " + std::to_string(r + 1);
    const auto field = [&](size_t c) { return c < rows[r].size() ? rows[r][c] : std::string(); };
    if (rows[r].size() > rows[0].size()) throw Error(ErrorCode::kFormat, where + " has more fields than the first row names");
    ManifestEntry entry;
    entry.image = field(image);
    if (entry.image.empty()) throw Error(ErrorCode::kFormat, where + " names no picture");
    entry.path = (std::filesystem::path(path).parent_path() / entry.image).string();  // an absolute name stays what it is
    entry.class_name = field(class_name);
    entry.boxes = parse_boxes(field(boxes), where);
    if (!seen.emplace(entry.image, entry.class_name).second)
      throw Error(ErrorCode::kFormat, where + " repeats '" + entry.image + "'; a picture may come again only with another class");
    entries.push_back(std::move(entry));
  }
  if (entries.empty()) throw Error(ErrorCode::kFormat, "'" + path + "' has no rows below the names of the columns");
  return entries;
}

}  // namespace

std::vector<ManifestEntry> read_manifest(const std::string& path) {
  if (!is_folder(path)) {
    if (std::filesystem::path(path).extension() != ".csv" && std::filesystem::exists(path))
      throw Error(ErrorCode::kInvalidArgument, "'" + path + "' is neither a folder of pictures nor a table that ends in .csv");
    return read_table(path);
  }
  std::vector<ManifestEntry> entries;
  for (const std::string& file : list_images(path)) entries.push_back({std::filesystem::path(file).filename().string(), file, "", {}});
  return entries;
}

}  // namespace actmatch
