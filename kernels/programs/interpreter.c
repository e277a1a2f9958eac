/* Block interpreter for optimizer programs: the scalar half, and the vector half for float and for double.
 *
 * Plain C with gcc's vector attributes; the Python side (c_path.py) checks that opcodes() agrees with its own table.
 * Compiled with neither -ffast-math nor anything that implies it: NaN, infinity and denormals keep their meaning, and no
 * start-up code changes the processor's mode for the whole process. Vectors of sin, exp and the like come from glibc's
 * libmvec by the declarations in block.c.
 */
#define _GNU_SOURCE
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef __FMA__
#include <immintrin.h>
#endif

#ifndef MVEC
#define MVEC 0
#endif
#define VECTOR_MATH __attribute__((simd("notinbranch"), const, nothrow))

#define LANES 16L  /* elements of a group: whole vectors in float and double, for every instruction set in use */
#define BLOCK 512L /* elements of a block register: a handful of them stay in the first-level cache */
#define MAX_IN 16
#define HEADER_WIDTH 11

enum { IN, IN_BLOCK, IN_FULL, IN_SCALARS, IN_LEAVES };

#define OPERATORS(X)                                                                                                   \
    X(ADD) X(SUB) X(MUL) X(DIV) X(MAX) X(MIN)                                                                          \
    X(ABS) X(COS) X(SIN) X(TAN) X(ARCSIN) X(ARCCOS) X(ARCTAN)                                                          \
    X(SINH) X(COSH) X(TANH) X(ARCSINH) X(ARCCOSH) X(ARCTANH)                                                           \
    X(EXP) X(EXP2) X(EXP10) X(EXPM1) X(LOG) X(LOG10) X(LOG2) X(LOG1P)                                                  \
    X(SQUARE) X(SQRT) X(CUBE) X(CBRT) X(SIGN) X(RECIPROCAL) X(NORM) X(INVERT) X(NEGATIVE)                              \
    X(GLOBAL_NORM) X(INTERP) X(DOT) X(COSINE_SIM) X(CLIP_BY_GLOBAL_NORM) X(POWER)                                      \
    X(PI) X(E) X(EPS) X(ORTHOGONALIZE)                                                                                 \
    X(COPY) X(SUM_PRODUCT) X(SUM_LEAVES)                                                                               \
    X(MUL_ADD) X(MUL_SUB) X(SUB_MUL) X(INTERP_SQUARE) X(DIV_SQRT)
#define ENUMERATE(NAME) OP_##NAME,
#define SPELL(NAME) #NAME " "
enum { OPERATORS(ENUMERATE) };

/* Names of the opcodes in order, separated by blanks. */
const char *opcodes(void) { return OPERATORS(SPELL); }

static double scalar_operator(int op, double x, double y) {
    switch (op) {
    case OP_ADD: return x + y;
    case OP_SUB: return x - y;
    case OP_MUL: return x * y;
    case OP_DIV: return x / (y + (y < 0 ? -1e-8 : 1e-8));
    case OP_MAX: return x != x ? x : (x > y ? x : y);
    case OP_MIN: return x != x ? x : (x < y ? x : y);
    case OP_POWER: return pow(x, y);
    case OP_ABS: return fabs(x);
    case OP_COS: return cos(x);
    case OP_SIN: return sin(x);
    case OP_TAN: return tan(x);
    case OP_ARCSIN: return asin(x);
    case OP_ARCCOS: return acos(x);
    case OP_ARCTAN: return atan(x);
    case OP_SINH: return sinh(x);
    case OP_COSH: return cosh(x);
    case OP_TANH: return tanh(x);
    case OP_ARCSINH: return asinh(x);
    case OP_ARCCOSH: return acosh(x);
    case OP_ARCTANH: return atanh(x);
    case OP_EXP: return exp(x);
    case OP_EXP2: return exp2(x);
    case OP_EXP10: return pow(10, x);
    case OP_EXPM1: return expm1(x);
    case OP_LOG: return log(fabs(x));
    case OP_LOG10: return log10(fabs(x));
    case OP_LOG2: return log2(fabs(x));
    case OP_LOG1P: return log(fabs(1 + x));
    case OP_SQUARE: return x * x;
    case OP_SQRT: return sqrt(fabs(x));
    case OP_CUBE: return x * x * x;
    case OP_CBRT: return cbrt(x);
    case OP_SIGN: return (double)(x > 0) - (double)(x < 0);
    case OP_RECIPROCAL: return 1 / (x + (x < 0 ? -1e-8 : 1e-8));
    case OP_INVERT: return 1 - x;
    case OP_NEGATIVE: return -x;
    }
    return NAN;
}

/* What is computed from scalars and leaves alone, always in double. leaves: (n_leaves, n_tensors). */
static void run_scalars(double *scalars, double *leaves, int n_tensors, const int32_t *code, const int32_t *end) {
    for (; code < end; code += 5) {
        const double *a = (code[2] >> 16) == IN_LEAVES ? leaves + (long)(code[2] & 0xffff) * n_tensors : 0;
        const double *b = code[3] >= 0 && (code[3] >> 16) == IN_LEAVES ? leaves + (long)(code[3] & 0xffff) * n_tensors : 0;
        double x = a ? 0 : scalars[code[2] & 0xffff], y = b || code[3] < 0 ? 0 : scalars[code[3] & 0xffff];
        int d = code[1] & 0xffff;
        if (code[0] == OP_SUM_LEAVES) {
            double sum = 0;
            for (int t = 0; t < n_tensors; t++) sum += a ? a[t] : x;
            scalars[d] = sum;
        } else if ((code[1] >> 16) == IN_LEAVES) {
            for (int t = 0; t < n_tensors; t++)
                leaves[(long)d * n_tensors + t] = scalar_operator(code[0], a ? a[t] : x, b ? b[t] : y);
        } else {
            scalars[d] = scalar_operator(code[0], x, y);
        }
    }
}

/* As in opcodes.py. */
#define NEWTON_SCHULZ_A 3.4445
#define NEWTON_SCHULZ_B -4.7750
#define NEWTON_SCHULZ_C 2.0315
#define NEWTON_SCHULZ_STEPS 5

/* x y + z over vectors of 32 bytes, rounded once where the instruction set has that; and x in every lane of one. */
#ifdef __FMA__
#define FUSED(x, y, z) (VECTOR)_mm256_fmadd_ps(x, y, z)
#else
#define FUSED(x, y, z) ((x) * (y) + (z))
#endif
#define SPREAD(x) (VECTOR){x, x, x, x, x, x, x, x}
#define REAL float
#define REAL_MAX FLT_MAX
#define FN(name) name##_f32
#define M(name) name##f
#include "matrix.c"
#include "block.c"
#undef REAL
#undef REAL_MAX
#undef FN
#undef M
#undef FUSED
#undef SPREAD

#ifdef __FMA__
#define FUSED(x, y, z) (VECTOR)_mm256_fmadd_pd(x, y, z)
#else
#define FUSED(x, y, z) ((x) * (y) + (z))
#endif
#define SPREAD(x) (VECTOR){x, x, x, x}
#define REAL double
#define REAL_MAX DBL_MAX
#define FN(name) name##_f64
#define M(name) name
#include "matrix.c"
#include "block.c"
