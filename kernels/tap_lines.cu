// KL, cosine and standardised MSE: what looks along lines of an image, the channels of a position or the positions of a channel.
//
// 32 threads share a line, each has every 32nd of its numbers; a block has eight lines. Where a line's numbers lie together (a row) the
// threads are a warp. Where neighbouring lines lie together (columns) a warp has four numbers of each of the eight: reads of 32 bytes.
//
// The first 16 numbers of each thread, 512 of a line, are read once and stay in registers until the gradient is written. What a line has
// beyond that is read twice, the second time mostly from a cache. All sums that a kind needs are taken in one sweep: the softmax's by
// correcting them when a larger number comes, the deviation's around the line's first number.
#include "kernels/common/softmax.cuh"
#include "kernels/common/tap.cuh"

namespace actmatch::kernels::cuda {
namespace {

constexpr int kParts = 32;                      // threads that share a line
constexpr int kBlockLines = kThreads / kParts;  // lines of a block
constexpr int kHeld = 16;                       // numbers of a line that a thread keeps
constexpr int kBlocks = 2;                      // of a multiprocessor: its registers suffice for so many
constexpr int kMostSums = 5;                    // taken together
constexpr double kSigmaGuard = 1e-6;

struct Lines {
  int64_t count, length;  // of an image
};
bool along_channels(TapDistance kind) { return kind == TapDistance::kKlChannels || kind == TapDistance::kCosine; }
Lines lines_of(TapDistance kind, const TapShape& shape) {
  return along_channels(kind) ? Lines{shape.HW, shape.C} : Lines{shape.C, shape.HW};
}

// For each sum a number of every warp and column.
static __device__ __forceinline__ double* line_words() {
  __shared__ double words[kMostSums * kThreads / 32 * kBlockLines];
  return words;
}

// This thread's share of a line. Threads beyond the last line have no numbers, but come to the reductions.
template <bool kColumn>
struct Line {
  int begin, step, length;  // place of the line's first number in its image, from one to the next, how many
  int part;
  bool valid;

  __device__ __forceinline__ explicit Line(const Lines& lines) {
    const int thread = thread_index();
    const int64_t line = static_cast<int64_t>(blockIdx.x) * kBlockLines + (kColumn ? thread % kBlockLines : thread / kParts);
    part = kColumn ? thread / kBlockLines : thread % kParts;
    valid = line < lines.count;
    begin = valid ? static_cast<int>(kColumn ? line : line * lines.length) : 0;
    step = kColumn ? static_cast<int>(lines.count) : 1;
    length = valid ? static_cast<int>(lines.length) : 0;
  }
  // run(k, place) for the numbers that stay in registers, run(place) for the others.
  template <class Run>
  __device__ __forceinline__ void held(Run run) const {
    ACTMATCH_UNROLL
    for (int k = 0; k < kHeld; ++k) {
      const int i = part + k * kParts;
      if (i < length) run(k, begin + i * step);
    }
  }
  template <class Run>
  __device__ __forceinline__ void others(Run run) const {
    for (int i = part + kHeld * kParts; i < length; i += kParts) run(begin + i * step);
  }

  // Over the line's threads; each of them gets the result.
  template <int N>
  __device__ __forceinline__ void sum(double (&v)[N]) const {
    static_assert(N <= kMostSums);
    if constexpr (kColumn) {
      combine(v, [](double a, double b) { return a + b; });
    } else {
      for (int n = 0; n < N; ++n) v[n] = warp_sum(v[n]);
    }
  }
  __device__ __forceinline__ float largest(float v) const {
    if constexpr (kColumn) {
      double most[1] = {static_cast<double>(v)};
      combine(most, [](double a, double b) { return fmax(a, b); });
      return static_cast<float>(most[0]);
    } else {
      return warp_max(v);
    }
  }

  // One number a line to one partial sum a block.
  __device__ __forceinline__ void store(double* partial, double v) const {
    const double total = block_sum(valid && part == 0 ? v : 0.0);
    if (threadIdx.x == 0) partial[static_cast<int64_t>(blockIdx.y) * gridDim.x + blockIdx.x] = total;
  }

