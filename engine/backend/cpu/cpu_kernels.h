#pragma once

#include <memory>

#include "engine/backend/kernels.h"

namespace actmatch::cpu {

std::unique_ptr<Kernels> make_cpu_kernels();

}  // namespace actmatch::cpu
