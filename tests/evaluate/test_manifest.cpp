#include "engine/evaluate/manifest.h"

#include <gtest/gtest.h>

#include "engine/evaluate/csv.h"
#include "engine/image/file.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace actmatch {
namespace {

using test::expect_error;

TEST(Csv, FieldsMayHoldAnything) {
  const std::vector<CsvRow> rows = parse_csv("\xEF\xBB\xBFimage,class\r\n\"a, b.jpg\",\"says \"\"no\"\"\"\n\nlast,\"two\nlines\"", "t.csv");
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0], (CsvRow{"image", "class"}));
  EXPECT_EQ(rows[1], (CsvRow{"a, b.jpg", "says \"no\""}));
  EXPECT_EQ(rows[2], (CsvRow{"last", "two\nlines"}));
  std::string written;
  for (const CsvRow& row : rows) written += csv_line(row);
  EXPECT_EQ(parse_csv(written, "again"), rows);
  EXPECT_EQ(csv_line({"plain", "", "1.5"}), "plain,,1.5\r\n");
}

TEST(Csv, ADamagedTableIsRefused) {
  expect_error(ErrorCode::kFormat, {"'t.csv'", "row 1"}, [] { parse_csv("a,b\n\"open,1\n", "t.csv"); });
  expect_error(ErrorCode::kFormat, {"'t.csv'"}, [] { parse_csv("a,b\n\"x\"y,1\n", "t.csv"); });
}

TEST(Manifest, RowsOfATable) {
  const test::TemporaryFolder folder;
  const std::string table = folder / "photos.csv";
  write_file_atomically(
      table, std::string_view("class,image,boxes,remark\n1,a.jpg,38 53 301 203; 1.5 2 3 4,x\n,sub/b.png,,\n2,a.jpg,,\n,/abs/c.png\n"));
  const std::vector<ManifestEntry> entries = read_manifest(table);
  ASSERT_EQ(entries.size(), 4u);
  EXPECT_EQ(entries[0].image, "a.jpg");
  EXPECT_EQ(entries[0].path, folder / "a.jpg");
  EXPECT_EQ(entries[0].class_name, "1");
  EXPECT_EQ(entries[0].boxes, (std::vector<std::array<double, 4>>{{38, 53, 301, 203}, {1.5, 2, 3, 4}}));
  EXPECT_EQ(entries[1].path, folder / "sub/b.png");
  EXPECT_TRUE(entries[1].class_name.empty() && entries[1].boxes.empty());
  EXPECT_EQ(entries[3].path, "/abs/c.png");
}

TEST(Manifest, AFoldersPictures) {
  const test::TemporaryFolder folder;
  for (const char* name : {"b.png", "a.jpg", "notes.txt"}) write_file_atomically(folder / name, std::string_view("x"));
  const std::vector<ManifestEntry> entries = read_manifest(folder.path());
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].image, "a.jpg");
  EXPECT_EQ(entries[0].path, folder / "a.jpg");
}

TEST(Manifest, MistakesAreNamed) {
  const test::TemporaryFolder folder;
  const std::string table = folder / "t.csv";
  const auto with = [&](const std::string& text) {
    write_file_atomically(table, text);
    return [table] { read_manifest(table); };
  };
  expect_error(ErrorCode::kFormat, {"t.csv", "empty"}, with(""));
  expect_error(ErrorCode::kFormat, {"no column 'image'"}, with("picture\na.jpg\n"));
  expect_error(ErrorCode::kFormat, {"no rows"}, with("image\n"));
  expect_error(ErrorCode::kFormat, {"row 3", "names no picture"}, with("image,class\na.jpg,1\n,2\n"));
  expect_error(ErrorCode::kFormat, {"row 3", "repeats 'a.jpg'"}, with("image,class\na.jpg,1\na.jpg,1\n"));
  expect_error(ErrorCode::kFormat, {"row 2", "more fields"}, with("image\na.jpg,1\n"));
  for (const char* box : {"1 2 3", "1 2 3 4 5", "3 2 1 4", "1 2 x 4", "nan 0 1 1"})
    expect_error(ErrorCode::kFormat, {"row 2", "no box"}, with("image,boxes\na.jpg," + std::string(box) + "\n"));
  expect_error(ErrorCode::kNotFound, {"none.csv"}, [&] { read_manifest(folder / "none.csv"); });
  expect_error(ErrorCode::kInvalidArgument, {".csv"}, [&] {
    write_file_atomically(folder / "list.txt", std::string_view("a.jpg\n"));
    read_manifest(folder / "list.txt");
  });
}

}  // namespace
}  // namespace actmatch
