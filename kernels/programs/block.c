/* The vector half of the block interpreter, included once for float and once for double (REAL, FN, M are set).
 *
 * Every loop runs over a whole number of groups of LANES elements, which the compiler can see: it makes whole vectors
 * of them, with no remainder (and no peeling for alignment, see the flags in c_path.py). So an element's value depends
 * on its operands alone, not on where it lies in memory: that is what makes a program's result independent of its
 * neighbours, to the bit.
 */

#define LOOP(BODY)                                                                                                     \
    _Pragma("GCC ivdep") for (long i = 0; i < (n & -LANES); i++) { BODY }

/* libmvec has these as vectors; the declarations make the compiler call them so (without -ffast-math). */
#if MVEC >= 1
VECTOR_MATH REAL M(cos)(REAL);
VECTOR_MATH REAL M(sin)(REAL);
VECTOR_MATH REAL M(exp)(REAL);
VECTOR_MATH REAL M(log)(REAL);
VECTOR_MATH REAL M(pow)(REAL, REAL);
#endif
#if MVEC >= 2
VECTOR_MATH REAL M(tan)(REAL);
VECTOR_MATH REAL M(asin)(REAL);
VECTOR_MATH REAL M(acos)(REAL);
VECTOR_MATH REAL M(atan)(REAL);
VECTOR_MATH REAL M(sinh)(REAL);
VECTOR_MATH REAL M(cosh)(REAL);
VECTOR_MATH REAL M(tanh)(REAL);
VECTOR_MATH REAL M(asinh)(REAL);
VECTOR_MATH REAL M(acosh)(REAL);
VECTOR_MATH REAL M(atanh)(REAL);
VECTOR_MATH REAL M(exp2)(REAL);
VECTOR_MATH REAL M(exp10)(REAL);
VECTOR_MATH REAL M(expm1)(REAL);
VECTOR_MATH REAL M(log10)(REAL);
VECTOR_MATH REAL M(log2)(REAL);
VECTOR_MATH REAL M(cbrt)(REAL);
#endif

/* b pushed away from zero by 1e-8, to the side on which it lies. */
#define GUARD(b) ((b) + ((b) < (REAL)0 ? (REAL)-1e-8 : (REAL)1e-8))
/* NaN wins over a number, as in torch.maximum and torch.minimum. */
#define MAXIMUM(a, b) ((a) != (a) ? (a) : ((a) > (b) ? (a) : (b)))
#define MINIMUM(a, b) ((a) != (a) ? (a) : ((a) < (b) ? (a) : (b)))

#define UNARY(OP, EXPRESSION)                                                                                          \
    case OP:                                                                                                           \
        LOOP(REAL x = a[i]; d[i] = (EXPRESSION);)                                                              \
        break;

static void FN(unary)(int op, REAL *d, const REAL *a, long n) {
    switch (op) {
        UNARY(OP_ABS, M(fabs)(x))
        UNARY(OP_COS, M(cos)(x))
        UNARY(OP_SIN, M(sin)(x))
        UNARY(OP_TAN, M(tan)(x))
        UNARY(OP_ARCSIN, M(asin)(x))
        UNARY(OP_ARCCOS, M(acos)(x))
        UNARY(OP_ARCTAN, M(atan)(x))
        UNARY(OP_SINH, M(sinh)(x))
        UNARY(OP_COSH, M(cosh)(x))
        UNARY(OP_TANH, M(tanh)(x))
        UNARY(OP_ARCSINH, M(asinh)(x))
        UNARY(OP_ARCCOSH, M(acosh)(x))
        UNARY(OP_ARCTANH, M(atanh)(x))
        UNARY(OP_EXP, M(exp)(x))
        UNARY(OP_EXP2, M(exp2)(x))
        UNARY(OP_EXP10, M(exp10)(x))
        UNARY(OP_EXPM1, M(expm1)(x))
        UNARY(OP_LOG, M(log)(M(fabs)(x)))
        UNARY(OP_LOG10, M(log10)(M(fabs)(x)))
        UNARY(OP_LOG2, M(log2)(M(fabs)(x)))
        UNARY(OP_LOG1P, M(log)(M(fabs)((REAL)1 + x)))
        UNARY(OP_SQUARE, x * x)
        UNARY(OP_SQRT, M(sqrt)(M(fabs)(x)))
        UNARY(OP_CUBE, x * x * x)
        UNARY(OP_CBRT, M(cbrt)(x))
        UNARY(OP_SIGN, (REAL)(x > 0) - (REAL)(x < 0))
        UNARY(OP_RECIPROCAL, (REAL)1 / GUARD(x))
        UNARY(OP_INVERT, (REAL)1 - x)
        UNARY(OP_NEGATIVE, -x)
        UNARY(OP_COPY, x)
    }
}

