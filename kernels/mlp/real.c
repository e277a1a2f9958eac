/* The networks in one precision, included once for float and once for double (REAL, FN, M are set). */

#define VECTOR FN(vector)
#define MASK FN(mask)
#define LOWEST ((REAL)-1e30)
#define TILE (2 * LANES) /* columns of a tile; widths are padded to a multiple of it */
#define LANES ((long)(32 / sizeof(REAL)))
typedef REAL VECTOR __attribute__((vector_size(32), aligned(8), may_alias));
typedef __typeof__((VECTOR){0} > (VECTOR){0}) MASK;

static long FN(padded)(long width) { return (width + TILE - 1) / TILE * TILE; }

/* `rows` rows of c = a b + start, for one tile of columns. `rows` is a constant at every call. */
static inline __attribute__((always_inline)) void FN(tile)(int rows, long k, const REAL *a, long row, long step,
                                                            const REAL *b, long width, REAL *c, long out,
                                                            const REAL *start) {
    VECTOR left[ROWS], right[ROWS], zero = {0};
    for (int r = 0; r < rows; r++) {
        left[r] = start ? *(const VECTOR *)start : zero;
        right[r] = start ? *(const VECTOR *)(start + LANES) : zero;
    }
    for (long p = 0; p < k; p++, a += step, b += width) {
        VECTOR first = *(const VECTOR *)b, second = *(const VECTOR *)(b + LANES);
        for (int r = 0; r < rows; r++) {
            REAL value = a[r * row];
            left[r] += first * value;
            right[r] += second * value;
        }
    }
    for (int r = 0; r < rows; r++) {
        *(VECTOR *)(c + r * out) = left[r];
        *(VECTOR *)(c + r * out + LANES) = right[r];
    }
}

/* c (m x n, rows `out` apart) = a b + bias: a is m x k with a[i, p] at i * row + p * step, b is k x n with rows `width`
 * apart; n is a multiple of TILE; bias (n,) or NULL. */
static void FN(product)(long m, long n, long k, const REAL *a, long row, long step, const REAL *b, long width, REAL *c,
                        long out, const REAL *bias) {
    for (long j = 0; j < n; j += TILE) {
        const REAL *start = bias ? bias + j : NULL;
        long i = 0;
        for (; i + ROWS <= m; i += ROWS)
            FN(tile)(ROWS, k, a + i * row, row, step, b + j, width, c + i * out + j, out, start);
        const REAL *rest = a + i * row;
        REAL *to = c + i * out + j;
        switch (m - i) {
        case 5: FN(tile)(5, k, rest, row, step, b + j, width, to, out, start); break;
        case 4: FN(tile)(4, k, rest, row, step, b + j, width, to, out, start); break;
        case 3: FN(tile)(3, k, rest, row, step, b + j, width, to, out, start); break;
        case 2: FN(tile)(2, k, rest, row, step, b + j, width, to, out, start); break;
        case 1: FN(tile)(1, k, rest, row, step, b + j, width, to, out, start); break;
        }
    }
}

/* What one candidate needs, in one piece of memory that all candidates of a call use in turn. */
typedef struct {
    int layers;
    long batch;
    const long *sizes;           /* layers + 1 widths */
    long pad[MAX_LAYERS + 1];    /* padded widths */
    REAL *matrix[MAX_LAYERS];    /* inputs x padded outputs */
    REAL *transposed[MAX_LAYERS]; /* outputs x padded inputs; not of the first layer */
    REAL *bias[MAX_LAYERS];      /* padded outputs */
    REAL *value[MAX_LAYERS + 1]; /* batch x padded width, after each layer; [0] is not used */
    REAL *delta[2];              /* batch x padded width */
    REAL *gradient;              /* inputs x padded outputs of the layer at work */
    REAL *total;                 /* padded batch */
    void *memory;
} FN(network);

