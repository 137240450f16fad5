// The one place where the benchmark comes by its device.
#pragma once

#include <memory>
#include <string>

#include "engine/backend/backend.h"

namespace actmatch::bench {

// "cpu", with fp32 only. Throws kUnsupported for what this program does not have.
std::unique_ptr<Backend> make_backend(const std::string& device, Precision precision, int threads);

}  // namespace actmatch::bench
