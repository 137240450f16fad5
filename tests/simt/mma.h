// The two instructions of tensor-core kernels, for the emulator: what the PTX manual says lies in which lane, done lane by lane. All 32
// lanes call together.
#pragma once

#include "simt.h"

namespace simt {

// Four 8x8 matrices of 16-bit numbers. Lane l gives the address of row l % 8 of matrix l / 8, a multiple of 16 bytes, and gets
// registers[i] = matrix i at (l / 4, 2 (l % 4)) and the column behind, the former in the low half; `transposed`: of the matrix's transpose.
void load_matrices(uint32_t (&registers)[4], const void* row, bool transposed, Place place);

// d (16 x 8, float) += a (16 x 16, bfloat16) * b (16 x 8, bfloat16). With g = l / 4 and t = l % 4, lane l holds
//   a: rows g, g + 8, g, g + 8, columns 2t and 2t + 1, in the last two registers 8 further
//   b: rows 2t and 2t + 1, in the second register 8 further; column g
//   d: (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1)
void multiply_matrices(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Place place);

}  // namespace simt