static int FN(prepare)(FN(network) * net, int layers, const long *sizes, long batch) {
    net->layers = layers;
    net->batch = batch;
    net->sizes = sizes;
    long widest = 0, largest = 0, count = 0;
    for (int l = 0; l <= layers; l++) {
        net->pad[l] = FN(padded)(sizes[l]);
        if (net->pad[l] > widest) widest = net->pad[l];
    }
    for (int l = 0; l < layers; l++) {
        long size = sizes[l] * net->pad[l + 1];
        if (size > largest) largest = size;
        count += size + sizes[l + 1] * net->pad[l] + net->pad[l + 1] + batch * net->pad[l + 1];
    }
    count += 2 * batch * widest + largest + FN(padded)(batch);
    if (posix_memalign(&net->memory, 64, (size_t)count * sizeof(REAL))) return 1;
    memset(net->memory, 0, (size_t)count * sizeof(REAL));
    REAL *at = net->memory;
    for (int l = 0; l < layers; l++) {
        net->matrix[l] = at, at += sizes[l] * net->pad[l + 1];
        net->transposed[l] = at, at += sizes[l + 1] * net->pad[l];
        net->bias[l] = at, at += net->pad[l + 1];
        net->value[l + 1] = at, at += batch * net->pad[l + 1];
    }
    net->delta[0] = at, at += batch * widest;
    net->delta[1] = at, at += batch * widest;
    net->gradient = at, at += largest;
    net->total = at;
    return 0;
}

/* Copies weights in; the padding of hidden layers is zero from the start and stays so. */
static void FN(load)(FN(network) * net, const REAL *weights, int backward) {
    for (int l = 0; l < net->layers; l++) {
        long inputs = net->sizes[l], outputs = net->sizes[l + 1], pad = net->pad[l + 1], across = net->pad[l];
        REAL *matrix = net->matrix[l];
        for (long i = 0; i < inputs; i++)
            memcpy(matrix + i * pad, weights + i * outputs, (size_t)outputs * sizeof(REAL));
        if (backward && l) {
            REAL *transposed = net->transposed[l];
            for (long i = 0; i < inputs; i++)
                for (long o = 0; o < outputs; o++) transposed[o * across + i] = weights[i * outputs + o];
        }
        weights += inputs * outputs;
        memcpy(net->bias[l], weights, (size_t)outputs * sizeof(REAL));
        if (l + 1 == net->layers)
            for (long o = outputs; o < pad; o++) net->bias[l][o] = LOWEST; /* so that no maximum is found in the padding */
        weights += outputs;
    }
}

/* Logits into value[layers]. */
static void FN(forward)(FN(network) * net, const REAL *x) {
    const REAL *below = x;
    long stride = net->sizes[0];
    for (int l = 0; l < net->layers; l++) {
        long pad = net->pad[l + 1];
        REAL *above = net->value[l + 1];
        FN(product)(net->batch, pad, net->sizes[l], below, stride, 1, net->matrix[l], pad, above, pad, net->bias[l]);
        if (l + 1 < net->layers)
            for (long i = 0; i < ((net->batch * pad) & -LANES); i++)
                above[i] = above[i] < 0 ? 0 : above[i]; /* NaN stays NaN */
        below = above;
        stride = pad;
    }
}

/* The larger of two, lane by lane; b where one is NaN. */
static inline __attribute__((always_inline)) VECTOR FN(larger)(VECTOR a, VECTOR b) {
    MASK choose = a > b;
    return (VECTOR)(((MASK)a & choose) | ((MASK)b & ~choose));
}

/* Lane l of the result holds lane l ^ distance. */
static inline __attribute__((always_inline)) VECTOR FN(swapped)(VECTOR v, long distance) {
    MASK order;
    for (long lane = 0; lane < LANES; lane++) order[lane] = lane ^ distance;
    return __builtin_shuffle(v, order);
}

/* Mean cross-entropy of the logits; overwrites them with its gradient by them. What stands in the padding
 * (nearly 0) is read by nobody. */
