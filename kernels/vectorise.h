// How functions are marked for vector code.
#pragma once

// The compiler makes one version of such a function for each instruction set and picks at load time.
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
#define ACTMATCH_MULTIVERSION __attribute__((target_clones("arch=x86-64-v4", "arch=haswell", "default")))
#else
#define ACTMATCH_MULTIVERSION
#endif

// What such functions are made of has to be part of each version.
#if defined(__GNUC__)
#define ACTMATCH_INLINE [[gnu::always_inline]] inline
#define ACTMATCH_INLINE_LAMBDA __attribute__((always_inline))
#else
#define ACTMATCH_INLINE inline
#define ACTMATCH_INLINE_LAMBDA
#endif
