// actmatch_device_json [device]: prints what cuDNN knows of a GPU, as JSON. From that text plans can be asked for on machines without a GPU
// (tests/data/cuda/).
#include <charconv>
#include <cstdio>
#include <cstring>
#include <exception>

#include "engine/backend/cuda/cudnn/device.h"

int main(int argc, char** argv) {
  int device = 0;
  if (argc > 2) {
    std::fprintf(stderr, "usage: actmatch_device_json [device]\n");
    return 2;
  }
  if (argc == 2) {
    const char* end = argv[1] + std::strlen(argv[1]);
    const auto [stop, error] = std::from_chars(argv[1], end, device);
    if (error != std::errc() || stop != end || device < 0) {
      std::fprintf(stderr, "actmatch_device_json: '%s' is not the number of a device\n", argv[1]);
      return 2;
    }
  }
  try {
    std::printf("%s\n", actmatch::cuda::DeviceDescription::of_device(device).to_json().c_str());
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "actmatch_device_json: %s\n", error.what());
    return 1;
  }
}