static REAL FN(softmax)(FN(network) * net, const int64_t *labels) {
    long batch = net->batch, pad = net->pad[net->layers];
    VECTOR lowest = (VECTOR){0} - 80; /* exp is slow where it leaves the range of float; exp(-80) is nothing beside 1 */
    REAL *logits = net->value[net->layers], *total = net->total;
    double loss = 0;
    for (long b = 0; b < batch; b++) {
        REAL *row = logits + b * pad;
        VECTOR top = *(VECTOR *)row;
        for (long c = LANES; c < pad; c += LANES) top = FN(larger)(*(VECTOR *)(row + c), top);
        for (long distance = 1; distance < LANES; distance *= 2) top = FN(larger)(top, FN(swapped)(top, distance));
        loss += (double)(top[0] - row[labels[b]]);
        for (long c = 0; c < pad; c += LANES) *(VECTOR *)(row + c) = FN(larger)(lowest, *(VECTOR *)(row + c) - top);
    }
    _Pragma("GCC ivdep") for (long i = 0; i < ((batch * pad) & -TILE); i++) logits[i] = M(exp)(logits[i]);
    REAL share = (REAL)1 / (REAL)batch;
    for (long b = 0; b < batch; b++) {
        REAL *row = logits + b * pad;
        VECTOR sum = *(VECTOR *)row;
        for (long c = LANES; c < pad; c += LANES) sum += *(VECTOR *)(row + c);
        for (long distance = 1; distance < LANES; distance *= 2) sum += FN(swapped)(sum, distance);
        total[b] = sum[0];
        VECTOR factor = share / sum;
        for (long c = 0; c < pad; c += LANES) *(VECTOR *)(row + c) *= factor;
        row[labels[b]] -= share;
    }
    long whole = FN(padded)(batch);
    for (long b = batch; b < whole; b++) total[b] = 1;
    _Pragma("GCC ivdep") for (long b = 0; b < (whole & -LANES); b++) total[b] = M(log)(total[b]);
    for (long b = 0; b < batch; b++) loss += (double)total[b];
    return (REAL)(loss / (double)batch);
}

static void FN(backward)(FN(network) * net, const REAL *x, REAL *gradient, const long *offsets) {
    long batch = net->batch;
    REAL *delta = net->value[net->layers];
    VECTOR zero = {0};
    for (int l = net->layers - 1; l >= 0; l--) {
        long inputs = net->sizes[l], outputs = net->sizes[l + 1], pad = net->pad[l + 1];
        const REAL *below = l ? net->value[l] : x;
        long stride = l ? net->pad[l] : inputs;
        REAL *to = gradient + offsets[2 * l], *matrix = outputs == pad ? to : net->gradient;
        FN(product)(inputs, pad, batch, below, 1, stride, delta, pad, matrix, pad, NULL);
        if (matrix != to)
            for (long i = 0; i < inputs; i++)
                memcpy(to + i * outputs, matrix + i * pad, (size_t)outputs * sizeof(REAL));
        to = gradient + offsets[2 * l + 1];
        for (long c = 0; c < pad; c += LANES) {
            VECTOR sum = zero;
            for (long b = 0; b < batch; b++) sum += *(const VECTOR *)(delta + b * pad + c);
            long count = outputs - c < LANES ? outputs - c : LANES;
            for (long lane = 0; lane < count; lane++) to[c + lane] = sum[lane];
        }
        if (!l) break;
        REAL *next = net->delta[l & 1];
        long across = net->pad[l];
        FN(product)(batch, across, outputs, delta, pad, 1, net->transposed[l], across, next, across, NULL);
        _Pragma("GCC ivdep") for (long i = 0; i < ((batch * across) & -LANES); i++)
            next[i] = below[i] > 0 ? next[i] : 0;
        delta = next;
    }
}

/* losses (n,), gradient (n x offsets[2 layers]) of n networks on one batch; 1 if there is no memory. */
int FN(mlp_loss_and_gradient)(long n, int layers, const long *sizes, const long *offsets, const REAL *weights, long batch,
                              const REAL *x, const int64_t *labels, REAL *losses, REAL *gradient) {
    FN(network) net;
    long parameters = offsets[2 * layers];
    if (FN(prepare)(&net, layers, sizes, batch)) return 1;
    for (long i = 0; i < n; i++) {
        FN(load)(&net, weights + i * parameters, 1);
        FN(forward)(&net, x);
        losses[i] = FN(softmax)(&net, labels);
        FN(backward)(&net, x, gradient + i * parameters, offsets);
    }
    free(net.memory);
    return 0;
}

/* logits (n x batch x sizes[layers]). */
int FN(mlp_logits)(long n, int layers, const long *sizes, const long *offsets, const REAL *weights, long batch,
                   const REAL *x, REAL *logits) {
    FN(network) net;
    long classes = sizes[layers], parameters = offsets[2 * layers];
    if (FN(prepare)(&net, layers, sizes, batch)) return 1;
    for (long i = 0; i < n; i++) {
        FN(load)(&net, weights + i * parameters, 0);
        FN(forward)(&net, x);
        const REAL *from = net.value[layers];
        for (long b = 0; b < batch; b++, logits += classes)
            memcpy(logits, from + b * net.pad[layers], (size_t)classes * sizeof(REAL));
    }
    free(net.memory);
    return 0;
}

#undef VECTOR
#undef MASK
#undef LOWEST
#undef TILE
#undef LANES
