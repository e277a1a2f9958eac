/* The networks in one precision, after tiles.c. */

/* e^x for x in [-80, 0], NaN for NaN. */
#if LANES_OF_32_BYTES == 8
/* 2^n e^r with |r| <= ln 2 / 2, e^r by its Taylor polynomial of degree 7: within 1.5 units in the last place. */
INLINE VECTOR FN(exponential)(VECTOR x) {
    VECTOR zero = {0}, magic = zero + 12582912.0f; /* 1.5 * 2^23: adding it rounds to a whole number */
    VECTOR t = x * 1.44269504f + magic, n = t - magic;
    VECTOR r = x - n * 0.693145752f; /* ln 2 in two parts, the first of few bits */
    r = r - n * 1.42860677e-6f;
    VECTOR p = r * 1.98412698e-4f + 1.38888889e-3f;
    p = p * r + 8.33333333e-3f;
    p = p * r + 4.16666667e-2f;
    p = p * r + 1.66666667e-1f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    return p * (VECTOR)(((MASK)t << 23) + 0x3f800000);
}
#else
INLINE VECTOR FN(exponential)(VECTOR x) {
    REAL lanes[LANES];
    *(VECTOR *)lanes = x;
    _Pragma("GCC ivdep") for (long i = 0; i < LANES; i++) lanes[i] = M(exp)(lanes[i]);
    return *(VECTOR *)lanes;
}
#endif

/* A batch as all candidates read it. */
typedef struct {
    REAL *values; /* (tiles, inputs + 1, TILE): the inputs, then ones, which make a bias a weight like others */
    BITS *right;  /* (tiles, classes, TILE): all bits set where an example has this label */
} FN(batch);

/* What one candidate needs, in one piece of memory that all candidates of a call use in turn. A tile is TILE examples;
 * padding examples are zeros. */
typedef struct {
    int layers;
    long batch, tiles;
    const long *sizes;            /* layers + 1 widths */
    REAL *value[MAX_LAYERS + 1];  /* (tiles, width + 1, TILE), after each layer, the last row ones; [0] is not used */
    REAL *delta[MAX_LAYERS + 1];  /* (tiles, width, TILE): gradient by what enters the layer's ReLU, or by the logits */
    REAL *across[MAX_LAYERS + 1]; /* (whole tiles of the width, tiles * TILE, TILE): delta, transposed */
    REAL *total, *picked, *valid; /* (tiles, TILE); valid: all bits set in the batch, none in its padding */
    FN(batch) * batches;
    void *memory;
} FN(network);

static long FN(whole_tiles)(long width) { return width / TILE * TILE; }

/* Room for a network and for `spans` prepared batches; 1 if there is none. */
static int FN(prepare)(FN(network) * net, int layers, const long *sizes, long batch, long spans) {
    net->layers = layers;
    net->batch = batch;
    net->sizes = sizes;
    net->tiles = (batch + TILE - 1) / TILE;
    long padded = net->tiles * TILE, count = 3 * padded;
    for (int l = 1; l <= layers; l++) count += (2 * sizes[l] + 1 + FN(whole_tiles)(sizes[l])) * padded;
    count += spans * (sizes[0] + 1 + sizes[layers]) * padded;
    size_t bytes = (size_t)count * sizeof(REAL);
    if (posix_memalign(&net->memory, 64, bytes + (size_t)spans * sizeof(FN(batch)))) return 1;
    memset(net->memory, 0, bytes);
    net->batches = (FN(batch) *)((char *)net->memory + bytes);
    REAL *at = net->memory;
    for (int l = 1; l <= layers; l++) {
        net->value[l] = at, at += (sizes[l] + 1) * padded;
        net->delta[l] = at, at += sizes[l] * padded;
        net->across[l] = at, at += FN(whole_tiles)(sizes[l]) * padded;
        for (long t = 0; t < net->tiles; t++)
            for (long j = 0; j < TILE; j++) net->value[l][(t * (sizes[l] + 1) + sizes[l]) * TILE + j] = 1;
    }
    net->total = at, at += padded;
    net->picked = at, at += padded;
    net->valid = at, at += padded;
    memset(net->valid, 0xff, (size_t)batch * sizeof(REAL));
    for (long s = 0; s < spans; s++) {
        net->batches[s].values = at, at += (sizes[0] + 1) * padded;
        net->batches[s].right = (BITS *)at, at += sizes[layers] * padded;
    }
    return 0;
}

