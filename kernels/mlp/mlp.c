/* Dense networks, one candidate after the other, each whole in the cache: forward, softmax, backward, and whole spans of
 * training with an optimizer that the caller brings.
 *
 * Activations lie example by example within a unit, (units, batch): so layers read weights where they are, the few
 * classes cost no padding, and the softmax works on whole vectors of examples.
 *
 * A candidate's numbers come from its own weights and the shared batch by a fixed sequence of operations, so they cannot
 * depend on what else is in the call. Multiplications and additions are fused where the instruction set can (x86-64-v3).
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
__attribute__((simd("notinbranch"), const, nothrow)) double exp(double);
__attribute__((simd("notinbranch"), const, nothrow)) float logf(float);
__attribute__((simd("notinbranch"), const, nothrow)) double log(double);
#endif
#ifdef __clang__
#pragma clang fp contract(fast)
#else
#pragma GCC optimize("fp-contract=fast")
#endif

#ifdef __AVX__
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))
#define ROWS 6 /* of a tile: with two vectors each, 12 of the 16 registers */
#define MAX_LAYERS 16
#define SPAN_BYTES (1L << 19) /* of prepared batches that candidates share: half of a second-level cache */

#define REAL float
#define BITS int32_t
#define LANES 8L
#define LANES_OF_32_BYTES 8
#define EVEN 0, 2, 8, 10, 4, 6, 12, 14
#define ODD 1, 3, 9, 11, 5, 7, 13, 15
#define LOWER 0, 1, 2, 3, 8, 9, 10, 11
#define UPPER 4, 5, 6, 7, 12, 13, 14, 15
#define LARGER(a, b) (VECTOR) _mm256_max_ps((__m256)(a), (__m256)(b))
#define FN(name) name##_f32
#define M(name) name##f
#include "tiles.c"
#include "real.c"
#undef REAL
#undef BITS
#undef LANES
#undef LANES_OF_32_BYTES
#undef EVEN
#undef ODD
#undef LOWER
#undef UPPER
#undef LARGER
#undef FN
#undef M

#define REAL double
#define BITS int64_t
#define LANES 4L
#define LANES_OF_32_BYTES 4
#define EVEN 0, 4, 2, 6
#define ODD 1, 5, 3, 7
#define LOWER 0, 1, 4, 5
#define UPPER 2, 3, 6, 7
#define LARGER(a, b) (VECTOR) _mm256_max_pd((__m256d)(a), (__m256d)(b))
#define FN(name) name##_f64
#define M(name) name
#include "tiles.c"
#include "real.c"
