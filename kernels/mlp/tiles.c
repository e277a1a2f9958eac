/* Products of small matrices by tiles that stay in registers, in one precision (REAL, BITS, LANES, FN, M and the orders
 * of shuffles are set). Every sum runs over the inner dimension in order, or lane by lane in order: its rounding is
 * fixed by the shapes. */

#define VECTOR FN(vector)
#define MASK FN(mask)
#define TILE (2 * LANES) /* columns of a tile; the batch is padded to a multiple of it */
typedef REAL VECTOR __attribute__((vector_size(32), aligned(sizeof(REAL)), may_alias));
typedef BITS MASK __attribute__((vector_size(32), aligned(sizeof(REAL)), may_alias));

enum FN(kind) { FN(PLAIN), FN(RELU), FN(MASKED) };

/* The larger of two, lane by lane; b where one is NaN. */
INLINE VECTOR FN(larger)(VECTOR a, VECTOR b) {
#ifdef __AVX__
    return LARGER(a, b);
#else
    MASK choose = a > b;
    return (VECTOR)(((MASK)a & choose) | ((MASK)b & ~choose));
#endif
}

/* `rows` rows of c = a b + start, for one tile of columns. The inner dimension comes in `blocks` of k: a is read at
 * [q * block + r * row + p * step], b has blocks * k rows `width` apart. start: a number a row, or NULL. RELU: negative
 * results become 0, NaN stays. MASKED: results become 0 where `mask`, laid out as c, is not positive. `rows`, `kind` and
 * often others are constants at every call. */
INLINE void FN(tile)(int rows, int kind, long blocks, long k, const REAL *a, long block, long row, long step,
                     const REAL *b, long width, REAL *c, long out, const REAL *start, const REAL *mask) {
    VECTOR left[ROWS], right[ROWS], zero = {0};
    for (int r = 0; r < rows; r++) left[r] = right[r] = zero + (start ? start[r] : 0);
    for (long q = 0; q < blocks; q++, a += block - k * step)
        for (long p = 0; p < k; p++, a += step, b += width) {
            VECTOR first = *(const VECTOR *)b, second = *(const VECTOR *)(b + LANES);
            for (int r = 0; r < rows; r++) {
                REAL value = a[r * row];
                left[r] += first * value;
                right[r] += second * value;
            }
        }
    for (int r = 0; r < rows; r++) {
        VECTOR *to = (VECTOR *)(c + r * out), *next = (VECTOR *)(c + r * out + LANES);
        if (kind == FN(RELU)) {
            left[r] = FN(larger)(zero, left[r]);
            right[r] = FN(larger)(zero, right[r]);
        } else if (kind == FN(MASKED)) {
            left[r] = (VECTOR)((MASK)left[r] & (*(const VECTOR *)(mask + r * out) > zero));
            right[r] = (VECTOR)((MASK)right[r] & (*(const VECTOR *)(mask + r * out + LANES) > zero));
        }
        *to = left[r];
        *next = right[r];
    }
}

/* m rows of one tile of columns, in tiles of nearly equal heights. */
INLINE void FN(column)(int kind, long m, long blocks, long k, const REAL *a, long block, long row, long step,
                       const REAL *b, long width, REAL *c, long out, const REAL *start, const REAL *mask) {
    long tiles = (m + ROWS - 1) / ROWS, height = m / tiles + 1, higher = m % tiles;
    for (long t = 0; t < tiles; t++) {
        if (t == higher) height--;
        switch (height) {
        case 6: FN(tile)(6, kind, blocks, k, a, block, row, step, b, width, c, out, start, mask); break;
        case 5: FN(tile)(5, kind, blocks, k, a, block, row, step, b, width, c, out, start, mask); break;
        case 4: FN(tile)(4, kind, blocks, k, a, block, row, step, b, width, c, out, start, mask); break;
        case 3: FN(tile)(3, kind, blocks, k, a, block, row, step, b, width, c, out, start, mask); break;
        case 2: FN(tile)(2, kind, blocks, k, a, block, row, step, b, width, c, out, start, mask); break;
        case 1: FN(tile)(1, kind, blocks, k, a, block, row, step, b, width, c, out, start, mask); break;
        }
        a += height * row;
        c += height * out;
        if (start) start += height;
        if (mask) mask += height * out;
    }
}

/* Sums of neighbouring lanes of two vectors; applied log2(LANES) times to LANES vectors, the sums of them all. */
INLINE VECTOR FN(fold)(VECTOR a, VECTOR b) {
    return __builtin_shufflevector(a, b, EVEN) + __builtin_shufflevector(a, b, ODD);
}

INLINE VECTOR FN(fold_halves)(VECTOR a, VECTOR b) {
    return __builtin_shufflevector(a, b, LOWER) + __builtin_shufflevector(a, b, UPPER);
}