/* x (batch, inputs), labels (batch,) or NULL. */
static void FN(arrange)(const FN(network) * net, FN(batch) * to, const REAL *x, const int64_t *labels) {
    long inputs = net->sizes[0], classes = net->sizes[net->layers];
    if (labels) memset(to->right, 0, (size_t)(classes * net->tiles * TILE) * sizeof(BITS));
    for (long b = 0; b < net->batch; b++, x += inputs) {
        REAL *values = to->values + b / TILE * (inputs + 1) * TILE + b % TILE;
        for (long i = 0; i < inputs; i++) values[i * TILE] = x[i];
        values[inputs * TILE] = 1;
        if (labels) to->right[(b / TILE * classes + labels[b]) * TILE + b % TILE] = -1;
    }
}

/* Values of tile t after each layer, the last being logits. */
static void FN(forward)(const FN(network) * net, const FN(batch) * batch, long t, const REAL *weights,
                        const long *offsets) {
    const REAL *below = batch->values + t * (net->sizes[0] + 1) * TILE;
    for (int l = 0; l < net->layers; l++) {
        long inputs = net->sizes[l], outputs = net->sizes[l + 1];
        const REAL *matrix = weights + offsets[2 * l], *bias = weights + offsets[2 * l + 1];
        REAL *above = net->value[l + 1] + t * (outputs + 1) * TILE;
        if (l + 1 < net->layers)
            FN(column)(FN(RELU), outputs, 1, inputs, matrix, 0, 1, outputs, below, TILE, above, TILE, bias, NULL);
        else
            FN(column)(FN(PLAIN), outputs, 1, inputs, matrix, 0, 1, outputs, below, TILE, above, TILE, bias, NULL);
        below = above;
    }
}

/* From the logits of tile t: the gradient of the mean loss by them, 0 in the padding; and what the loss is made of. */
static void FN(softmax)(const FN(network) * net, const FN(batch) * batch, long t) {
    long classes = net->sizes[net->layers];
    VECTOR lowest = (VECTOR){0} - 80; /* exp(-80) is nothing beside 1 */
    VECTOR share = (VECTOR){0} + (REAL)1 / (REAL)net->batch;
    for (long j = 0; j < TILE; j += LANES) {
        const REAL *logits = net->value[net->layers] + t * (classes + 1) * TILE + j;
        const BITS *right = batch->right + t * classes * TILE + j;
        REAL *delta = net->delta[net->layers] + t * classes * TILE + j;
        VECTOR top = *(const VECTOR *)logits, sum = {0};
        MASK picked = {0}, valid = *(const MASK *)(net->valid + t * TILE + j);
        for (long c = 1; c < classes; c++) top = FN(larger)(*(const VECTOR *)(logits + c * TILE), top);
        for (long c = 0; c < classes; c++) {
            VECTOR z = *(const VECTOR *)(logits + c * TILE) - top;
            picked |= (MASK)z & *(const MASK *)(right + c * TILE);
            sum += *(VECTOR *)(delta + c * TILE) = FN(exponential)(FN(larger)(lowest, z));
        }
        *(VECTOR *)(net->total + t * TILE + j) = sum;
        *(MASK *)(net->picked + t * TILE + j) = picked;
        VECTOR factor = (VECTOR)((MASK)share & valid) / sum;
        for (long c = 0; c < classes; c++) {
            VECTOR *at = (VECTOR *)(delta + c * TILE);
            *at = *at * factor - (VECTOR)((MASK)share & *(const MASK *)(right + c * TILE));
        }
    }
}

