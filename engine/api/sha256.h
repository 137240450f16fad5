// SHA-256 (FIPS 180-4): tells in a record which model and which picture it is about.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace actmatch::api {

std::string sha256_hex(std::span<const std::byte> bytes);
// Without having the whole file in memory. Throws kNotFound, kIo.
std::string sha256_of_file(const std::string& path);

}  // namespace actmatch::api
