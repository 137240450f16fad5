// Philox4x32-10, the counter-based random generator of Salmon, Moraes, Dror and Shaw ("Parallel random numbers: as easy as 1, 2, 3",
// 2011): 128 random bits as a pure function of a 128-bit counter and a 64-bit key. No state, so any number can be made anywhere, in any
// order, on any device.
//
// What the engine puts in (each word 32 bits):
//   key      word 0 = low half of the seed, word 1 = high half
//   counter  word 0 = block index inside the field (each block is four words)
//            word 1 = draw (which background, or which step)
//            word 2 = stream + 256 * field
//            word 3 = image
// Streams keep purposes apart: nothing that one of them draws says anything about another.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/host_device.h"

namespace actmatch::kernels {

enum class RandomStream : uint32_t {
  kOptimise = 0,    // backgrounds met while the mask is optimised
  kPrune = 1,       // backgrounds that pruning is checked on
  kCertify = 2,     // backgrounds that claims are made on
  kInitialise = 3,  // first weights of a generator
  kMethod = 4,      // what a method draws for its map: masks, noise
  kMetric = 5,      // what a metric draws
};

struct PhiloxWords {
  uint32_t word[4];
};

ACTMATCH_HD inline PhiloxWords philox4x32_10(PhiloxWords counter, uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53u} * counter.word[0];
    const uint64_t b = uint64_t{0xCD9E8D57u} * counter.word[2];
    counter = {{static_cast<uint32_t>(b >> 32) ^ counter.word[1] ^ key0, static_cast<uint32_t>(b),
                static_cast<uint32_t>(a >> 32) ^ counter.word[3] ^ key1, static_cast<uint32_t>(a)}};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

// Block `index` of a field, laid out as said above. stream < 256.
ACTMATCH_HD inline PhiloxWords random_block(uint64_t seed, RandomStream stream, uint32_t field, uint32_t image, uint32_t draw,
                                            uint32_t index) {
  return philox4x32_10({{index, draw, static_cast<uint32_t>(stream) + 256u * field, image}}, static_cast<uint32_t>(seed),
                       static_cast<uint32_t>(seed >> 32));
}

// (word + 1/2) / 2^32: exact in double, never 0 or 1.
ACTMATCH_HD inline double uniform_of(uint32_t word) { return (static_cast<double>(word) + 0.5) * 0x1p-32; }

// Two independent N(0, 1) numbers by Box-Muller, in double: r cos(2 pi v), r sin(2 pi v) with r = sqrt(-2 ln u).
struct NormalPair {
  double first, second;
};
ACTMATCH_HD inline NormalPair normal_pair(uint32_t word_u, uint32_t word_v) {
  const double radius = std::sqrt(-2.0 * std::log(uniform_of(word_u)));
  const double angle = 6.283185307179586477 * uniform_of(word_v);
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

// The four normal numbers of a block: words 0 and 1 give numbers 0 and 1, words 2 and 3 give numbers 2 and 3. Number i of a field is
// number i % 4 of block i / 4.
struct NormalBlock {
  double value[4];
};
ACTMATCH_HD inline NormalBlock normal_block(const PhiloxWords& words) {
  const NormalPair a = normal_pair(words.word[0], words.word[1]), b = normal_pair(words.word[2], words.word[3]);
  return {{a.first, a.second, b.first, b.second}};
}

}  // namespace actmatch::kernels