/* Mean cross-entropy, after softmax of all tiles. */
static REAL FN(loss)(const FN(network) * net) {
    REAL *total = net->total;
    _Pragma("GCC ivdep") for (long b = 0; b < net->tiles * TILE; b++) total[b] = M(log)(total[b]);
    double lanes[LANES] = {0}, loss = 0;
    for (long b = 0; b < net->tiles * TILE; b += LANES) {
        VECTOR each = *(VECTOR *)(total + b) - *(VECTOR *)(net->picked + b);
        each = (VECTOR)((MASK)each & *(const MASK *)(net->valid + b));
        for (long j = 0; j < LANES; j++) lanes[j] += (double)each[j];
    }
    for (long j = 0; j < LANES; j++) loss += lanes[j];
    return (REAL)(loss / (double)net->batch);
}

/* Deltas of tile t from the logits' down to the first layer's, and their transposes. */
static void FN(backward)(const FN(network) * net, long t, const REAL *weights, const long *offsets) {
    for (int l = net->layers; l > 0; l--) {
        long width = net->sizes[l];
        REAL *delta = net->delta[l] + t * width * TILE;
        if (l < net->layers) {
            long above = net->sizes[l + 1];
            FN(column)(FN(MASKED), width, 1, above, weights + offsets[2 * l], 0, above, 1,
                       net->delta[l + 1] + t * above * TILE, TILE, delta, TILE, NULL,
                       net->value[l] + t * (width + 1) * TILE);
        }
        for (long j = 0; j < FN(whole_tiles)(width); j += TILE)
            FN(transpose)(delta + j * TILE, net->across[l] + (j * net->tiles + t * TILE) * TILE);
    }
}

/* Gradient by the weights from values and deltas; the biases follow the weights as one more row. */
static void FN(gather)(const FN(network) * net, const FN(batch) * batch, const long *offsets, REAL *gradient) {
    for (int l = 0; l < net->layers; l++) {
        long inputs = net->sizes[l], outputs = net->sizes[l + 1], whole = FN(whole_tiles)(outputs);
        long up = (inputs + 1) * TILE;
        const REAL *below = l ? net->value[l] : batch->values;
        REAL *to = gradient + offsets[2 * l];
        for (long j = 0; j < whole; j += TILE)
            FN(column)(FN(PLAIN), inputs + 1, net->tiles, TILE, below, up, TILE, 1,
                       net->across[l + 1] + j * net->tiles * TILE, TILE, to + j, outputs, NULL, NULL);
        FN(dot_product)(inputs + 1, outputs - whole, net->tiles, below, up, net->delta[l + 1] + whole * TILE,
                        outputs * TILE, to + whole, outputs);
    }
}

/* Gradient of one network, (offsets[2 layers],); what its loss is made of stays in `net`. */
static void FN(network_gradient)(const FN(network) * net, const FN(batch) * batch, const REAL *weights,
                                 const long *offsets, REAL *gradient) {
    for (long t = 0; t < net->tiles; t++) {
        FN(forward)(net, batch, t, weights, offsets);
        FN(softmax)(net, batch, t);
        FN(backward)(net, t, weights, offsets);
    }
    FN(gather)(net, batch, offsets, gradient);
}

/* losses (n,), gradient (n x offsets[2 layers]) of n networks on one batch; 1 if there is no memory. */
int FN(mlp_loss_and_gradient)(long n, int layers, const long *sizes, const long *offsets, const REAL *weights, long batch,
                              const REAL *x, const int64_t *labels, REAL *losses, REAL *gradient) {
    FN(network) net;
    long parameters = offsets[2 * layers];
    if (FN(prepare)(&net, layers, sizes, batch, 1)) return 1;
    FN(arrange)(&net, net.batches, x, labels);
    for (long i = 0; i < n; i++) {
        FN(network_gradient)(&net, net.batches, weights + i * parameters, offsets, gradient + i * parameters);
        losses[i] = FN(loss)(&net);
    }
    free(net.memory);
    return 0;
}

