// SHA-256 (FIPS 180-4): tells in a record which model and which picture it is about.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace actmatch::api {

std::string sha256_hex(std::span<const std::byte> bytes);

}  // namespace actmatch::api
