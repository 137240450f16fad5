// The gradients to the weights and the biases of a convolution, both in float and in two stages: sums over parts of the pixels side by
// side, then over the parts. How many parts depends on the sizes of one instance alone.
//
// Weights: a matrix product with (r, s, c) as rows, the filters as columns and the pixels of y as depth; x is read where tap (r, s) of the
// pixel's window lies. Neither operand runs along the depth in memory, so both lie along their rows in shared memory (conv_tile.cuh).
#include "kernels/common/conv_shape.cuh"
#include "kernels/common/conv_tile.cuh"
#include "kernels/cuda_conv.h"

namespace actmatch::kernels::cuda {
namespace {

template <class T>
struct Filter {
  float* result;  // of one part after another, [instances][parts][K][R][S][C / groups]
  const T *x, *dy;
  ConvAxis h, w;
  int images, groups, channels, filters;  // of an instance; of a group
  int row_tiles, column_tiles, parts, part_pixels;
  bool wide_x, wide_dy, add;
};

struct FilterBlock {
  int instance, group, first_row, first_column, first_pixel, end_pixel;
};

// x as (tap and channel) by pixels.
template <class T>
class PatchLoader {
 public:
  using Layout = Operand<T, kConvRows, false>;

  __device__ __forceinline__ PatchLoader(const Filter<T>& d, const FilterBlock& block)
      : d_(d), pixel_(block.first_pixel + Layout::line(0)), end_(block.end_pixel) {
    const int row = block.first_row + Layout::vector() * Layout::kVector;
    tap_ = {row / d.channels / d.w.taps, row / d.channels % d.w.taps, row % d.channels};
    q_ = pixel_ % d.w.small;
    p_ = pixel_ / d.w.small % d.h.small;
    n_ = pixel_ / d.w.small / d.h.small;
    x_ = d.x + static_cast<int64_t>(block.instance) * d.images * image_size() + block.group * d.channels;
  }

  __device__ __forceinline__ void load(Vector<T> (&v)[Layout::kSlots]) {
    ACTMATCH_UNROLL
    for (int j = 0; j < Layout::kSlots; ++j) {
      v[j] = {};
      if (pixel_ < end_) {
        const T* image = x_ + n_ * image_size();
        if (d_.wide_x) {
          const T* p = address(image, tap_);
          if (p != nullptr) v[j] = load_vector<T, Layout::kVector>(p);
        } else {
          Tap tap = tap_;
          ACTMATCH_UNROLL
          for (int e = 0; e < Layout::kVector; ++e) {
            const T* p = address(image, tap);
            if (p != nullptr) v[j].v[e] = *p;
            tap.advance(1, d_.w.taps, d_.channels);
          }
        }
      }
      pixel_ += Layout::kLineStep;
      q_ += Layout::kLineStep;
      while (q_ >= d_.w.small) {
        q_ -= d_.w.small;
        if (++p_ == d_.h.small) {
          p_ = 0;
          ++n_;
        }
      }
    }
  }

 private:
  __device__ __forceinline__ int64_t image_size() const { return static_cast<int64_t>(d_.h.large) * d_.w.large * d_.groups * d_.channels; }
  __device__ __forceinline__ const T* address(const T* image, const Tap& tap) const {
    const int h = p_ * d_.h.stride + tap.row * d_.h.dilation - d_.h.pad, w = q_ * d_.w.stride + tap.column * d_.w.dilation - d_.w.pad;
    if (tap.row >= d_.h.taps || !inside(h, d_.h.large) || !inside(w, d_.w.large)) return nullptr;
    return image + (h * d_.w.large + w) * d_.groups * d_.channels + tap.channel;
  }

  const Filter<T>& d_;
  int pixel_, end_, n_, p_, q_;
  Tap tap_;
  const T* x_;
};

// dy as filters by pixels, which is how it lies.
template <class T, int kColumns>
class GradientLoader {
 public:
  using Layout = Operand<T, kColumns, false>;

  __device__ __forceinline__ GradientLoader(const Filter<T>& d, const FilterBlock& block)
      : left_(Layout::has_slots() ? d.filters - block.first_column - Layout::vector() * Layout::kVector : 0),
        pixel_(block.first_pixel + Layout::line(0)),
        end_(block.end_pixel),
        stride_(d.groups * d.filters),
        wide_(d.wide_dy) {
    const int64_t first = static_cast<int64_t>(block.instance) * d.images * d.h.small * d.w.small + pixel_;
    dy_ = d.dy + first * stride_ + block.group * d.filters + block.first_column + Layout::vector() * Layout::kVector;
  }

