// NumPy's .npy files, format versions 1 to 3.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "engine/core/tensor.h"

namespace actmatch {

// An array in C order and little endian. Floats of 2, 4 and 8 bytes become f32; signed integers of 1 to 8 and unsigned ones of
// 1 to 4 bytes become i64; booleans become bool. `name` stands for the file in messages. Throws kFormat for what is no .npy file or
// a damaged one, kUnsupported for Fortran order, big endian and other element types.
Tensor parse_npy(std::span<const std::byte> bytes, const std::string& name);
Tensor read_npy(const std::string& path);

// Version 1: f32 as <f4, i64 as <i8, bool as |b1.
std::vector<std::byte> encode_npy(const Tensor& tensor);
void write_npy(const std::string& path, const Tensor& tensor);  // atomically; throws kIo

}  // namespace actmatch