/* Three forms of each: both operands vectors, the right one a scalar, the left one a scalar. */
#define BINARY(OP, EXPRESSION)                                                                                         \
    case 4 * OP:                                                                                                       \
        LOOP(REAL x = a[i]; REAL y = b[i]; d[i] = (EXPRESSION);)                                           \
        break;                                                                                                         \
    case 4 * OP + 1:                                                                                                   \
        LOOP(REAL x = a[i]; REAL y = t; d[i] = (EXPRESSION);)                                           \
        break;                                                                                                         \
    case 4 * OP + 2:                                                                                                   \
        LOOP(REAL x = s; REAL y = b[i]; d[i] = (EXPRESSION);)                                                  \
        break;

static void FN(binary)(int form, REAL *d, const REAL *a, REAL s, const REAL *b, REAL t, long n) {
    switch (form) {
        BINARY(OP_ADD, x + y)
        BINARY(OP_SUB, x - y)
        BINARY(OP_MUL, x * y)
        BINARY(OP_MAX, MAXIMUM(x, y))
        BINARY(OP_MIN, MINIMUM(x, y))
        BINARY(OP_POWER, M(pow)(x, y))
    case 4 * OP_DIV:
        LOOP(d[i] = a[i] / GUARD(b[i]);)
        break;
    case 4 * OP_DIV + 1: /* t comes guarded, in double */
        LOOP(d[i] = a[i] / t;)
        break;
    case 4 * OP_DIV + 2:
        LOOP(d[i] = s / GUARD(b[i]);)
        break;
    }
}

/* d = s x + t y with scalars s = 1 - t and t. */
static void FN(interpolate)(REAL *d, const REAL *x, const REAL *y, REAL s, REAL t, long n) {
    LOOP(d[i] = s * x[i] + t * y[i];)
}

/* The pairs of fusing.py, each with both roundings. */
static void FN(pair)(int op, REAL *d, const REAL *a, const REAL *b, double c, long n) {
    REAL s = (REAL)c, rest = (REAL)(1 - c);
    switch (op) {
    case OP_MUL_ADD:
        LOOP(d[i] = a[i] * s + b[i];)
        break;
    case OP_MUL_SUB:
        LOOP(d[i] = a[i] * s - b[i];)
        break;
    case OP_SUB_MUL:
        LOOP(d[i] = b[i] - a[i] * s;)
        break;
    case OP_INTERP_SQUARE:
        LOOP(d[i] = rest * (a[i] * a[i]) + s * b[i];)
        break;
    case OP_DIV_SQRT: /* a root is not negative: the guard lies above it */
        LOOP(d[i] = a[i] / (M(sqrt)(M(fabs)(b[i])) + (REAL)1e-8);)
        break;
    }
}

static void FN(fill)(REAL *d, REAL s, long n) {
    LOOP(d[i] = s;)
}

/* Adds a[i] b[i] to lane i mod LANES, in double: the order in which a sum is taken is fixed by the tensor's length. */
#define REDUCE(LEFT, RIGHT)                                                                                            \
    for (long i = 0; i + LANES <= n; i += LANES)                                                                       \
        for (int j = 0; j < LANES; j++) lanes[j] += (LEFT) * (RIGHT);                                                  \
    for (long i = n - n % LANES, j = 0; i + j < n; j++) lanes[j] += (LEFT) * (RIGHT);