  __device__ __forceinline__ void load(Vector<T> (&v)[Layout::kSlots]) {
    ACTMATCH_UNROLL
    for (int j = 0; j < Layout::kSlots; ++j) {
      v[j] = {};
      if (pixel_ < end_ && left_ > 0) {
        if (wide_) {
          v[j] = load_vector<T, Layout::kVector>(dy_);
        } else {
          ACTMATCH_UNROLL
          for (int e = 0; e < Layout::kVector; ++e) {
            if (e < left_) v[j].v[e] = dy_[e];
          }
        }
      }
      pixel_ += Layout::kLineStep;
      dy_ += static_cast<int64_t>(Layout::kLineStep) * stride_;
    }
  }

 private:
  int left_, pixel_, end_, stride_;
  bool wide_;
  const T* dy_;
};

template <class T, int kColumns>
__global__ void __launch_bounds__(kConvThreads, 3) conv_filter_kernel(Filter<T> d) {
  FilterBlock block;
  uint32_t index = blockIdx.x;
  const auto next = [&](int extent) {
    const auto at = static_cast<int>(index % static_cast<uint32_t>(extent));
    index /= static_cast<uint32_t>(extent);
    return at;
  };
  block.first_column = next(d.column_tiles) * kColumns;
  block.first_row = next(d.row_tiles) * kConvRows;
  block.group = next(d.groups);
  const int part = next(d.parts);
  block.instance = static_cast<int>(index);
  const int pixels = d.images * d.h.small * d.w.small;
  block.first_pixel = part * d.part_pixels;
  block.end_pixel = pixels - block.first_pixel < d.part_pixels ? pixels : block.first_pixel + d.part_pixels;

  PatchLoader<T> patches(d, block);
  GradientLoader<T, kColumns> gradients(d, block);
  Product<T, kColumns, false, false> product;
  multiply_steps<T>(product, patches, gradients, (block.end_pixel - block.first_pixel + kConvDepth<T> - 1) / kConvDepth<T>);

  // Neighbouring threads write neighbouring rows, which is how a filter lies; the odd pitch keeps them in different banks.
  constexpr int kPitch = kColumns + 1;
  auto* tile = reinterpret_cast<float*>(conv_shared());
  product.each([&](int row, int column, float sum) { tile[row * kPitch + column] = sum; });
  __syncthreads();
  const int rows = d.h.taps * d.w.taps * d.channels, row = block.first_row + thread_index();
  if (row >= rows) return;
  const int64_t first = ((static_cast<int64_t>(block.instance) * d.parts + part) * d.groups + block.group) * d.filters + block.first_column;
  for (int column = 0; column < kColumns && block.first_column + column < d.filters; ++column) {
    float* to = d.result + (first + column) * rows + row;
    const float sum = tile[thread_index() * kPitch + column];
    *to = d.add ? *to + sum : sum;
  }
}

// result[i, k] = (or +=) the sum of parts[i, part, k] over the parts.
__global__ void __launch_bounds__(kThreads)
    sum_parts_kernel(float* result, const float* parts, int64_t count, int part_count, int64_t instances, bool add) {
  const int64_t index = flat_index();
  if (index >= instances * count) return;
  const float* from = parts + index / count * part_count * count + index % count;
  float sum = add ? result[index] : 0.0f;
  for (int part = 0; part < part_count; ++part) sum += from[part * count];
  result[index] = sum;
}
cudaError_t sum_parts(cudaStream_t stream, float* result, const float* parts, int64_t count, int64_t part_count, int64_t instances,
                      bool add) {
  return launch(stream, sum_parts_kernel, grid_of(ceil_div(instances * count, kThreads)), kThreads, result, parts, count, part_count,
                instances, add);
}

// 64 blocks an instance, if each then has 512 pixels: parts cost memory, and a batch has the blocks it needs from its instances.
struct Parts {
  int64_t count, pixels;
};
Parts filter_parts(const ConvShape& s) {
  const int64_t rows = s.R * s.S * (s.C / s.groups), columns = s.K / s.groups, pixels = s.N / s.instances * s.P * s.Q;
  const int64_t tiles = ceil_div(rows, kConvRows) * ceil_div(columns, tile_columns(columns)) * s.groups;
  const int64_t wanted = std::max<int64_t>(1, std::min(ceil_div(pixels, 512), ceil_div(64, tiles)));
  const int64_t each = ceil_div(std::max<int64_t>(pixels, 1), wanted * 32) * 32;  // whole steps
  return {ceil_div(std::max<int64_t>(pixels, 1), each), each};
}

// db: a warp of threads takes neighbouring channels, or fewer where there are fewer, and the others further pixels.
constexpr int64_t kBiasPixels = 2048;
static __device__ __forceinline__ float* bias_sums() {
  __shared__ float sums[kThreads];
  return sums;
}
template <class T>
__global__ void __launch_bounds__(kThreads)
    conv_bias_kernel(float* result, const T* dy, int64_t pixels, int channels, int width, int channel_tiles, int parts, bool add) {
  const int column = thread_index() % width, row = thread_index() / width, rows = kThreads / width;
  const int c = static_cast<int>(blockIdx.x) % channel_tiles * width + column;
  const int64_t part_of_instance = static_cast<int64_t>(blockIdx.x) / channel_tiles;
  const int64_t part = part_of_instance % parts, instance = part_of_instance / parts;
  const int64_t first = part * kBiasPixels, end = first + kBiasPixels < pixels ? first + kBiasPixels : pixels;
  float sum = 0.0f;
  if (c < channels) {
    for (int64_t pixel = first + row; pixel < end; pixel += rows) sum += to_float(dy[(instance * pixels + pixel) * channels + c]);
  }
  float* sums = bias_sums();
  sums[thread_index()] = sum;
  __syncthreads();
  if (row != 0 || c >= channels) return;
  float* to = result + part_of_instance * channels + c;
  sum = add ? *to : 0.0f;
  for (int r = 0; r < rows; ++r) sum += sums[r * width + column];
  *to = sum;
}

}  // namespace

size_t conv_backward_filter_scratch_bytes(const ConvShape& shape) {
  if (!valid(shape)) return 0;
  const int64_t parts = filter_parts(shape).count;
  return parts == 1 ? 0 : static_cast<size_t>(parts * shape.instances * shape.K * shape.R * shape.S * (shape.C / shape.groups)) * 4;
}

template <class T>
cudaError_t conv_backward_filter(cudaStream_t stream, float* dw, const T* x, const T* dy, const ConvShape& s, bool accumulate,
                                 void* scratch) {
  if (!valid(s)) return cudaErrorInvalidValue;
  const Parts parts = filter_parts(s);
  const bool direct = parts.count == 1;
  const int64_t C = s.C / s.groups, K = s.K / s.groups, size = s.K * s.R * s.S * C;
  const int columns = tile_columns(K);
  const Filter<T> d{direct ? dw : static_cast<float*>(scratch),
                    x,
                    dy,
                    axis_h(s),
                    axis_w(s),
                    to_int(s.N / s.instances),
                    to_int(s.groups),
                    to_int(C),
                    to_int(K),
                    to_int(ceil_div(s.R * s.S * C, kConvRows)),
                    to_int(ceil_div(K, columns)),
                    to_int(parts.count),
                    to_int(parts.pixels),
                    C % kVectorSize<T> == 0 && aligned16(x),
                    K % kVectorSize<T> == 0 && aligned16(dy),
                    direct && accumulate};
  const auto kernel = columns == 8 ? conv_filter_kernel<T, 8> : columns == 32 ? conv_filter_kernel<T, 32> : conv_filter_kernel<T, 64>;
  const int64_t tiles = static_cast<int64_t>(d.row_tiles) * d.column_tiles * parts.count;
  if (tiles > (int64_t{1} << 31) / (s.groups * s.instances)) return cudaErrorInvalidValue;
  const cudaError_t error = launch(stream, kernel, grid_of(tiles * s.groups * s.instances), kConvThreads, d);
  if (error != cudaSuccess || direct) return error;
  return sum_parts(stream, dw, d.result, size, parts.count, s.instances, accumulate);
}

size_t conv_backward_bias_scratch_bytes(int64_t N, int64_t positions, int64_t channels, int64_t instances) {
  const int64_t parts = ceil_div(N / std::max<int64_t>(instances, 1) * positions, kBiasPixels);
  return parts <= 1 ? 0 : static_cast<size_t>(instances * parts * channels) * 4;
}

template <class T>
cudaError_t conv_backward_bias(cudaStream_t stream, float* db, const T* dy, int64_t N, int64_t positions, int64_t channels,
                               int64_t instances, bool accumulate, void* scratch) {
  if (instances < 1 || N % instances != 0 || channels < 1 || channels >= int64_t{1} << 31) return cudaErrorInvalidValue;
  const int64_t pixels = N / instances * positions, parts = std::max<int64_t>(1, ceil_div(pixels, kBiasPixels));
  int width = 32;
  while (width / 2 >= channels) width /= 2;
  const int64_t tiles = ceil_div(channels, width);
  const bool direct = parts == 1;
  float* result = direct ? db : static_cast<float*>(scratch);
  const cudaError_t error = launch(stream, conv_bias_kernel<T>, grid_of(tiles * parts * instances), kThreads, result, dy, pixels, channels,
                                   width, tiles, parts, direct && accumulate);
  if (error != cudaSuccess || direct) return error;
  return sum_parts(stream, db, result, channels, parts, instances, accumulate);
}

#define ACTMATCH_INSTANTIATE(T)                                                                                          \
  template cudaError_t conv_backward_filter<T>(cudaStream_t, float*, const T*, const T*, const ConvShape&, bool, void*); \
  template cudaError_t conv_backward_bias<T>(cudaStream_t, float*, const T*, int64_t, int64_t, int64_t, int64_t, bool, void*);
ACTMATCH_INSTANTIATE(float)
ACTMATCH_INSTANTIATE(bfloat16)
#undef ACTMATCH_INSTANTIATE

}  // namespace actmatch::kernels::cuda
