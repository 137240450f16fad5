// Wall and processor time side by side: on a machine that does other work too, only the second can be compared.
#pragma once

#include <time.h>

#include <algorithm>
#include <chrono>
#include <vector>

namespace actmatch::bench {

struct Times {
  double wall = 0, cpu = 0;  // seconds; cpu is the sum over the process's threads
};

inline Times now() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return {std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(),
          static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec)};
}

inline Times operator-(Times a, Times b) { return {a.wall - b.wall, a.cpu - b.cpu}; }

inline double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

inline Times median(const std::vector<Times>& values) {
  std::vector<double> wall, cpu;
  for (const Times& t : values) wall.push_back(t.wall), cpu.push_back(t.cpu);
  return {median(std::move(wall)), median(std::move(cpu))};
}

}  // namespace actmatch::bench