/* c[r * out + s] = sum over all examples of a[r] b[s], whose rows are TILE long, in `tiles` blocks `up` and `down` apart;
 * rows x columns <= 8, both constants at every call. */
INLINE void FN(dots)(int rows, int columns, long tiles, const REAL *a, long up, const REAL *b, long down, REAL *c,
                     long out) {
    VECTOR sums[8] = {{0}};
    for (long t = 0; t < tiles; t++, a += up, b += down)
        for (long p = 0; p < TILE; p += LANES)
            for (int r = 0; r < rows; r++)
                for (int s = 0; s < columns; s++)
                    sums[r * columns + s] += *(const VECTOR *)(a + r * TILE + p) * *(const VECTOR *)(b + s * TILE + p);
    REAL found[8];
    for (int half = 0; half < 8; half += (int)LANES) {
        VECTOR *v = sums + half;
#if LANES_OF_32_BYTES == 8
        VECTOR lower = FN(fold)(FN(fold)(v[0], v[1]), FN(fold)(v[2], v[3]));
        VECTOR upper = FN(fold)(FN(fold)(v[4], v[5]), FN(fold)(v[6], v[7]));
#else
        VECTOR lower = FN(fold)(v[0], v[1]), upper = FN(fold)(v[2], v[3]);
#endif
        *(VECTOR *)(found + half) = FN(fold_halves)(lower, upper);
    }
    for (int r = 0; r < rows; r++)
        for (int s = 0; s < columns; s++) c[r * out + s] = found[r * columns + s];
}

/* c (m x columns, rows `out` apart) = a b', as above. For few columns, where tiles would mostly hold padding. */
static void FN(dot_product)(long m, long columns, long tiles, const REAL *a, long up, const REAL *b, long down, REAL *c,
                            long out) {
    for (; columns > 0; columns -= 2, b += 2 * TILE, c += 2) {
        long i = 0;
        if (columns == 1) {
            for (; i + 8 <= m; i += 8) FN(dots)(8, 1, tiles, a + i * TILE, up, b, down, c + i * out, out);
            for (; i < m; i++) FN(dots)(1, 1, tiles, a + i * TILE, up, b, down, c + i * out, out);
        } else {
            for (; i + 4 <= m; i += 4) FN(dots)(4, 2, tiles, a + i * TILE, up, b, down, c + i * out, out);
            for (; i < m; i++) FN(dots)(1, 2, tiles, a + i * TILE, up, b, down, c + i * out, out);
        }
    }
}

/* to (TILE x TILE) = from (TILE x TILE) transposed; both contiguous. */
static void FN(transpose)(const REAL *from, REAL *to) {
    for (long i = 0; i < TILE; i += LANES)
        for (long j = 0; j < TILE; j += LANES) {
            VECTOR v[LANES], w[LANES];
            for (int r = 0; r < LANES; r++) v[r] = *(const VECTOR *)(from + (i + r) * TILE + j);
            /* Within 128 bits first, then the halves. */
#if LANES_OF_32_BYTES == 8
            for (int r = 0; r < 8; r += 2) {
                w[r] = __builtin_shufflevector(v[r], v[r + 1], 0, 8, 1, 9, 4, 12, 5, 13);
                w[r + 1] = __builtin_shufflevector(v[r], v[r + 1], 2, 10, 3, 11, 6, 14, 7, 15);
            }
            for (int r = 0; r < 8; r += 4) {
                v[r] = __builtin_shufflevector(w[r], w[r + 2], 0, 1, 8, 9, 4, 5, 12, 13);
                v[r + 1] = __builtin_shufflevector(w[r], w[r + 2], 2, 3, 10, 11, 6, 7, 14, 15);
                v[r + 2] = __builtin_shufflevector(w[r + 1], w[r + 3], 0, 1, 8, 9, 4, 5, 12, 13);
                v[r + 3] = __builtin_shufflevector(w[r + 1], w[r + 3], 2, 3, 10, 11, 6, 7, 14, 15);
            }
#else
            for (int r = 0; r < 4; r += 2) {
                w[r] = __builtin_shufflevector(v[r], v[r + 1], 0, 4, 2, 6);
                w[r + 1] = __builtin_shufflevector(v[r], v[r + 1], 1, 5, 3, 7);
            }
            for (int r = 0; r < 4; r++) v[r] = w[r];
#endif
            for (int r = 0; r < LANES / 2; r++) {
                *(VECTOR *)(to + (j + r) * TILE + i) = __builtin_shufflevector(v[r], v[r + LANES / 2], LOWER);
                *(VECTOR *)(to + (j + r + LANES / 2) * TILE + i) = __builtin_shufflevector(v[r], v[r + LANES / 2], UPPER);
            }
        }
}
