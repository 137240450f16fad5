// Marks functions that run on the CPU and in CUDA kernels.
#pragma once

#if defined(__CUDACC__)
#define ACTMATCH_HD __host__ __device__
#else
#define ACTMATCH_HD
#endif
