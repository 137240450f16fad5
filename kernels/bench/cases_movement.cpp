// Movement: transposes between NCHW and NHWC, strided copies (SqueezeNet's concatenation), gathering by index (padding by reflection).
#include <algorithm>

#include "kernels/bench/case.h"
#include "kernels/cuda_ops.h"

namespace actmatch::kernels::bench {

namespace {

using cuda::Dims;

template <class To, class From>
void add_transposes(Cases& cases, int64_t B) {
  struct Layer {
    int64_t channels, side;
  };
  for (const Layer& l : {Layer{3, 224}, Layer{256, 56}, Layer{2048, 7}}) {
    const int64_t C = l.channels > 3 ? cases.size(l.channels) : l.channels, side = cases.size(l.side), HW = side * side, count = B * C * HW;
    const std::string size = text(kTypeName<To>, " from ", kTypeName<From>, " B", B, " ", C, "x", side, "x", side);
    const auto transposed = [=](int64_t a, int64_t b) {
      return [=](Memory& m) -> Launch {
        To* y = m.output<To>(count);
        const From* x = m.input<From>(count);
        return [=](cudaStream_t s) { return cuda::transpose(s, y, x, B, a, b, false); };
      };
    };
    cases.add("transpose", "NCHW to NHWC " + size, transposed(C, HW));
    cases.add("transpose", "NHWC to NCHW " + size, transposed(HW, C));
  }
}

template <class T>
void add_copies(Cases& cases, int64_t B) {
  // One of the two expansions of a fire module goes into its half of the result's channels.
  const int64_t C = cases.size(64), side = cases.size(55), HW = side * side;
  cases.add("copy_strided", text("into half the channels ", kTypeName<T>, " B", B, " ", C, "x", side, "x", side), [=](Memory& m) {
    T* y = m.output<T>(B * HW * 2 * C);
    const T* x = m.input<T>(B * HW * C);
    m.set_traffic(static_cast<size_t>(2 * B * HW * C) * sizeof(T));
    return [=](cudaStream_t s) { return cuda::copy_strided(s, y, x, Dims{B * HW, C}, Dims{2 * C, 1}, Dims{C, 1}, false); };
  });
  // Rows of a picture, three more by reflection at either end.
  const int64_t H = cases.size(224), row = H * 8, padded = H + 6;
  const int64_t rows = B * H, padded_rows = B * padded;
  std::vector<int32_t> index;
  std::vector<std::vector<int32_t>> users(static_cast<size_t>(rows));
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t i = -3; i < H + 3; ++i) {
      const int64_t reflected = std::clamp<int64_t>(i < 0 ? -i : (i >= H ? 2 * H - 2 - i : i), 0, H - 1);
      users[static_cast<size_t>(b * H + reflected)].push_back(static_cast<int32_t>(index.size()));
      index.push_back(static_cast<int32_t>(b * H + reflected));
    }
  }
  std::vector<int32_t> offsets{0}, list;
  for (const auto& u : users) {
    list.insert(list.end(), u.begin(), u.end());
    offsets.push_back(static_cast<int32_t>(list.size()));
  }
  const std::string size = text("rows by reflection ", kTypeName<T>, " B", B, " 8x", H, "x", H);
  cases.add("gather_indexed", size, [=](Memory& m) {
    T* y = m.output<T>(padded_rows * row);
    const T* x = m.input<T>(rows * row);
    const auto* device_index = m.values(index);
    return [=](cudaStream_t s) { return cuda::gather_indexed<T>(s, y, x, device_index, padded_rows, row, 0.0f); };
  });
  cases.add("gather_indexed_backward", size, [=](Memory& m) {
    T* dx = m.output<T>(rows * row);
    const T* dy = m.input<T>(padded_rows * row);
    const auto *device_offsets = m.values(offsets), *device_list = m.values(list);
    return [=](cudaStream_t s) { return cuda::gather_indexed_backward<T>(s, dx, dy, device_offsets, device_list, rows, row, false); };
  });
}

}  // namespace

void add_movement_cases(Cases& cases) {
  for (int64_t B : cases.size.batches) {
    add_transposes<float, float>(cases, B);
    add_transposes<bfloat16, bfloat16>(cases, B);
    add_transposes<bfloat16, float>(cases, B);
    add_transposes<float, bfloat16>(cases, B);
    add_copies<float>(cases, B);
    add_copies<bfloat16>(cases, B);
  }
}

}  // namespace actmatch::kernels::bench
