// What a list of figures comes to: mean, median, and how sure the mean is.
#pragma once

#include <cstdint>
#include <vector>

namespace actmatch {

struct Statistics {
  int64_t count = 0;
  double mean = 0, median = 0;
  double low = 0, high = 0;  // 95 % interval of the mean
};

// The interval is the percentile bootstrap's (Efron 1979): 2000 samples of as many figures, drawn with replacement by Philox with a fixed
// key, so that the same figures give the same interval. Quantiles lie between neighbours linearly. Of fewer than two figures the interval
// is the mean itself. `values` must be finite; of none everything is 0.
Statistics statistics_of(const std::vector<double>& values);

// Between neighbours linearly; `sorted` ascending and not empty, share 0..1.
double quantile_of(const std::vector<double>& sorted, double share);

}  // namespace actmatch
