#include "engine/api/sha256.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <vector>

#include "engine/core/error.h"

namespace actmatch::api {
namespace {

// The standard defines its constants as the first 32 fractional bits of the square roots of the first 8 primes and of the cube roots of the
// first 64. A double holds 53 bits, of which the whole part takes at most 5.
struct Constants {
  std::array<uint32_t, 8> start{};
  std::array<uint32_t, 64> round{};
  Constants() {
    size_t found = 0;
    for (uint32_t n = 2; found < round.size(); ++n) {
      bool prime = true;
      for (uint32_t d = 2; d * d <= n; ++d) prime = prime && n % d != 0;
      if (!prime) continue;
      if (found < start.size()) start[found] = fraction(std::sqrt(static_cast<double>(n)));
      round[found++] = fraction(std::cbrt(static_cast<double>(n)));
    }
  }
  static uint32_t fraction(double v) { return static_cast<uint32_t>((v - std::floor(v)) * 4294967296.0); }
};

void compress(std::array<uint32_t, 8>& state, const std::byte* block, const std::array<uint32_t, 64>& k) {
  std::array<uint32_t, 64> w;
  for (size_t i = 0; i < 16; ++i) {
    w[i] = 0;
    for (size_t b = 0; b < 4; ++b) w[i] = w[i] << 8 | static_cast<uint32_t>(block[4 * i + b]);
  }
  for (size_t i = 16; i < 64; ++i) {
    const uint32_t a = std::rotr(w[i - 15], 7) ^ std::rotr(w[i - 15], 18) ^ w[i - 15] >> 3;
    const uint32_t b = std::rotr(w[i - 2], 17) ^ std::rotr(w[i - 2], 19) ^ w[i - 2] >> 10;
    w[i] = w[i - 16] + a + w[i - 7] + b;
  }
  auto [a, b, c, d, e, f, g, h] = state;
  for (size_t i = 0; i < 64; ++i) {
    const uint32_t choice = (e & f) ^ (~e & g), majority = (a & b) ^ (a & c) ^ (b & c);
    const uint32_t up = h + (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)) + choice + k[i] + w[i];
    const uint32_t down = (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)) + majority;
    h = g, g = f, f = e, e = d + up, d = c, c = b, b = a, a = up + down;
  }
  const std::array<uint32_t, 8> add{a, b, c, d, e, f, g, h};
  for (size_t i = 0; i < 8; ++i) state[i] += add[i];
}

const Constants& constants() {
  static const Constants all;
  return all;
}

// `bytes` is a multiple of 64.
void add_blocks(std::array<uint32_t, 8>& state, std::span<const std::byte> bytes) {
  for (size_t at = 0; at < bytes.size(); at += 64) compress(state, bytes.data() + at, constants().round);
}

// The rest, a one bit, zeros, and the length in bits.
std::string finish(std::array<uint32_t, 8>& state, std::span<const std::byte> rest, uint64_t total) {
  std::array<std::byte, 128> tail{};
  std::copy(rest.begin(), rest.end(), tail.begin());
  tail[rest.size()] = std::byte{0x80};
  const size_t tail_size = rest.size() < 56 ? 64 : 128;
  const uint64_t bits = total * 8;
  for (size_t i = 0; i < 8; ++i) tail[tail_size - 1 - i] = static_cast<std::byte>(bits >> (8 * i) & 255);
  add_blocks(state, std::span(tail).first(tail_size));
  std::string hex;
  for (uint32_t word : state)
    for (int shift = 28; shift >= 0; shift -= 4) hex += "0123456789abcdef"[word >> shift & 15];
  return hex;
}

}  // namespace

std::string sha256_hex(std::span<const std::byte> bytes) {
  std::array<uint32_t, 8> state = constants().start;
  const size_t whole = bytes.size() / 64 * 64;
  add_blocks(state, bytes.first(whole));
  return finish(state, bytes.subspan(whole), bytes.size());
}

std::string sha256_of_file(const std::string& path) {
  std::error_code error;
  if (std::filesystem::exists(path, error) && !std::filesystem::is_regular_file(path, error))  // opening a pipe would wait for its writer
    throw Error(ErrorCode::kInvalidArgument, "'" + path + "' is a folder, pipe or device; name a file");
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(ErrorCode::kNotFound, "'" + path + "' cannot be read; check path and permissions");
  std::array<uint32_t, 8> state = constants().start;
  std::vector<std::byte> part(size_t{1} << 20);
  uint64_t total = 0;
  for (;;) {
    file.read(reinterpret_cast<char*>(part.data()), static_cast<std::streamsize>(part.size()));
    const auto got = static_cast<size_t>(file.gcount());
    if (file.bad()) throw Error(ErrorCode::kIo, "'" + path + "' cannot be read to its end");
    total += got;
    const std::span<const std::byte> bytes(part.data(), got);
    if (got < part.size()) {
      add_blocks(state, bytes.first(got / 64 * 64));
      return finish(state, bytes.subspan(got / 64 * 64), total);
    }
    add_blocks(state, bytes);
  }
}

}  // namespace actmatch::api