 private:
  // Of columns: over the parts in a warp, then over the warps.
  template <int N, class Combine>
  __device__ __forceinline__ void combine(double (&v)[N], Combine with) const {
    constexpr int kWarps = kThreads / 32;
    double* words = line_words();
    const int lane = thread_index() % 32, warp = thread_index() / 32, column = lane % kBlockLines;
    for (int n = 0; n < N; ++n) {
      for (int distance = kBlockLines; distance < 32; distance *= 2) v[n] = with(v[n], __shfl_xor_sync(kAllLanes, v[n], distance));
      if (lane < kBlockLines) words[(n * kWarps + warp) * kBlockLines + column] = v[n];
    }
    __syncthreads();
    for (int n = 0; n < N; ++n) {
      v[n] = words[n * kWarps * kBlockLines + column];
      for (int k = 1; k < kWarps; ++k) v[n] = with(v[n], words[(n * kWarps + k) * kBlockLines + column]);
    }
    __syncthreads();
  }
};

// The sum of exp(x - hi), where hi is the largest x so far. A NaN does not become the largest, but is in the sum.
struct Softmax {
  float hi = -INFINITY;
  double sum = 0;
  // exp of this is what the sum is multiplied by where the line's largest takes hi's place. A thread without numbers has -inf for hi and 0
  // for the sum, which stays.
  __device__ __forceinline__ float above(float largest) const { return hi > -INFINITY ? hi - largest : 0.0f; }
};

template <bool kColumn>
__global__ void __launch_bounds__(kThreads, kBlocks) kl_prepare_kernel(double* partial, TapPrepareArguments a, Lines lines) {
  const Line<kColumn> line(lines);
  const int64_t image = static_cast<int64_t>(blockIdx.y) * lines.count * lines.length;
  const float* x = a.reference + image;
  float* prepared = a.prepared + image;
  float held[kHeld];
  Softmax s;
  double weighted = 0;  // sum exp(x - hi) (x - hi)
  line.held([&](int k, int at) {
    held[k] = x[at];
    s.hi = fmaxf(s.hi, held[k]);
  });
  const float held_hi = s.hi;
  line.held([&](int k, int) {
    const float shifted = held[k] - held_hi, e = expf(shifted);
    s.sum += static_cast<double>(e);
    weighted += static_cast<double>(e * shifted);
    held[k] = e;
  });
  line.others([&](int at) {
    const float v = x[at];
    if (v > s.hi) {
      const auto down = static_cast<double>(s.hi - v), factor = static_cast<double>(expf(s.hi - v));
      weighted = factor * (weighted + down * s.sum);
      s.sum *= factor;
      s.hi = v;
    }
    const float shifted = v - s.hi, e = expf(shifted);
    s.sum += static_cast<double>(e);
    weighted += static_cast<double>(e * shifted);
  });
  const float hi = line.largest(s.hi);
  const float down = s.above(hi);
  const auto factor = static_cast<double>(expf(down));
  double sums[2] = {factor * s.sum, factor * (weighted + static_cast<double>(down) * s.sum)};
  line.sum(sums);
  const float inverse = static_cast<float>(1 / sums[0]), held_scale = expf(held_hi - hi) * inverse;
  line.held([&](int k, int at) { prepared[at] = held[k] * held_scale; });
  line.others([&](int at) { prepared[at] = expf(x[at] - hi) * inverse; });
  line.store(partial, sums[1] / sums[0] - log(sums[0]));  // sum p log p
}

template <bool kColumn>
__global__ void __launch_bounds__(kThreads, kBlocks) kl_kernel(double* partial, TapDistanceArguments a, Lines lines) {
  const Line<kColumn> line(lines);
  const int64_t n = blockIdx.y, size = lines.count * lines.length;
  const float *v = a.current + n * size, *p = a.prepared + n % a.shape.B * size;
  float held[kHeld], target[kHeld];
  Softmax s;
  double cross = 0, mass = 0;  // sum p (v - hi), sum p
  line.held([&](int k, int at) {
    held[k] = v[at];
    target[k] = p[at];
    s.hi = fmaxf(s.hi, held[k]);
  });
  const float held_hi = s.hi;
  line.held([&](int k, int) {
    const float shifted = held[k] - held_hi;
    held[k] = expf(shifted);
    s.sum += static_cast<double>(held[k]);
    cross += static_cast<double>(target[k] * shifted);
    mass += static_cast<double>(target[k]);
  });
  line.others([&](int at) {
    const float x = v[at], q = p[at];
    if (x > s.hi) {
      cross += mass * static_cast<double>(s.hi - x);
      s.sum *= static_cast<double>(expf(s.hi - x));
      s.hi = x;
    }
    const float shifted = x - s.hi;
    s.sum += static_cast<double>(expf(shifted));
    cross += static_cast<double>(q * shifted);
    mass += static_cast<double>(q);
  });
  const float hi = line.largest(s.hi);
  const float down = s.above(hi);
  double sums[2] = {static_cast<double>(expf(down)) * s.sum, cross + mass * static_cast<double>(down)};
  line.sum(sums);
  line.store(partial, log(sums[0]) - sums[1]);
  if (a.gradient == nullptr) return;
  float* g = a.gradient + n * size;
  const float scale = a.weight[n] / static_cast<float>(lines.count), inverse = static_cast<float>(1 / sums[0]);
  const float held_scale = expf(held_hi - hi) * inverse;
  line.held([&](int k, int at) { emit(g + at, scale * (held[k] * held_scale - target[k]), a.accumulate); });
  line.others([&](int at) { emit(g + at, scale * (expf(v[at] - hi) * inverse - p[at]), a.accumulate); });
}

// 1 / norm, 0 where it is within the guard.
__device__ __forceinline__ float inverse_norm(double squares) {
  const float norm = static_cast<float>(sqrt(squares));
  return norm <= 1e-8f ? 0.0f : 1.0f / norm;
}

template <bool kColumn>
__global__ void __launch_bounds__(kThreads, kBlocks) cosine_prepare_kernel(double* partial, TapPrepareArguments a, Lines lines) {
  const Line<kColumn> line(lines);
  const int64_t image = static_cast<int64_t>(blockIdx.y) * lines.count * lines.length;
  const float* x = a.reference + image;
  float* prepared = a.prepared + image;
  float held[kHeld];
  double squares[1] = {0};
  line.held([&](int k, int at) {
    held[k] = x[at];
    squares[0] += static_cast<double>(held[k] * held[k]);
  });
  line.others([&](int at) { squares[0] += static_cast<double>(x[at] * x[at]); });
  line.sum(squares);
  const float inverse = inverse_norm(squares[0]);
  line.held([&](int k, int at) { prepared[at] = held[k] * inverse; });
  line.others([&](int at) { prepared[at] = x[at] * inverse; });
  line.store(partial, 0);
}

template <bool kColumn>
__global__ void __launch_bounds__(kThreads, kBlocks) cosine_kernel(double* partial, TapDistanceArguments a, Lines lines) {
  const Line<kColumn> line(lines);
  const int64_t n = blockIdx.y, size = lines.count * lines.length;
  const float *v = a.current + n * size, *unit = a.prepared + n % a.shape.B * size;
  float held[kHeld], target[kHeld];
  double sums[2] = {0, 0};  // v.v, v.unit
  line.held([&](int k, int at) {
    held[k] = v[at];
    target[k] = unit[at];
    sums[0] += static_cast<double>(held[k] * held[k]);
    sums[1] += static_cast<double>(held[k] * target[k]);
  });
  line.others([&](int at) {
    sums[0] += static_cast<double>(v[at] * v[at]);
    sums[1] += static_cast<double>(v[at] * unit[at]);
  });
  line.sum(sums);
  const float inverse = inverse_norm(sums[0]), cos = static_cast<float>(sums[1]) * inverse;
  line.store(partial, static_cast<double>(cos));
  if (a.gradient == nullptr) return;
  // d cos / dv = (unit - cos * v / |v|) / |v|
  float* g = a.gradient + n * size;
  const float scale = -a.weight[n] / static_cast<float>(lines.count) * inverse, along = cos * inverse;
  line.held([&](int k, int at) { emit(g + at, scale * (target[k] - along * held[k]), a.accumulate); });
  line.others([&](int at) { emit(g + at, scale * (unit[at] - along * v[at]), a.accumulate); });
}

// Mean and deviation of a line from the sums of u = x - first and of u^2. The first number is at most sqrt(length) deviations away from the
// mean, being one of the line's, so that their difference loses no more than half of a double's digits.
struct Standard {
  float first, shift, inverse;
  double mean, squares, sigma;  // of u; sum of (u - mean)^2
  __device__ __forceinline__ Standard(float first_number, double sum, double sum_of_squares, int64_t length) : first(first_number) {
    const auto count = static_cast<double>(length);
    mean = sum / count;
    squares = sum_of_squares - sum * mean;
    if (squares < 0) squares = 0;
    sigma = sqrt(squares / count);
    shift = static_cast<float>(mean);
    inverse = static_cast<float>(1 / (sigma + kSigmaGuard));
  }
  __device__ __forceinline__ float operator()(float x) const { return ((x - first) - shift) * inverse; }
};

template <bool kColumn>
__global__ void __launch_bounds__(kThreads, kBlocks) standardised_prepare_kernel(double* partial, TapPrepareArguments a, Lines lines) {
  const Line<kColumn> line(lines);
  const int64_t image = static_cast<int64_t>(blockIdx.y) * lines.count * lines.length;
  const float* x = a.reference + image;
  float* prepared = a.prepared + image;
  const float first = line.valid ? x[line.begin] : 0.0f;
  float held[kHeld];
  double sums[2] = {0, 0};
  const auto take = [&](float value) {
    const double u = static_cast<double>(value) - static_cast<double>(first);
    sums[0] += u;
    sums[1] += u * u;
  };
  line.held([&](int k, int at) { take(held[k] = x[at]); });
  line.others([&](int at) { take(x[at]); });
  line.sum(sums);  // also: in place, all threads have read the first number before one of them writes it
  const Standard y(first, sums[0], sums[1], lines.length);
  line.held([&](int k, int at) { prepared[at] = y(held[k]); });
  line.others([&](int at) { prepared[at] = y(x[at]); });
  line.store(partial, 0);
}

template <bool kColumn>
__global__ void __launch_bounds__(kThreads, kBlocks) standardised_mse_kernel(double* partial, TapDistanceArguments a, Lines lines) {
  const Line<kColumn> line(lines);
  const int64_t n = blockIdx.y, size = lines.count * lines.length;
  const float *v = a.current + n * size, *t = a.prepared + n % a.shape.B * size;
  const float first = line.valid ? v[line.begin] : 0.0f;
  float held[kHeld], target[kHeld];
  double sums[kMostSums] = {0, 0, 0, 0, 0};  // u, u^2, u t, t, t^2
  const auto take = [&](float value, float wanted) {
    const double u = static_cast<double>(value) - static_cast<double>(first), w = static_cast<double>(wanted);
    sums[0] += u;
    sums[1] += u * u;
    sums[2] += u * w;
    sums[3] += w;
    sums[4] += w * w;
  };
  line.held([&](int k, int at) { take(held[k] = v[at], target[k] = t[at]); });
  line.others([&](int at) { take(v[at], t[at]); });
  line.sum(sums);
  // y = (u - mean) / (sigma + guard), d = y - t
  const Standard y(first, sums[0], sums[1], lines.length);
  const double over = 1 / (y.sigma + kSigmaGuard), yy = over * over * y.squares, yt = over * (sums[2] - y.mean * sums[3]);
  line.store(partial, yy - 2 * yt + sums[4]);  // sum d^2
  if (a.gradient == nullptr) return;
  // The mean of d over the line is zero:
  //   gradient = scale * (d / (sigma + guard) - y * (sum d y) / (length sigma)), the second part from sigma's own gradient.
  float* g = a.gradient + n * size;
  const auto length = static_cast<double>(lines.length);
  const float scale = static_cast<float>(2 * static_cast<double>(a.weight[n]) / (static_cast<double>(lines.count) * length));
  const float pull = y.sigma > 0 ? static_cast<float>((yy - yt) / (length * y.sigma)) : 0.0f;
  const auto gradient = [&](float value, float wanted) {
    const float at = y(value);
    return scale * ((at - wanted) * y.inverse - at * pull);
  };
  line.held([&](int k, int at) { emit(g + at, gradient(held[k], target[k]), a.accumulate); });
  line.others([&](int at) { emit(g + at, gradient(v[at], t[at]), a.accumulate); });
}

// The one of two kernels that goes through memory as the lines lie.
template <class... Parameters, class Arguments>
cudaError_t launch_lines(cudaStream_t stream, void (*columns)(Parameters...), void (*rows)(Parameters...), double* partial,
                         const Arguments& a, TapDistance kind, ChannelOrder order) {
  if (a.shape.C * a.shape.HW > INT32_MAX) return cudaErrorInvalidValue;
  const bool in_columns = along_channels(kind) == (order == ChannelOrder::kFirst);
  const dim3 grid = grid_of(tap_line_partials(a.shape, kind), a.shape.P * a.shape.B);
  return launch(stream, in_columns ? columns : rows, grid, kThreads, partial, a, lines_of(kind, a.shape));
}

}  // namespace

int64_t tap_line_partials(const TapShape& shape, TapDistance kind) { return ceil_div(lines_of(kind, shape).count, kBlockLines); }

cudaError_t tap_lines(cudaStream_t stream, double* partial, const TapDistanceArguments& a, TapDistance kind, ChannelOrder order) {
  if (kind == TapDistance::kCosine) return launch_lines(stream, cosine_kernel<true>, cosine_kernel<false>, partial, a, kind, order);
  if (kind == TapDistance::kStandardisedMse)
    return launch_lines(stream, standardised_mse_kernel<true>, standardised_mse_kernel<false>, partial, a, kind, order);
  return launch_lines(stream, kl_kernel<true>, kl_kernel<false>, partial, a, kind, order);
}

cudaError_t tap_lines_prepare(cudaStream_t stream, double* partial, const TapPrepareArguments& a, TapDistance kind, ChannelOrder order) {
  if (kind == TapDistance::kCosine)
    return launch_lines(stream, cosine_prepare_kernel<true>, cosine_prepare_kernel<false>, partial, a, kind, order);
  if (kind == TapDistance::kStandardisedMse)
    return launch_lines(stream, standardised_prepare_kernel<true>, standardised_prepare_kernel<false>, partial, a, kind, order);
  return launch_lines(stream, kl_prepare_kernel<true>, kl_prepare_kernel<false>, partial, a, kind, order);
}

}  // namespace actmatch::kernels::cuda
