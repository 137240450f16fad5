#include "kernels/mask.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "kernels/top_select.h"
#include "kernels/vector_math.h"

namespace actmatch::kernels {

template <class T>
void mask_activate_ref(T* m, const T* s, const T* threshold, const T* inverse_temperature, int64_t B, int64_t HW) {
  for (int64_t b = 0; b < B; ++b, m += HW, s += HW) {
    const T t = threshold[b], scale = inverse_temperature[b];
    for (int64_t i = 0; i < HW; ++i) m[i] = T(1) / (T(1) + exp_vec((t - s[i]) * scale));
  }
}

template <class T>
void mask_activate_backward_ref(T* ds, const T* dm, const T* m, const T* inverse_temperature, int64_t B, int64_t HW, bool accumulate) {
  for (int64_t b = 0; b < B; ++b, ds += HW, dm += HW, m += HW) {
    const T scale = inverse_temperature[b];
    if (accumulate) {
      for (int64_t i = 0; i < HW; ++i) ds[i] += dm[i] * m[i] * (T(1) - m[i]) * scale;
    } else {
      for (int64_t i = 0; i < HW; ++i) ds[i] = dm[i] * m[i] * (T(1) - m[i]) * scale;
    }
  }
}

template <class T>
void hard_mask_ref(T* h, const T* s, const T* threshold, int64_t B, int64_t HW) {
  for (int64_t b = 0; b < B; ++b, h += HW, s += HW) {
    const T t = threshold[b];
    for (int64_t i = 0; i < HW; ++i) h[i] = s[i] > t ? T(1) : T(0);
  }
}

template <class T>
void top_fraction_mask_ref(T* h, T* threshold, const T* s, const T* area, int64_t B, int64_t HW) {
  for (int64_t b = 0; b < B; ++b) {
    const T* row = s + b * HW;
    const int64_t k = top_count(static_cast<double>(area[b]), HW);
    if (k == 0) {
      if (h) std::fill_n(h + b * HW, HW, T(0));
      if (threshold) threshold[b] = max_of(row, HW);
      continue;
    }
    const TopSelection<T> selection = select_top(row, HW, k);
    if (h) {
      T* mask = h + b * HW;
      visit_top(row, HW, selection, [mask](int64_t i, bool inside) { mask[i] = inside ? T(1) : T(0); });
    }
    if (threshold) {
      const T kept = value_of_key<T>(selection.key);
      OrderKey<T> below = 0;
      int64_t ties = 0;
      for (int64_t i = 0; i < HW; ++i) {
        const OrderKey<T> key = order_key(row[i]);
        ties += key == selection.key;
        if (key < selection.key && key > below) below = key;
      }
      const bool tie_dropped = ties > selection.ties;
      threshold[b] = (tie_dropped || below == 0) ? kept : kept / 2 + value_of_key<T>(below) / 2;
    }
  }
}

namespace {

// The background of channel c of image b: `values` for an image, otherwise one colour.
template <class T>
struct ChannelBackground {
  ChannelBackground(const ComposePass<T>& pass, int64_t b, int64_t c, int64_t C, int64_t HW) {
    switch (pass.layout) {
      case BackgroundLayout::kColour: colour = pass.background[c]; break;
      case BackgroundLayout::kColourPerItem: colour = pass.background[b * C + c]; break;
      case BackgroundLayout::kImage: values = pass.background + c * HW; break;
      case BackgroundLayout::kImagePerItem: values = pass.background + (b * C + c) * HW; break;
    }
  }
  const T* values = nullptr;
  T colour = 0;
};

// A channel of an image in either order; the step between its positions is a constant where it is 1, so that loops over it vectorise.
template <class T, class Run>
void with_channel(T* image, ChannelOrder order, int64_t c, int64_t C, int64_t HW, Run run) {
  if (order == ChannelOrder::kFirst)
    run(image + c * HW, std::integral_constant<int64_t, 1>());
  else
    run(image + c, C);
}

// Written as a choice of weights, so that a mask of exactly 0 or 1 copies a source bit for bit.
template <class T, class Step, class Background>
void compose_row(T* out, Step step, const T* x, const T* mask, Background background, int64_t HW, bool complement) {
  if (complement) {
    for (int64_t i = 0; i < HW; ++i) out[i * step] = (T(1) - mask[i]) * x[i] + mask[i] * background(i);
  } else {
    for (int64_t i = 0; i < HW; ++i) out[i * step] = mask[i] * x[i] + (T(1) - mask[i]) * background(i);
  }
}

template <class T, class Step, class Background>
void gather_row(T* dmask, const T* dout, Step step, const T* x, Background background, int64_t HW, bool complement) {
  if (complement) {
    for (int64_t i = 0; i < HW; ++i) dmask[i] -= dout[i * step] * (x[i] - background(i));
  } else {
    for (int64_t i = 0; i < HW; ++i) dmask[i] += dout[i * step] * (x[i] - background(i));
  }
}

}  // namespace

template <class T>
void compose_ref(T* out, const T* x, const ComposePass<T>* passes, ChannelOrder order, int64_t B, int64_t P, int64_t C, int64_t HW) {
  for (int64_t p = 0; p < P; ++p) {
    const ComposePass<T>& pass = passes[p];
    for (int64_t b = 0; b < B; ++b) {
      for (int64_t c = 0; c < C; ++c) {
        const ChannelBackground<T> background(pass, b, c, C, HW);
        const T* x_row = x + (b * C + c) * HW;
        const T* mask_row = pass.mask + b * HW;
        with_channel(out + (p * B + b) * C * HW, order, c, C, HW, [&](T* out_row, auto step) {
          if (background.values) {
            compose_row(
                out_row, step, x_row, mask_row, [v = background.values](int64_t i) { return v[i]; }, HW, pass.complement);
          } else {
            compose_row(
                out_row, step, x_row, mask_row, [v = background.colour](int64_t) { return v; }, HW, pass.complement);
          }
        });
      }
    }
  }
}

template <class T>
void compose_backward_ref(T* dmask, const T* dout, const T* x, const ComposePass<T>* passes, ChannelOrder order, int64_t B, int64_t P,
                          int64_t C, int64_t HW, bool accumulate) {
  if (!accumulate) std::fill_n(dmask, B * HW, T(0));
  for (int64_t p = 0; p < P; ++p) {
    const ComposePass<T>& pass = passes[p];
    for (int64_t b = 0; b < B; ++b) {
      for (int64_t c = 0; c < C; ++c) {
        const ChannelBackground<T> background(pass, b, c, C, HW);
        const T* x_row = x + (b * C + c) * HW;
        T* dmask_row = dmask + b * HW;
        with_channel(dout + (p * B + b) * C * HW, order, c, C, HW, [&](const T* dout_row, auto step) {
          if (background.values) {
            gather_row(
                dmask_row, dout_row, step, x_row, [v = background.values](int64_t i) { return v[i]; }, HW, pass.complement);
          } else {
            gather_row(
                dmask_row, dout_row, step, x_row, [v = background.colour](int64_t) { return v; }, HW, pass.complement);
          }
        });
      }
    }
  }
}

#define ACTMATCH_INSTANTIATE(T)                                                                                                          \
  template void mask_activate_ref<T>(T*, const T*, const T*, const T*, int64_t, int64_t);                                                \
  template void mask_activate_backward_ref<T>(T*, const T*, const T*, const T*, int64_t, int64_t, bool);                                 \
  template void hard_mask_ref<T>(T*, const T*, const T*, int64_t, int64_t);                                                              \
  template void top_fraction_mask_ref<T>(T*, T*, const T*, const T*, int64_t, int64_t);                                                  \
  template void compose_ref<T>(T*, const T*, const ComposePass<T>*, ChannelOrder, int64_t, int64_t, int64_t, int64_t);                   \
  template void compose_backward_ref<T>(T*, const T*, const T*, const ComposePass<T>*, ChannelOrder, int64_t, int64_t, int64_t, int64_t, \
                                        bool);
ACTMATCH_INSTANTIATE(float)
ACTMATCH_INSTANTIATE(double)
#undef ACTMATCH_INSTANTIATE

}  // namespace actmatch::kernels