static void FN(reduce)(double *restrict lanes, const REAL *a, double s, const REAL *b, double t, long n) {
    if (a && b) {
        REDUCE((double)a[i + j], (double)b[i + j])
    } else if (a) {
        REDUCE((double)a[i + j], t)
    } else {
        REDUCE(s, (double)b[i + j])
    }
}

/* weights -= update, or update s; not 0 where a weight is no longer finite. */
static int FN(apply)(REAL *w, const REAL *update, int scaled, REAL s, long n) {
    int bad = 0;
    if (scaled) {
        LOOP(REAL x = w[i] - update[i] * s; w[i] = x; bad |= !(M(fabs)(x) <= REAL_MAX);)
    } else if (update) {
        LOOP(REAL x = w[i] - update[i]; w[i] = x; bad |= !(M(fabs)(x) <= REAL_MAX);)
    } else {
        LOOP(REAL x = w[i] - s; w[i] = x; bad |= !(M(fabs)(x) <= REAL_MAX);)
    }
    return bad;
}

/* --- one pass over one program's parameters ----------------------------------------------------------------------- */

typedef struct {
    REAL *in[MAX_IN];   /* weights, gradients, slots: at the block in hand */
    REAL *blocks, *full; /* registers: n_block of BLOCK elements, n_full of full_stride */
    long full_stride, offset;
    const double *scalars, *leaves; /* leaves: (n_leaves, n_tensors) */
    double *sums;                   /* (n_sums, LANES) */
    int n_tensors, tensor;
} FN(frame);

static REAL *FN(vector)(const FN(frame) *f, int operand) {
    int index = operand & 0xffff;
    switch (operand >> 16) {
    case IN: return f->in[index];
    case IN_BLOCK: return f->blocks + (long)index * BLOCK;
    case IN_FULL: return f->full + index * f->full_stride + f->offset;
    }
    return 0;
}

static double FN(number)(const FN(frame) *f, int operand) {
    int index = operand & 0xffff;
    switch (operand >> 16) {
    case IN_SCALARS: return f->scalars[index];
    case IN_LEAVES: return f->leaves[(long)index * f->n_tensors + f->tensor];
    }
    return 0;
}

/* n elements of a block; registers are worked on up to the next whole group. */
static void FN(run)(const FN(frame) *f, const int32_t *code, const int32_t *end, long n) {
    long whole = (n + LANES - 1) & -LANES;
    for (; code < end; code += 5) {
        int op = code[0];
        const REAL *a = FN(vector)(f, code[2]);
        const REAL *b = code[3] < 0 ? 0 : FN(vector)(f, code[3]);
        double s = a ? 0 : FN(number)(f, code[2]);
        double t = b || code[3] < 0 ? 0 : FN(number)(f, code[3]);
        if (op == OP_SUM_PRODUCT) {
            FN(reduce)(f->sums + (long)code[4] * LANES, a, s, b, t, n);
            continue;
        }
        REAL *d = FN(vector)(f, code[1]);
        if (op >= OP_MUL_ADD) {
            FN(pair)(op, d, a, b, code[4] < 0 ? 0 : FN(number)(f, code[4]), whole);
        } else if (op == OP_INTERP) {
            double share = FN(number)(f, code[4]);
            FN(interpolate)(d, a, b, (REAL)(1 - share), (REAL)share, whole);
        } else if (code[3] < 0) {
            FN(unary)(op, d, a, whole);
        } else {
            if (op == OP_DIV && !b) t = GUARD(t);
            FN(binary)(4 * op + (!b ? 1 : !a ? 2 : 0), d, a, (REAL)s, b, (REAL)t, whole);
        }
    }
}

/* New slots, then weights; not 0 where a weight is no longer finite. What a slot holds is the program's own business:
 * programs of one weight trajectory must stay equal, however they write their state. */
