// How wide the gradient at the mask's logits is smoothed in each step, as the table that kernels/gaussian_smooth.h reads.
#pragma once

#include <cstdint>
#include <span>

#include "engine/explain/device_buffer.h"
#include "kernels/gaussian_smooth.h"

namespace actmatch {

class SmoothingTable {
 public:
  SmoothingTable() = default;
  // A row for each sigma, in pixels; the last one serves the steps behind it. Below 0.2 a Gaussian is narrower than a pixel: nothing
  // happens.
  SmoothingTable(Backend& backend, std::span<const double> sigmas);
  bool idle() const { return idle_; }  // nothing happens in any step
  kernels::SmoothTable<float> view() const { return {taps_.data(), radius_.data(), radius_.count(), stride_}; }

 private:
  bool idle_ = true;
  int64_t stride_ = 0;
  DeviceBuffer taps_;
  DeviceArray<int32_t> radius_;
};

}  // namespace actmatch
