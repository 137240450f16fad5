// Where weights lie and how they are stored: beside the model, by type, sparse.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

#include "model_maker.h"
#include "tests/support/temporary_folder.h"

namespace actmatch::onnx_import {
namespace {

using test::TemporaryFolder;

void write(const std::string& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

std::string bytes_of(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

// y = a + 0, where `a` lies in another file.
ModelMaker external(const std::vector<std::pair<std::string, std::string>>& entries, int64_t count = 4) {
  ModelMaker m;
  m.filled("zero", {}, 0.0f).node("Add", {"a", "zero"}, {"y"}).output("y");
  auto* tensor = m.initializer("a", {count}, onnx::TensorProto::FLOAT);
  tensor->set_data_location(onnx::TensorProto::EXTERNAL);
  for (const auto& [key, value] : entries) {
    auto* entry = tensor->add_external_data();
    entry->set_key(key);
    entry->set_value(value);
  }
  return m;
}

TEST(ExternalData, IsReadFromBesideTheModel) {
  const TemporaryFolder tmp;
  std::filesystem::create_directory(tmp / "parts");
  write(tmp / "parts/w.bin", "skip" + bytes_of({1, 2, 3, 4}));
  for (bool length : {true, false}) {
    ModelMaker m = external({{"location", "parts/w.bin"}, {"offset", "4"}});
    if (length) {
      auto* entry = m.proto.mutable_graph()->mutable_initializer(1)->add_external_data();
      entry->set_key("length");
      entry->set_value("16");
    }
    write(tmp / "m.onnx", m.bytes());
    const Model model = Model::from_file(tmp / "m.onnx");
    EXPECT_EQ(result_of(model), (std::vector<float>{1, 2, 3, 4}));
    ASSERT_EQ(model.external_files().size(), 1u);
    EXPECT_TRUE(model.external_files()[0].ends_with("parts/w.bin"));
  }
}

TEST(ExternalData, OutsideTheFolderOrTheFileIsRefused) {
  const TemporaryFolder tmp, other;
  write(tmp / "w.bin", bytes_of({1, 2, 3, 4}));
  write(other / "secret", bytes_of({1, 2, 3, 4}));
  std::filesystem::create_symlink(other / "secret", tmp / "link");
  std::filesystem::create_directory(tmp / "folder");
  struct Bad {
    std::vector<std::pair<std::string, std::string>> entries;
    ErrorCode code;
    const char* part;
  };
  const std::string absolute = other / "secret";
  for (const Bad& bad : {Bad{{{"location", "absent.bin"}}, ErrorCode::kNotFound, "copy it there"},
                         Bad{{{"location", "../w.bin"}}, ErrorCode::kUnsupported, "leads out of"},
                         Bad{{{"location", "folder/../../w.bin"}}, ErrorCode::kUnsupported, "leads out of"},
                         Bad{{{"location", absolute}}, ErrorCode::kUnsupported, "absolute path"},
                         Bad{{{"location", "link"}}, ErrorCode::kUnsupported, "a link out of"},
                         Bad{{{"location", "folder"}}, ErrorCode::kInvalidArgument, "not a file"},
                         Bad{{{"location", std::string("w.bin\0", 6)}}, ErrorCode::kUnsupported, "no name"},
                         Bad{{{"location", ""}}, ErrorCode::kUnsupported, "no name"},
                         Bad{{{"location", "w.bin"}, {"offset", "4"}}, ErrorCode::kFormat, "has only 16"},
                         Bad{{{"location", "w.bin"}, {"offset", "18446744073709551615"}}, ErrorCode::kFormat, "has only 16"},
                         Bad{{{"location", "w.bin"}, {"offset", "18446744073709551616"}}, ErrorCode::kFormat, "no number"},
                         Bad{{{"location", "w.bin"}, {"offset", "-1"}}, ErrorCode::kFormat, "no number"},
                         Bad{{{"location", "w.bin"}, {"length", "12"}}, ErrorCode::kFormat, "12 bytes"}}) {
    write(tmp / "m.onnx", external(bad.entries).bytes());
    ErrorCode code{};
    expect_all(error_text([&] { Model::from_file(tmp / "m.onnx"); }, &code), {"'a'", bad.part});
    EXPECT_EQ(code, bad.code) << bad.part;
  }
  ErrorCode code{};
  expect_all(error_text([&] { external({{"location", "w.bin"}}).model(); }, &code), {"'a'", "came as bytes"});
  EXPECT_EQ(code, ErrorCode::kUnsupported);
}

// The caches of model hubs: model and weights are links to where both lie.
TEST(ExternalData, LinksToWhereTheModelLies) {
  const TemporaryFolder tmp;
  std::filesystem::create_directory(tmp / "blobs");
  std::filesystem::create_directory(tmp / "snapshot");
  write(tmp / "blobs/1", external({{"location", "m.data"}}).bytes());
  write(tmp / "blobs/2", bytes_of({4, 3, 2, 1}));
  std::filesystem::create_symlink("../blobs/1", tmp / "snapshot/m.onnx");
  std::filesystem::create_symlink("../blobs/2", tmp / "snapshot/m.data");
  EXPECT_EQ(result_of(Model::from_file(tmp / "snapshot/m.onnx")), (std::vector<float>{4, 3, 2, 1}));
}

// Large weights stay in the file until a graph needs them; small ones are read with the rest. The border between the two does not show.
TEST(Weights, OfAllSizesAndStorages) {
  const TemporaryFolder tmp;
  for (int64_t count : {1, 1000, 1024, 1025, 5000}) {
    std::vector<float> values;
    for (int64_t i = 0; i < count; ++i) values.push_back(static_cast<float>(i) * 0.5f);
    for (bool raw : {true, false}) {
      ModelMaker m;
      m.filled("zero", {}, 0.0f).node("Add", {"a", "zero"}, {"y"}).output("y");
      if (raw)
        m.initializer("a", {count}, onnx::TensorProto::FLOAT)->set_raw_data(bytes_of(values));
      else
        m.floats("a", {count}, values);
      write(tmp / "m.onnx", m.bytes());
      EXPECT_EQ(result_of(Model::from_file(tmp / "m.onnx")), values) << count << raw;
      EXPECT_EQ(result_of(m.model()), values) << count << raw;
      ModelMaker shorter = m;
      shorter.proto.mutable_graph()->mutable_initializer(1)->set_dims(0, count + 1);
      expect_all(error_text([&] { shorter.model(); }), {"'a'", "the file is damaged"});
    }
  }
}

TEST(Weights, OfEveryElementType) {
  using T = onnx::TensorProto;
  struct Case {
    int type;
    std::string raw;
    std::vector<float> values;
  };
  const std::string quiet("\0", 1);
  for (const Case& c : {
           Case{T::FLOAT16, std::string("\x00\x3c\x00\xc0\x00\x7c", 6), {1, -2, INFINITY}},
           Case{T::BFLOAT16, std::string("\x80\x3f\x00\xc0", 4), {1, -2}},
           Case{T::DOUBLE, std::string("\0\0\0\0\0\0\xf8\x3f", 8), {1.5f}},
           Case{17, std::string("\x38\xc0\x7e", 3), {1, -2, 448}},       // FLOAT8E4M3FN
           Case{18, std::string("\x40\xc8\x7f", 3), {1, -2, 240}},       // FLOAT8E4M3FNUZ
           Case{19, std::string("\x3c\xc0\x7c", 3), {1, -2, INFINITY}},  // FLOAT8E5M2
           Case{20, std::string("\x40\xc4\x7f", 3), {1, -2, 57344}},     // FLOAT8E5M2FNUZ
           Case{23, std::string("\x72\x0f", 2), {1, 6, -6}},             // FLOAT4E2M1
           Case{24, std::string("\x7f\x81", 2), {1, 4}},                 // FLOAT8E8M0
           Case{T::INT8, "\xff\x02", {-1, 2}},
           Case{T::UINT8, "\xff\x02", {255, 2}},
           Case{T::UINT16, "\xff\xff", {65535}},
           Case{T::INT16, "\xff\xff", {-1}},
           Case{T::UINT32, "\xff\xff\xff\xff", {4294967295.0f}},
           Case{T::UINT64, std::string("\x05\0\0\0\0\0\0\0", 8), {5}},
           Case{21, "\xf1\x02", {1, 15, 2}},         // UINT4
           Case{22, "\xf1\x08", {1, -1, -8}},        // INT4
           Case{25, "\xe4\x01", {0, 1, 2, 3, 1}},    // UINT2
           Case{26, "\xe4\x01", {0, 1, -2, -1, 1}},  // INT2
       }) {
    ModelMaker m(21);
    m.initializer("a", {static_cast<int64_t>(c.values.size())}, c.type)->set_raw_data(c.raw);
    m.node("Cast", {"a"}, {"y"}).set("to", int64_t{T::FLOAT}).output("y");
    EXPECT_EQ(result_of(m.model()), c.values) << "type " << c.type;
  }
  ModelMaker odd;
  odd.initializer("a", {1}, 27)->set_raw_data("x");
  odd.node("Cast", {"a"}, {"y"}).set("to", int64_t{T::FLOAT}).output("y");
  expect_all(odd.model().problems().at(0).message, {"'a'", "FLOAT6E2M3"});
}

TEST(Weights, SparseOnesAreFilledIn) {
  ModelMaker m;
  auto& sparse = *m.proto.mutable_graph()->add_sparse_initializer();
  auto& values = *sparse.mutable_values();
  values.set_name("a");
  values.set_data_type(onnx::TensorProto::FLOAT);
  values.add_dims(2);
  values.add_float_data(7);
  values.add_float_data(8);
  auto& indices = *sparse.mutable_indices();
  indices.set_data_type(onnx::TensorProto::INT64);
  indices.add_dims(2);
  indices.add_int64_data(1);
  indices.add_int64_data(5);
  sparse.add_dims(2);
  sparse.add_dims(3);
  m.filled("zero", {}, 0.0f).node("Add", {"a", "zero"}, {"y"}).output("y");
  EXPECT_EQ(result_of(m.model()), (std::vector<float>{0, 7, 0, 0, 0, 8}));
  m.proto.mutable_graph()->mutable_sparse_initializer(0)->mutable_indices()->set_int64_data(1, 6);
  expect_all(error_text([&] { m.model(); }), {"'a'", "out of range"});
  auto& huge = *m.proto.mutable_graph()->mutable_sparse_initializer(0);
  huge.set_dims(0, int64_t{1} << 30);
  expect_all(m.model().problems().at(0).message, {"'a'", "sparse", "limit"});
}

// Same nodes and shapes, and no weights read.
TEST(Weights, StructureOnlyIsTheSameGraph) {
  ModelMaker m;
  m.input("x", {1, 8, 6, 6}).filled("w", {64, 8, 3, 3}, 0.5f).filled("v", {64}, 1.0f);
  m.node("Conv", {"x", "w"}, {"c"}).node("BatchNormalization", {"c", "v", "v", "v", "v"}, {"y"}).output("y");
  const TemporaryFolder tmp;
  write(tmp / "m.onnx", m.bytes());
  const Model model = Model::from_file(tmp / "m.onnx");
  const Graph outline = model.build({.structure_only = true}), whole = model.build();
  EXPECT_EQ(outline.dump(), whole.dump());
  EXPECT_EQ(*outline.value(outline.nodes()[0].inputs[1]).constant->data<float>(), 0.0f);
  EXPECT_NEAR(*whole.value(whole.nodes()[0].inputs[1]).constant->data<float>(), 0.5f, 1e-5);
}

}  // namespace
}  // namespace actmatch::onnx_import