static int FN(finish)(const FN(frame) *f, const int32_t *outputs, int n_slots, long n) {
    long whole = (n + LANES - 1) & -LANES;
    for (int k = 0; k < n_slots; k++) {
        REAL *slot = f->in[2 + k];
        const REAL *value = FN(vector)(f, outputs[2 + k]);
        if (!value) {
            FN(fill)(slot, (REAL)FN(number)(f, outputs[2 + k]), whole);
        } else if (value != slot) {
            FN(unary)(OP_COPY, slot, value, whole);
        }
    }
    const REAL *update = FN(vector)(f, outputs[0]);
    int scaled = outputs[1] >= 0;
    REAL number = scaled ? (REAL)FN(number)(f, outputs[1]) : update ? 0 : (REAL)FN(number)(f, outputs[0]);
    return FN(apply)(f->in[0], update, scaled, number, whole);
}

/* The block at [offset, offset + n) of one tensor. A last group that is not whole is worked on in copies, filled up
 * with its last element, so that no loop reads or writes past a row. */
static int FN(block)(FN(frame) *f, REAL *const *rows, REAL *pads, int n_in, long offset, long n, const int32_t *phase,
                     const int32_t *code, const int32_t *outputs) {
    int bad = 0;
    f->offset = offset;
    if (n % LANES) {
        for (int k = 0; k < n_in; k++) {
            REAL *pad = pads + k * LANES;
            for (long i = 0; i < LANES; i++) pad[i] = rows[k][offset + (i < n ? i : n - 1)];
            f->in[k] = pad;
        }
    } else {
        for (int k = 0; k < n_in; k++) f->in[k] = rows[k] + offset;
    }
    FN(run)(f, code + 5 * phase[2], code + 5 * phase[3], n);
    if (outputs) {
        bad = FN(finish)(f, outputs, n_in - 2, n);
        if (n % LANES)
            for (int k = 0; k < n_in; k++)
                if (k != 1)
                    for (long i = 0; i < n; i++) rows[k][offset + i] = f->in[k][i];
    }
    return bad;
}

/* Sums of one tensor: lanes folded in halves, then written to the leaves that the instructions name. */
static void FN(collect)(FN(frame) *f, double *leaves, const int32_t *code, const int32_t *end) {
    for (; code < end; code += 5) {
        if (code[0] != OP_SUM_PRODUCT) continue;
        double *lanes = f->sums + (long)code[4] * LANES;
        for (int half = LANES / 2; half; half /= 2)
            for (int j = 0; j < half; j++) lanes[j] += lanes[j + half];
        leaves[(long)(code[1] & 0xffff) * f->n_tensors + f->tensor] = lanes[0];
    }
}

static int FN(pass)(FN(frame) *f, REAL *const *rows, REAL *pads, int n_in, const int64_t *segments, const int32_t *phase,
                    const int32_t *code, const int32_t *outputs, int n_sums, double *leaves) {
    int bad = 0;
    int parts = phase[4] ? f->n_tensors : 1; /* where tensors do not matter, they are one */
    for (int part = 0; part < parts; part++) {
        long start = segments[part], end = phase[4] ? segments[part + 1] : segments[f->n_tensors];
        long whole = start + ((end - start) & -LANES);
        f->tensor = part;
        memset(f->sums, 0, sizeof(double) * LANES * n_sums);
        for (long at = start; at < whole; at += BLOCK)
            bad |= FN(block)(f, rows, pads, n_in, at, whole - at < BLOCK ? whole - at : BLOCK, phase, code, outputs);
        if (whole < end) bad |= FN(block)(f, rows, pads, n_in, whole, end - whole, phase, code, outputs);
        FN(collect)(f, leaves, code + 5 * phase[2], code + 5 * phase[3]);
    }
    return bad;
}

/* Whole-tensor code, between the scalar code of a phase and its pass. */
static void FN(run_whole)(const FN(frame) *f, REAL *const *rows, long n_parameters, const int64_t *segments,
                          const int64_t *shapes, const int32_t *code, const int32_t *end, REAL *scratch) {
    for (; code < end; code += 5) {
        REAL *d = f->full + (code[1] & 0xffff) * f->full_stride;
        const REAL *x = code[2] >> 16 == IN ? rows[code[2]] : f->full + (code[2] & 0xffff) * f->full_stride;
        for (int t = 0; t < f->n_tensors; t++) {
            long start = segments[t], n = segments[t + 1] - start;
            FN(orthogonalize)(d + start, x + start, n, shapes ? shapes[2 * t] : n, shapes ? shapes[2 * t + 1] : 1, scratch);
        }
        for (long i = n_parameters; i < f->full_stride; i++) d[i] = 0; /* a last group is read whole */
    }
}