/* logits (n x batch x sizes[layers]). */
int FN(mlp_logits)(long n, int layers, const long *sizes, const long *offsets, const REAL *weights, long batch,
                   const REAL *x, REAL *logits) {
    FN(network) net;
    long classes = sizes[layers], parameters = offsets[2 * layers];
    if (FN(prepare)(&net, layers, sizes, batch, 1)) return 1;
    FN(arrange)(&net, net.batches, x, NULL);
    for (long i = 0; i < n; i++, weights += parameters) {
        for (long t = 0; t < net.tiles; t++) FN(forward)(&net, net.batches, t, weights, offsets);
        for (long b = 0; b < batch; b++, logits += classes) {
            const REAL *from = net.value[layers] + b / TILE * (classes + 1) * TILE + b % TILE;
            for (long c = 0; c < classes; c++) logits[c] = from[c * TILE];
        }
    }
    free(net.memory);
    return 0;
}

/* As optimizer_step of kernels/programs/block.c. */
typedef int FN(optimizer)(long, long, int, const int64_t *, const int64_t *, const int32_t *, const int32_t *,
                          const int32_t *, const double *, REAL *, REAL *, REAL *const *, int, const double *,
                          const uint8_t *, uint8_t *);

/* `steps` training steps of n networks: x (steps x batch x inputs), labels (steps x batch), schedule (steps,). Each
 * candidate takes many steps while it is in the cache. weights and slots change in place; losses (n,) of the last
 * step, finite (n x steps). The optimizer's programs are as kernels/programs/packing.py encodes them; `width` columns
 * to a header. 1 if there is no memory. */
int FN(mlp_train)(long n, int layers, const long *sizes, const long *offsets, REAL *weights, long batch, long steps,
                  const REAL *x, const int64_t *labels, REAL *losses, FN(optimizer) * optimizer, const int64_t *shapes,
                  const int32_t *header, long width, const int32_t *phases, const int32_t *code, const double *constants,
                  REAL *const *slots, int n_slots, const double *schedule, uint8_t *finite) {
    FN(network) net;
    REAL *own[16], *gradient;
    long parameters = offsets[2 * layers], inputs = sizes[0];
    long shared = (inputs + 1 + sizes[layers]) * ((batch + TILE - 1) / TILE * TILE) * (long)sizeof(REAL);
    long most = SPAN_BYTES / shared < 1 ? 1 : SPAN_BYTES / shared < steps ? SPAN_BYTES / shared : steps;
    uint8_t active = 1;
    int failed = 0;
    if (n_slots > 16) return 2;
    if (FN(prepare)(&net, layers, sizes, batch, most)) return 1;
    if (posix_memalign((void **)&gradient, 64, (size_t)parameters * sizeof(REAL))) {
        free(net.memory);
        return 1;
    }
    for (long first = 0; first < steps; first += most) {
        long span = steps - first < most ? steps - first : most;
        for (long s = 0; s < span; s++)
            FN(arrange)(&net, net.batches + s, x + (first + s) * batch * inputs, labels + (first + s) * batch);
        for (long i = 0; i < n && !failed; i++) {
            REAL *mine = weights + i * parameters;
            for (int k = 0; k < n_slots; k++) own[k] = slots[k] + i * parameters;
            for (long s = 0; s < span && !failed; s++) {
                FN(network_gradient)(&net, net.batches + s, mine, offsets, gradient);
                if (first + s + 1 == steps) losses[i] = FN(loss)(&net);
                failed = optimizer(1, parameters, 2 * layers, offsets, shapes, header + i * width, phases, code, constants,
                                   mine, gradient, own, n_slots, schedule + first + s, &active,
                                   finite + i * steps + first + s);
            }
        }
    }
    free(gradient);
    free(net.memory);
    return failed;
}

#undef VECTOR
#undef MASK
#undef TILE
