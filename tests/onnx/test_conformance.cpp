// The ONNX project's own operator cases (make_conformance_cases.py writes them): imported, computed by import where everything is constant
// and by the CPU backend otherwise, and compared.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>

#include "engine/backend/backend.h"
#include "engine/core/error.h"
#include "onnx_import/importer.h"
#include "onnx_import/initializers.h"

namespace actmatch::onnx_import {
namespace {

std::vector<Tensor> read_expected(const std::filesystem::path& path) {
  std::vector<Tensor> tensors;
  std::ifstream file(path, std::ios::binary);
  for (uint64_t length = 0; file.read(reinterpret_cast<char*>(&length), sizeof(length));) {
    std::string bytes(length, '\0');
    file.read(bytes.data(), static_cast<std::streamsize>(length));
    onnx::TensorProto proto;
    EXPECT_TRUE(proto.ParseFromString(bytes)) << path;
    tensors.push_back(read_tensor(proto, path.string()));
  }
  return tensors;
}

template <class T>
double difference(const T* got, const Tensor& expected) {
  double worst = 0;
  for (int64_t i = 0; i < expected.count(); ++i) {
    const auto a = static_cast<double>(got[i]), b = static_cast<double>(expected.data<T>()[i]);
    if (a == b || (std::isnan(a) && std::isnan(b))) continue;
    const double relative = std::abs(a - b) / (1 + std::abs(b));
    if (!(relative <= worst)) worst = relative;
  }
  return worst;
}

double difference(const void* got, const Tensor& expected) {
  switch (expected.dtype()) {
    case DType::kF32: return difference(static_cast<const float*>(got), expected);
    case DType::kI64: return difference(static_cast<const int64_t*>(got), expected);
    case DType::kBool: return difference(static_cast<const uint8_t*>(got), expected);
  }
  return 1;
}

TEST(Conformance, OperatorCasesOfTheOnnxProject) {
  const char* folder = std::getenv("ACTMATCH_ONNX_CASES");
  if (!folder || !std::filesystem::is_directory(folder)) GTEST_SKIP() << "set ACTMATCH_ONNX_CASES to what make_conformance_cases.py wrote";
  // What SUPPORTED_OPS.md leaves out, and the casts that would round to half precision or start from NaN.
  const std::regex refused("_3d|training|default_mask|argmax|uint8|STRING|cubic|tf_crop|linear_align|sizes_linear_pytorch|scales_linear");
  const std::regex rounded("(FLOAT16|BFLOAT16)");
  // A few roundings of values near 1: the cases were computed by NumPy, some in double.
  constexpr double kTolerance = 2e-6;
  const auto backend = make_cpu_backend(1);
  std::set<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().extension() == ".onnx") files.insert(entry.path());
  int compared = 0;
  for (const auto& path : files) {
    const std::string name = path.stem().string();
    if (std::regex_search(name, rounded)) continue;
    SCOPED_TRACE(name);
    try {
      const Graph graph = Model::from_file(path.string()).build();
      std::unique_ptr<Program> program;
      if (!graph.nodes().empty()) {
        program = backend->compile(graph, {});
        program->forward();
      }
      const std::vector<Tensor> expected = read_expected(std::filesystem::path(path).replace_extension(".expected"));
      ASSERT_EQ(expected.size(), graph.outputs().size());
      for (size_t i = 0; i < expected.size(); ++i) {
        const Value& value = graph.value(graph.outputs()[i]);
        ASSERT_EQ(value.shape, expected[i].shape());
        ASSERT_EQ(value.dtype, expected[i].dtype());
        EXPECT_LE(difference(value.constant ? value.constant->raw() : program->data(graph.outputs()[i]), expected[i]), kTolerance);
        ++compared;
      }
    } catch (const Error& error) {
      EXPECT_TRUE(error.code() == ErrorCode::kUnsupported && std::regex_search(name, refused)) << error.what();
    }
  }
  EXPECT_GT(compared, 400) << "of about 520 in python3-onnx 1.12";
}

}  // namespace
}  // namespace actmatch::onnx_import
