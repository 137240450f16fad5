// Measures the claims of a result.json again.
#pragma once

#include <string>
#include <vector>

namespace actmatch::api {

struct Claim {
  std::string name, stated, found;
  bool ok = false;
};

struct VerifySettings {
  std::string device = "auto";
  int threads = 0;
  std::string precision;     // empty: as recorded where the device has it, otherwise fp32
  std::string model, image;  // empty: as recorded
};

// Throws where the record, the mask, the model or the picture cannot be read or do not fit together.
std::vector<Claim> verify_record(const std::string& path, const VerifySettings& settings);

}  // namespace actmatch::api