/* One step of every program, in place; returns 0, or 1 where memory could not be had.
 *
 * header, phases, code, constants: kernels/programs/packing.py. shapes: (n_tensors, 2), or 0. weights, gradients, slots[k]: (n_programs, n_parameters).
 * schedule: (n_programs,). active: rows to work on; finite: out, 1 where weights stayed finite. */
int FN(optimizer_step)(long n_programs, long n_parameters, int n_tensors, const int64_t *segments,
                       const int64_t *shapes, const int32_t *header, const int32_t *phases, const int32_t *code,
                       const double *constants, REAL *weights, REAL *gradients, REAL *const *slots, int n_slots,
                       const double *schedule, const uint8_t *active, uint8_t *finite) {
    int n_in = 2 + n_slots, width = HEADER_WIDTH + n_slots, matrices = 0;
    long most[5] = {0, 0, 0, 0, 0}; /* block, full, scalars, leaves, sums */
    if (n_in > MAX_IN) return 2;
    for (long p = 0; p < n_programs; p++) {
        const int32_t *h = header + p * width;
        int counts[5] = {h[2], h[3], h[4], h[5], h[8]};
        for (int k = 0; k < 5; k++) most[k] = counts[k] > most[k] ? counts[k] : most[k];
        for (int k = 0; k < h[0]; k++) matrices |= phases[5 * (h[1] + k) + 1] < phases[5 * (h[1] + k) + 2];
    }
    long stride = (n_parameters + 2 * LANES - 1) & -LANES;
    long scratch = matrices && shapes ? FN(orthogonalize_scratch)(shapes, n_tensors) : 0;
    long reals = most[0] * BLOCK + most[1] * stride + n_in * LANES + scratch;
    long doubles = (most[2] + LANES) / LANES * LANES + most[4] * LANES + most[3] * n_tensors;
    char *memory = 0;
    if (posix_memalign((void **)&memory, 64, sizeof(double) * doubles + sizeof(REAL) * reals)) return 1;

    double *scalars = (double *)memory;
    FN(frame) f = {.sums = scalars + (most[2] + LANES) / LANES * LANES, .full_stride = stride, .n_tensors = n_tensors};
    double *leaves = f.sums + most[4] * LANES;
    REAL *pads = (REAL *)(leaves + most[3] * n_tensors);
    f.blocks = pads + n_in * LANES;
    f.full = f.blocks + most[0] * BLOCK;
    f.scalars = scalars;
    f.leaves = leaves;
    for (long p = 0; p < n_programs; p++) {
        const int32_t *h = header + p * width;
        finite[p] = 0;
        if (!active[p]) continue;
        REAL *rows[MAX_IN] = {weights + p * n_parameters, gradients + p * n_parameters};
        for (int k = 0; k < n_slots; k++) rows[2 + k] = slots[k] + p * n_parameters;
        scalars[0] = schedule[p];
        for (int k = 0; k < h[7]; k++) scalars[1 + k] = constants[h[6] + k];
        for (int t = 0; t < n_tensors; t++) leaves[t] = (double)(segments[t + 1] - segments[t]);
        int bad = 0;
        for (int k = 0; k < h[0]; k++) {
            const int32_t *phase = phases + 5 * (h[1] + k);
            run_scalars(scalars, leaves, n_tensors, code + 5 * phase[0], code + 5 * phase[1]);
            FN(run_whole)(&f, rows, n_parameters, segments, shapes, code + 5 * phase[1], code + 5 * phase[2],
                          f.full + most[1] * stride);
            bad |= FN(pass)(&f, rows, pads, n_in, segments, phase, code, k == h[0] - 1 ? h + 9 : 0, h[8], leaves);
        }
        finite[p] = !bad;
    }
    free(memory);
    return 0;
}
