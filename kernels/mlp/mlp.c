/* Dense networks, one candidate after the other, each whole in the cache: forward, softmax, backward.
 *
 * A candidate's numbers come from its own weights and the shared batch by a fixed sequence of operations, so they cannot
 * depend on what else is in the call. Products keep a tile of 6 rows x 2 vectors of the result in registers and run over
 * the inner dimension in order; multiplications and additions are fused where the instruction set can (x86-64-v3).
 * Compiled without -ffast-math: NaN and infinities keep their meaning.
 */
#define _GNU_SOURCE
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifndef MVEC
#define MVEC 0
#endif
#if MVEC >= 1
__attribute__((simd("notinbranch"), const, nothrow)) float expf(float);
__attribute__((simd("notinbranch"), const, nothrow)) double exp(double);
__attribute__((simd("notinbranch"), const, nothrow)) float logf(float);
__attribute__((simd("notinbranch"), const, nothrow)) double log(double);
#endif
#ifdef __clang__
#pragma clang fp contract(fast)
#else
#pragma GCC optimize("fp-contract=fast")
#endif

#define ROWS 6 /* of a tile: with two vectors each, 12 of the 16 registers */
#define MAX_LAYERS 16

#define REAL float
#define FN(name) name##_f32
#define M(name) name##f
#include "real.c"
#undef REAL
#undef FN
#undef M

#define REAL double
#define FN(name) name##_f64
#define M(name) name
#include "real.c"
