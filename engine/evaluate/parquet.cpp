// The table of records as Parquet, by Apache Arrow where the build found it.
#include "engine/core/error.h"
#include "engine/evaluate/record_table.h"

#ifdef ACTMATCH_ARROW
#include <arrow/api.h>
#include <arrow/io/memory.h>
#include <parquet/arrow/writer.h>

namespace actmatch {
namespace {

void check(const arrow::Status& status) {
  if (!status.ok()) throw Error(ErrorCode::kInternal, "Apache Arrow: " + status.ToString());
}

template <class Value, class Builder>
std::shared_ptr<arrow::Array> array_of(const RecordTable::Column& column) {
  Builder builder;
  for (const RecordTable::Cell& cell : column.cells)
    check(std::holds_alternative<Value>(cell) ? builder.Append(std::get<Value>(cell)) : builder.AppendNull());
  std::shared_ptr<arrow::Array> array;
  check(builder.Finish(&array));
  return array;
}

std::shared_ptr<arrow::Array> array_of(const RecordTable::Column& column) {
  if (std::holds_alternative<std::string>(column.type)) return array_of<std::string, arrow::StringBuilder>(column);
  if (std::holds_alternative<int64_t>(column.type)) return array_of<int64_t, arrow::Int64Builder>(column);
  return array_of<double, arrow::DoubleBuilder>(column);
}

}  // namespace

std::string as_parquet(const RecordTable& table) {
  std::vector<std::shared_ptr<arrow::Field>> fields;
  std::vector<std::shared_ptr<arrow::Array>> arrays;
  for (const RecordTable::Column& column : table.columns) {
    arrays.push_back(array_of(column));
    fields.push_back(arrow::field(column.name, arrays.back()->type()));
  }
  auto made = arrow::io::BufferOutputStream::Create();
  check(made.status());
  check(parquet::arrow::WriteTable(*arrow::Table::Make(arrow::schema(fields), arrays), arrow::default_memory_pool(), *made));
  auto buffer = (*made)->Finish();
  check(buffer.status());
  return (*buffer)->ToString();
}

}  // namespace actmatch
#else
namespace actmatch {

std::string as_parquet(const RecordTable&) {
  throw Error(
      ErrorCode::kUnsupported,
      "this actmatch was built without Apache Arrow, which writes Parquet; take CSV, or build it where Arrow is (third_party/README.md)");
}

}  // namespace actmatch
#endif
