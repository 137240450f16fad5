#include "mma.h"

#include <bit>
#include <cstring>

namespace simt {
namespace {

// What the lanes of a warp show each other.
struct Shown {
  const unsigned char* row[32];
  uint32_t a[32][4], b[32][2];
};
Shown shown[32];  // one a warp of the block

Shown& shown_of_warp() {
  const Index &t = running.thread, &size = running.block_size;
  return shown[(t.x + size.x * (t.y + size.y * t.z)) / 32];
}
void meet(Place place) { warp_operation(WarpOp::kSync, 0xffffffffu, 0, 0, place); }

float number(uint32_t pair, int half) { return std::bit_cast<float>(half == 0 ? pair << 16 : pair & 0xffff0000u); }

}  // namespace

void load_matrices(uint32_t (&registers)[4], const void* row, bool transposed, Place place) {
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0) fail("a matrix's row does not begin at a multiple of 16 bytes", place);
  Shown& s = shown_of_warp();
  const int l = lane(), g = l / 4, t = l % 4;
  s.row[l] = static_cast<const unsigned char*>(row);
  meet(place);
  for (int i = 0; i < 4; ++i) {
    uint16_t low, high;
    std::memcpy(&low, transposed ? s.row[8 * i + 2 * t] + 2 * g : s.row[8 * i + g] + 4 * t, 2);
    std::memcpy(&high, transposed ? s.row[8 * i + 2 * t + 1] + 2 * g : s.row[8 * i + g] + 4 * t + 2, 2);
    registers[i] = low | static_cast<uint32_t>(high) << 16;
  }
  meet(place);
}

void multiply_matrices(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Place place) {
  Shown& s = shown_of_warp();
  const int l = lane();
  std::memcpy(s.a[l], a, sizeof a);
  std::memcpy(s.b[l], b, sizeof b);
  meet(place);
  for (int i = 0; i < 4; ++i) {
    const int row = l / 4 + 8 * (i / 2), column = 2 * (l % 4) + i % 2;
    float sum = 0;
    for (int k = 0; k < 16; ++k) {
      const int t = k % 8 / 2, behind = k / 8;
      sum += number(s.a[row % 8 * 4 + t][row / 8 + 2 * behind], k % 2) * number(s.b[column * 4 + t][behind], k % 2);
    }
    d[i] += sum;
  }
  meet(place);
}

}  // namespace simt
