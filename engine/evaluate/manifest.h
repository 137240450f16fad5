// The pictures of an evaluation: a folder, or a table in a CSV file.
#pragma once

#include <array>
#include <string>
#include <vector>

namespace actmatch {

struct ManifestEntry {
  std::string image;                         // how records name the picture: as in the table, or the file's name in its folder
  std::string path;                          // where it lies
  std::string class_name;                    // index or name of the class to explain; empty: the picture's top class
  std::vector<std::array<double, 4>> boxes;  // of the class's objects: x0, y0, x1, y1 in pixels of the stored picture
};

// A folder's pictures, or the rows of a CSV file (RFC 4180, first row: names of the columns, others than these are passed over):
//   image   path, from the table's folder when it is relative
//   class   optional: index or name
//   boxes   optional: "x0 y0 x1 y1", several separated by ";"
// A picture may have several rows if their classes differ. Throws kNotFound, kFormat (naming the row) or kInvalidArgument.
std::vector<ManifestEntry> read_manifest(const std::string& path);

}  // namespace actmatch
