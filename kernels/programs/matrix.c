/* Orthogonalisation of one tensor by Newton-Schulz steps, included once for float and once for double.
 *
 * The matrix is worked on in its tall orientation Y (n, m), n >= m, in which a step reads
 *     A = Y'Y, B = b A + c A A, Y <- a Y + Y B,
 * so that no product needs a transposition. Matrices are stored in panels of PANEL columns, zero-padded: element (i, j)
 * of one with R rows is at (j / PANEL) R PANEL + i PANEL + j % PANEL. A product is made in tiles of TILE rows and a
 * panel, which stay in registers; both its operands are then read in order. A and B are symmetric, to the bit: tiles
 * below the diagonal are mirrored. The order of every sum is fixed by the matrix's shape.
 */

typedef REAL FN(wide) __attribute__((vector_size(32), aligned(sizeof(REAL)), may_alias));
#define VECTOR FN(wide)
#define WIDTH (32 / (long)sizeof(REAL))
#define PANEL (2 * WIDTH)
#define TILE 4
#define UP(n, step) (((n) + (step)-1) / (step) * (step))

typedef struct {
    VECTOR row[TILE][2];
} FN(tile);

/* Sum over k of left(i, k) right(k, j): right is a panel from its first row; k runs over chunks of `length` values, and
 * left(i, k) lies at chunk stride, row stride and k stride. */
static inline __attribute__((always_inline)) FN(tile)
    FN(multiply)(const REAL *left, long row, long step, long chunk, long chunks, long length, const REAL *right) {
    FN(tile) t = {0};
    for (long part = 0; part < chunks; part++, left += chunk) {
        const REAL *at = left;
        for (long k = 0; k < length; k++, at += step, right += PANEL) {
            VECTOR low = *(const VECTOR *)right, high = *(const VECTOR *)(right + WIDTH);
#pragma GCC unroll 4
            for (int i = 0; i < TILE; i++) {
                VECTOR x = SPREAD(at[i * row]);
                t.row[i][0] = FUSED(x, low, t.row[i][0]);
                t.row[i][1] = FUSED(x, high, t.row[i][1]);
            }
        }
    }
    return t;
}

/* Elements (i, j) = (j, i) in the panels' rows that no tile was computed for. */
static void FN(mirror)(REAL *c, long m) {
    for (long left = 0; left < m; left += PANEL)
        for (long i = left + PANEL; i < m; i++)
            for (long j = 0; j < PANEL; j++)
                c[left * m + i * PANEL + j] = c[i / PANEL * PANEL * m + (left + j) * PANEL + i % PANEL];
}

static void FN(gram)(REAL *a, const REAL *y, long n, long m) {
    for (long j = 0; j < m; j += PANEL)
        for (long i = 0; i < j + PANEL; i += TILE)
            *(FN(tile) *)(a + j * m + i * PANEL) =
                FN(multiply)(y + i / PANEL * PANEL * n + i % PANEL, 1, PANEL, 0, 1, n, y + j * n);
    FN(mirror)(a, m);
}

/* out = own_share own + share left right, in the rows of each panel that `rows` or, where that is 0, symmetry needs. */
static void FN(product)(REAL *out, double own_share, const REAL *own, double share, const REAL *left, const REAL *right,
                        long rows, long m) {
    long height = rows ? rows : m;
    VECTOR p = SPREAD((REAL)own_share), q = SPREAD((REAL)share);
    for (long j = 0; j < m; j += PANEL)
        for (long i = 0; i < (rows ? rows : j + PANEL); i += TILE) {
            long place = j * height + i * PANEL;
            FN(tile) t = FN(multiply)(left + i * PANEL, PANEL, 1, height * PANEL, m / PANEL, PANEL, right + j * m);
            const FN(tile) *o = (const FN(tile) *)(own + place);
            for (int k = 0; k < TILE; k++)
                for (int h = 0; h < 2; h++) t.row[k][h] = p * o->row[k][h] + q * t.row[k][h];
            *(FN(tile) *)(out + place) = t;
        }
    if (!rows) FN(mirror)(out, m);
}

static double FN(norm)(const REAL *x, long n) {
    double lanes[LANES] = {0};
    for (long i = 0; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) lanes[j] += (double)x[i + j] * (double)x[i + j];
    for (long i = n - n % LANES, j = 0; i + j < n; j++) lanes[j] += (double)x[i + j] * (double)x[i + j];
    for (int half = LANES / 2; half; half /= 2)
        for (int j = 0; j < half; j++) lanes[j] += lanes[j + half];
    return sqrt(lanes[0]);
}

/* out = orthogonalize(x) of one tensor of `count` elements (kernels/programs/opcodes.py). */
static void FN(orthogonalize)(REAL *out, const REAL *x, long count, long rows, long columns, REAL *scratch) {
    double size = FN(norm)(x, count);
    if (rows < 2 || columns < 2) {
        double divisor = size / sqrt((double)count) + 1e-8;
        for (long i = 0; i < count; i++) out[i] = (REAL)((double)x[i] / divisor);
        return;
    }
    long tall = rows > columns, height = tall ? rows : columns, width = tall ? columns : rows;
    long down = tall ? columns : 1, across = tall ? 1 : columns; /* of x, along Y's columns and rows */
    long n = UP(height, TILE), m = UP(width, PANEL);
    REAL *y = (REAL *)(((uintptr_t)scratch + 63) & -(uintptr_t)64), *next = y + n * m, *a = next + n * m, *b = a + m * m;
    memset(y, 0, sizeof(REAL) * n * m);
    for (long j = 0; j < width; j++)
        for (long i = 0; i < height; i++)
            y[j / PANEL * PANEL * n + i * PANEL + j % PANEL] = (REAL)((double)x[i * down + j * across] / (size + 1e-8));
    for (int step = 0; step < NEWTON_SCHULZ_STEPS; step++) {
        FN(gram)(a, y, n, m);
        FN(product)(b, NEWTON_SCHULZ_B, a, NEWTON_SCHULZ_C, a, a, 0, m);
        FN(product)(next, NEWTON_SCHULZ_A, y, 1, y, b, n, m);
        REAL *swapped = y;
        y = next;
        next = swapped;
    }
    REAL scale = (REAL)sqrt((double)height);
    for (long i = 0; i < height; i++)
        for (long j = 0; j < width; j++)
            out[i * down + j * across] = y[j / PANEL * PANEL * n + i * PANEL + j % PANEL] * scale;
}

/* Elements of scratch that the largest matrix needs. shapes: (n_tensors, 2). */
static long FN(orthogonalize_scratch)(const int64_t *shapes, int n_tensors) {
    long most = 0;
    for (int t = 0; t < n_tensors; t++) {
        long rows = shapes[2 * t], columns = shapes[2 * t + 1], tall = rows > columns;
        long n = UP(tall ? rows : columns, TILE), m = UP(tall ? columns : rows, PANEL);
        long needed = 2 * m * (n + m) + 64;
        if (rows > 1 && columns > 1 && needed > most) most = needed;
    }
    return most;
}

#undef VECTOR
#undef WIDTH
#undef PANEL
#undef TILE
#undef UP
