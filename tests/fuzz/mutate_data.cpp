// Numbers and names to change to, and the elements of tensors.
#include <iterator>
#include <limits>

#include "onnx_import/op_registry.h"
#include "tests/fuzz/model_mutator.h"

namespace actmatch::fuzz {

int64_t ModelMutator::number() {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  static constexpr int64_t kTelling[] = {
      0, 1, -1, 2, 3, 4, -2, 5, 7, 8, 16, 17, 255, 1 << 16, 1 << 24, int64_t{1} << 31, int64_t{1} << 32, int64_t{1} << 40, kMax, -kMax - 1};
  return below(4) == 0 ? kTelling[below(std::size(kTelling))] : below(12) - 3;
}

float ModelMutator::real() {
  using Limits = std::numeric_limits<float>;
  static constexpr float kTelling[] = {0,
                                       -0.0f,
                                       1,
                                       -1,
                                       0.5f,
                                       2,
                                       1e-30f,
                                       Limits::denorm_min(),
                                       3e38f,
                                       -3e38f,
                                       Limits::infinity(),
                                       -Limits::infinity(),
                                       3e9f,
                                       1e19f,
                                       255,
                                       Limits::quiet_NaN()};
  return kTelling[below(std::size(kTelling))];
}

std::string ModelMutator::some_operator() {
  const auto entries = onnx_import::all_entries();
  return entries[static_cast<size_t>(below(static_cast<int>(entries.size())))].op;
}

std::string ModelMutator::some_value(const onnx::GraphProto& graph) {
  switch (below(8)) {
    case 0:
    case 1: return graph.input_size() > 0 ? graph.input(below(graph.input_size())).name() : "";
    case 2:
    case 3: return graph.initializer_size() > 0 ? graph.initializer(below(graph.initializer_size())).name() : "";
    case 4: return below(4) ? graph.output_size() > 0 ? graph.output(0).name() : "" : fresh_name();
    default: {
      if (graph.node_size() == 0) return "";
      const auto& node = graph.node(below(graph.node_size()));
      return node.output_size() > 0 ? node.output(below(node.output_size())) : "";
    }
  }
}

// Lengths that do not fit the extents, in every field that can hold data.
void ModelMutator::resize_data(onnx::TensorProto& tensor) {
  int64_t count = 1;
  for (int64_t extent : tensor.dims()) count = extent > 0 && extent < 64 && count < 4096 ? count * extent : count;
  static constexpr int kWidths[] = {1, 2, 4, 8};
  const int64_t bytes = below(3) ? count * kWidths[below(4)] : below(80);
  switch (below(3)) {
    case 0: {
      std::string raw(static_cast<size_t>(bytes), static_cast<char>(below(3)));
      if (!raw.empty()) raw[static_cast<size_t>(below(static_cast<int>(raw.size())))] = static_cast<char>(random_());
      tensor.clear_float_data(), tensor.clear_int32_data(), tensor.clear_int64_data(), tensor.clear_double_data();
      return tensor.set_raw_data(raw);
    }
    case 1: {  // the field the type asks for, as many as the extents say
      tensor.clear_raw_data(), tensor.clear_float_data(), tensor.clear_int32_data(), tensor.clear_int64_data();
      for (int64_t i = 0; i < std::min<int64_t>(count, 512); ++i) switch (tensor.data_type()) {
          case onnx::TensorProto::FLOAT: tensor.add_float_data(real()); break;
          case onnx::TensorProto::DOUBLE: tensor.add_double_data(real()); break;
          case onnx::TensorProto::INT64: tensor.add_int64_data(number()); break;
          case onnx::TensorProto::UINT32:
          case onnx::TensorProto::UINT64: tensor.add_uint64_data(static_cast<uint64_t>(number())); break;
          default: tensor.add_int32_data(static_cast<int32_t>(number()));
        }
      return;
    }
    default: {
      auto& entry = *tensor.add_external_data();
      static constexpr const char* kKeys[] = {"location", "offset", "length", "checksum"};
      static constexpr const char* kValues[] = {"weights.bin", "../x", "/etc/passwd", "-1", "18446744073709551616", "4", "", "\0x"};
      entry.set_key(kKeys[below(4)]);
      entry.set_value(kValues[below(std::size(kValues))]);
      tensor.set_data_location(onnx::TensorProto::EXTERNAL);
    }
  }
}

void ModelMutator::mutate_tensor(onnx::TensorProto& tensor) {
  switch (below(8)) {
    case 0:
    case 1: return mutate_list(tensor.mutable_dims());
    case 2: return tensor.set_data_type(below(28));
    case 3: return mutate_list(tensor.mutable_int64_data());
    case 4: return mutate_list(tensor.mutable_float_data());
    case 5: return mutate_list(tensor.mutable_int32_data());
    case 6:
      if (below(8) == 0) tensor.mutable_segment()->set_begin(number());
      tensor.set_data_location(onnx::TensorProto::DEFAULT);
      return tensor.clear_external_data();
    default: return resize_data(tensor);
  }
}

void ModelMutator::mutate_some_tensor(onnx::GraphProto& graph) {
  if (below(12) == 0) {
    auto& sparse = *graph.add_sparse_initializer();
    if (graph.initializer_size() > 0) *sparse.mutable_values() = graph.initializer(below(graph.initializer_size()));
    sparse.mutable_values()->set_name(below(2) ? fresh_name() : some_value(graph));
    sparse.mutable_indices()->set_data_type(onnx::TensorProto::INT64);
    for (int i = below(6); i > 0; --i) sparse.mutable_indices()->add_int64_data(number());
    sparse.mutable_indices()->add_dims(sparse.indices().int64_data_size());
    for (int i = below(4); i > 0; --i) sparse.add_dims(number());
    return;
  }
  if (graph.initializer_size() == 0 || below(10) == 0) {
    auto& tensor = *graph.add_initializer();
    tensor.set_name(below(3) ? fresh_name() : some_value(graph));
    tensor.set_data_type(1 + below(16));
    for (int i = below(4); i > 0; --i) tensor.add_dims(below(5));
    return resize_data(tensor);
  }
  mutate_tensor(*graph.mutable_initializer(below(graph.initializer_size())));
}

}  // namespace actmatch::fuzz
