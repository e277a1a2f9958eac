/* Ranks and rank correlations of many score rows, one row after the other, in exact integers.
 *
 * A row is sorted once; all else walks over its order. What leaves are sums that are whole numbers below 2^53 (columns
 * are at most 2^18), so that the order of additions cannot matter; the caller divides and takes roots. A row that holds
 * a NaN leaves zeros, which divide to NaN.
 *
 * Sorting: keys are a float's bits made monotone, less the row's smallest, cut to their 46 leading bits, with the column
 * in the 18 bits below: one word an element. Three radix passes over the leading 24 bits leave almost nothing to do for
 * the insertion that follows; where they leave much, five more passes are taken instead.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define COLUMN_BITS 18
#define COLUMN_MASK ((1u << COLUMN_BITS) - 1)
#define KEY_BITS (64 - COLUMN_BITS)
#define RADIX_BITS 24
#define SMALL 24
#define LANES 16

typedef struct {
    uint64_t *key, *word, *spare;
    int32_t *order; /* columns, by ascending value, then by column */
    int32_t *last;  /* for a place in the order: the last place with the same value */
    int32_t *rank, *sequence;
    int tied; /* whether two values are equal */
    void *memory;
} Row;

static int make(Row *row, long m) {
    size_t words = (size_t)m + 2;
    char *at = row->memory = malloc(words * (3 * sizeof(uint64_t) + 4 * sizeof(int32_t)));
    if (!at) return 1;
    uint64_t **wide[] = {&row->key, &row->word, &row->spare};
    int32_t **narrow[] = {&row->order, &row->last, &row->rank, &row->sequence};
    for (int i = 0; i < 3; i++, at += words * sizeof(uint64_t)) *wide[i] = (uint64_t *)at;
    for (int i = 0; i < 4; i++, at += words * sizeof(int32_t)) *narrow[i] = (int32_t *)at;
    return 0;
}

/* ---- sorting ---- */

/* 0: more than `budget` moves would be needed; the words are then permuted, none is lost. */
static int insertion(uint64_t *word, long m, long budget) {
    for (long i = 1; i < m; i++) {
        uint64_t moving = word[i];
        long j = i;
        for (; j > 0 && word[j - 1] > moving; j--) word[j] = word[j - 1];
        word[j] = moving;
        if ((budget -= i - j) < 0) return 0;
    }
    return 1;
}

/* One stable pass over eight bits; says whether the result is in `to` (it is not where all digits are equal). */
static int pass(const uint64_t *restrict from, uint64_t *restrict to, long m, int shift, uint32_t *restrict count) {
    if (count[(from[0] >> shift) & 255] == (uint32_t)m) return 0;
    uint32_t place = 0;
    for (int digit = 0; digit < 256; digit++) {
        uint32_t size = count[digit];
        count[digit] = place;
        place += size;
    }
    for (long i = 0; i < m; i++) to[count[(from[i] >> shift) & 255]++] = from[i];
    return 1;
}

static inline __attribute__((always_inline)) void radix(uint64_t *word, uint64_t *spare, long m, int shift, int passes) {
    uint32_t count[8][256];
    memset(count, 0, sizeof count[0] * (size_t)passes);
    for (long i = 0; i < m; i++)
        for (int p = 0; p < passes; p++) count[p][(word[i] >> (shift + 8 * p)) & 255]++;
    uint64_t *from = word, *to = spare;
    for (int p = 0; p < passes; p++)
        if (pass(from, to, m, shift + 8 * p, count[p])) {
            uint64_t *other = from;
            from = to;
            to = other;
        }
    if (from != word) memcpy(word, from, sizeof *word * (size_t)m);
}

/* Ascending words, all below 2^bits. */
static void sort(uint64_t *word, uint64_t *spare, long m, int bits) {
    if (m > SMALL) {
        radix(word, spare, m, bits > RADIX_BITS ? bits - RADIX_BITS : 0, 3);
        if (!insertion(word, m, 4 * m)) radix(word, spare, m, 0, 8);
    } else
        insertion(word, m, m * m);
}

static int width(uint64_t span) { return span ? 64 - __builtin_clzll(span) : 0; }

static uint64_t monotone(double value) {
    uint64_t bits;
    value += 0.0; /* -0.0 becomes 0.0 */
    memcpy(&bits, &value, sizeof bits);
    return bits ^ (bits >> 63 ? ~0ull : 1ull << 63);
}

/* Elements whose cut keys are equal and whose keys are not: sorted among themselves, by all of their bits. */
static void settle(Row *row, long m) {
    for (long start = 0, end; start < m; start = end) {
        uint64_t lowest = UINT64_MAX, highest = 0, cut = row->word[start] >> COLUMN_BITS;
        for (end = start; end < m && row->word[end] >> COLUMN_BITS == cut; end++) {
            uint64_t key = row->key[row->order[end]];
            lowest = key < lowest ? key : lowest;
            highest = key > highest ? key : highest;
        }
        if (lowest == highest) continue;
        for (long i = start; i < end; i++)
            row->word[i] = (row->key[row->order[i]] - lowest) << COLUMN_BITS | (uint64_t)row->order[i];
        sort(row->word + start, row->spare, end - start, width(highest - lowest) + COLUMN_BITS);
        for (long i = start; i < end; i++) row->order[i] = (int32_t)(row->word[i] & COLUMN_MASK);
    }
}

/* Fill key, order and last; 0 if there is a NaN. */
static int sort_row(Row *row, const void *values, int single, long m) {
    uint64_t lowest = UINT64_MAX, highest = 0;
    int nan = 0;
    for (long i = 0; i < m; i++) {
        double value = single ? (double)((const float *)values)[i] : ((const double *)values)[i];
        uint64_t key = monotone(value);
        nan |= value != value;
        lowest = key < lowest ? key : lowest;
        highest = key > highest ? key : highest;
        row->key[i] = key;
    }
    if (nan) return 0;
    int bits = width(highest - lowest), shift = bits > KEY_BITS ? bits - KEY_BITS : 0;
    for (long i = 0; i < m; i++) row->word[i] = (row->key[i] - lowest) >> shift << COLUMN_BITS | (uint64_t)i;
    sort(row->word, row->spare, m, bits - shift + COLUMN_BITS);
    uint64_t before = 0;
    int descends = 0, equal = 0;
    for (long i = 0; i < m; i++) {
        int32_t column = (int32_t)(row->word[i] & COLUMN_MASK);
        uint64_t key = row->key[column];
        descends |= key < before;
        equal |= key == before;
        before = key;
        row->order[i] = column;
    }
    if (descends) settle(row, m);
    row->tied = equal | descends; /* no key is 0, so that the first one equals nothing */
    if (!row->tied) {
        for (long i = 0; i < m; i++) row->last[i] = (int32_t)i;
        return 1;
    }
    before = row->key[row->order[m - 1]];
    int32_t end = (int32_t)m - 1;
    for (long i = m - 1; i >= 0; i--) {
        uint64_t key = row->key[row->order[i]];
        end = key == before ? end : (int32_t)i;
        before = key;
        row->last[i] = end;
    }
    return 1;
}

static const void *nth(const void *values, int single, long m, long number) {
    return (const char *)values + (size_t)number * (size_t)m * (single ? sizeof(float) : sizeof(double));
}

/* ---- ranks and Spearman ---- */

/* Twice the average rank less m + 1, by column: whole numbers of sum 0. Returns the sum of their squares. */
static int64_t centred(const Row *row, long m, int32_t *rank) {
    int64_t squares = 0;
    if (!row->tied) {
        for (long i = 0; i < m; i++) rank[row->order[i]] = (int32_t)(2 * i + 1 - m);
        return (int64_t)m * ((int64_t)m * m - 1) / 3;
    }
    for (long start = 0; start < m; start = row->last[start] + 1) {
        int64_t end = row->last[start], value = start + end + 1 - m;
        for (long i = start; i <= end; i++) rank[row->order[i]] = (int32_t)value;
        squares += (end - start + 1) * value * value;
    }
    return squares;
}

static int64_t product(const int32_t *restrict a, const int32_t *restrict b, long m) {
    int64_t sum = 0;
    for (long i = 0; i < m; i++) sum += (int64_t)a[i] * b[i];
    return sum;
}

/* Average ranks (n, m), of a row with a NaN all NaN. */
int average_ranks(long n, long m, const void *values, int single, double *out) {
    Row row;
    if (make(&row, m)) return 1;
    for (long r = 0; r < n; r++, out += m) {
        int valid = sort_row(&row, nth(values, single, m, r), single, m);
        if (valid) centred(&row, m, row.rank);
        for (long i = 0; i < m; i++) out[i] = valid ? 0.5 * (double)(row.rank[i] + m + 1) : __builtin_nan("");
    }
    free(row.memory);
    return 0;
}

/* products (n, t), squares of the scores' ranks (n), of the targets' (t). */
int spearman(long n, long m, long t, const void *scores, int single, const double *targets, double *products,
             double *left, double *right) {
    Row row;
    int32_t *ranks = calloc((size_t)(t * m) + 1, sizeof *ranks);
    if (!ranks || make(&row, m)) return free(ranks), 1;
    for (long k = 0; k < t; k++) {
        int valid = sort_row(&row, targets + k * m, 0, m);
        right[k] = valid ? (double)centred(&row, m, ranks + k * m) : 0.0;
    }
    for (long r = 0; r < n; r++, products += t) {
        int valid = sort_row(&row, nth(scores, single, m, r), single, m);
        left[r] = valid ? (double)centred(&row, m, row.rank) : 0.0;
        for (long k = 0; k < t; k++) products[k] = valid ? (double)product(row.rank, ranks + k * m, m) : 0.0;
    }
    free(row.memory);
    free(ranks);
    return 0;
}

/* ---- Kendall ---- */

/* Which places have been seen: a bit each, and counts over 64 words (4,096 places), then over all. A step up is a few
 * additions of vectors, a question three loads. */
typedef struct {
    uint64_t word[(1 << COLUMN_BITS) / 64 + 64];
    uint16_t words_before[(1 << COLUMN_BITS) / 64 + 64]; /* places seen in the earlier words of the same 64 */
    uint32_t parts_before[(1 << COLUMN_BITS) / 4096 + 1]; /* in the earlier 4,096s */
} Seen;

typedef uint16_t Counts __attribute__((vector_size(16)));

/* Pairs of places (i before j) with sequence[i] beyond the tie group of sequence[j]. */
static int64_t inversions(const Row *row, long m, Seen *seen) {
    static const uint16_t zeros_ones[128] = {[64 ... 127] = 1};
    long words = (m >> 6) + 1, parts = (words + 63) >> 6;
    int64_t total = 0;
    memset(seen->word, 0, sizeof *seen->word * (size_t)words);
    memset(seen->words_before, 0, sizeof *seen->words_before * 64 * (size_t)parts);
    memset(seen->parts_before, 0, sizeof *seen->parts_before * (size_t)parts);
    for (long i = 0; i < m; i++) {
        long place = row->sequence[i], next = row->last[place] + 1, word = next >> 6;
        total += i - __builtin_popcountll(seen->word[word] & ((1ull << (next & 63)) - 1));
        total -= seen->words_before[word] + seen->parts_before[word >> 6];
        word = place >> 6;
        seen->word[word] |= 1ull << (place & 63);
        uint16_t *before = seen->words_before + (word & ~63l);
        const uint16_t *after = zeros_ones + 63 - (word & 63);
        long count = words - (word & ~63l) < 64 ? words - (word & ~63l) : 64;
        for (long j = 0; j < count; j += 8) {
            Counts have, more;
            memcpy(&have, before + j, sizeof have);
            memcpy(&more, after + j, sizeof more);
            have += more;
            memcpy(before + j, &have, sizeof have);
        }
        for (long j = (word >> 6) + 1; j < parts; j++) seen->parts_before[j]++;
    }
    return total;
}

static int64_t tied_pairs(const Row *row, long m) {
    int64_t pairs = 0;
    if (!row->tied) return 0;
    for (long start = 0; start < m; start = row->last[start] + 1) {
        int64_t size = row->last[start] - start + 1;
        pairs += size * (size - 1) / 2;
    }
    return pairs;
}

/* Concordant less discordant pairs. first: place in the target's order at which the tie group of a column opens, by
 * column; opens: by place, whether one does. */
static int64_t balance(Row *row, Seen *seen, long m, const int32_t *first, const int32_t *opens, int64_t row_ties,
                       int64_t target_ties) {
    /* Places in the row's order, put into the target's; within a tie group of the target they ascend. */
    int32_t *cursor = row->rank;
    if (!target_ties)
        for (long i = 0; i < m; i++) row->sequence[first[row->order[i]]] = (int32_t)i;
    else {
        for (long i = 0; i < m; i++) cursor[i] = (int32_t)i; /* of a group, the one at its first place counts up */
        for (long i = 0; i < m; i++) row->sequence[cursor[first[row->order[i]]]++] = (int32_t)i;
    }
    int64_t both = 0;
    if (row_ties && target_ties) {
        /* Ties of both lie side by side: a run ends where the row's value changes or a group of the target opens. */
        int32_t run = 0, value = -1;
        for (long i = 0; i < m; i++) {
            int32_t next = row->last[row->sequence[i]];
            run = (run + 1) & -((next == value) & !opens[i]);
            both += run;
            value = next;
        }
    }
    return (int64_t)m * (m - 1) / 2 - row_ties - target_ties + both - 2 * inversions(row, m, seen);
}

/* products (n, t): concordant less discordant pairs; left (n), right (t): untied pairs of scores and targets. */
int kendall(long n, long m, long t, const void *scores, int single, const double *targets, double *products,
            double *left, double *right) {
    Row row;
    int64_t pairs = (int64_t)m * (m - 1) / 2;
    int32_t *first = calloc((size_t)(2 * t * m + t) + 1, sizeof *first), *opens = first + t * m;
    int32_t *usable = opens + t * m;
    Seen *seen = malloc(sizeof *seen);
    if (!first || !seen || make(&row, m)) return free(first), free(seen), 1;
    for (long k = 0; k < t; k++) {
        right[k] = 0.0;
        if (!(usable[k] = sort_row(&row, targets + k * m, 0, m))) continue;
        for (long start = 0; start < m; start = row.last[start] + 1) {
            for (long i = start; i <= row.last[start]; i++) first[k * m + row.order[i]] = (int32_t)start;
            opens[k * m + start] = 1;
        }
        right[k] = (double)(pairs - tied_pairs(&row, m));
    }
    for (long r = 0; r < n; r++, products += t) {
        int valid = sort_row(&row, nth(scores, single, m, r), single, m);
        int64_t ties = valid ? tied_pairs(&row, m) : pairs;
        left[r] = (double)(pairs - ties);
        for (long k = 0; k < t; k++)
            products[k] = !valid || !usable[k] ? 0.0
                                               : (double)balance(&row, seen, m, first + k * m, opens + k * m, ties,
                                                                 pairs - (int64_t)right[k]);
    }
    free(row.memory);
    free(seen);
    free(first);
    return 0;
}

/* ---- Spearman of the columns that a row puts on top ---- */

/* The `count` columns of highest score, of equal ones the first: chosen (1 or 0) and centred rank among them, by column
 * (0 outside). Returns the sum of squares. */
static int64_t choose_top(const Row *row, long m, long count, int32_t *chosen, int32_t *rank) {
    memset(chosen, 0, sizeof *chosen * (size_t)m);
    memset(rank, 0, sizeof *rank * (size_t)m);
    int64_t squares = 0, below = 0;
    long start = m - count;
    while (start > 0 && start < m && row->last[start - 1] == row->last[start]) start--; /* the border's tie group */
    while (start < m) {
        int64_t end = row->last[start], size = end + 1 - (below ? start : m - count);
        int64_t value = 2 * below + size - count;
        for (long i = start; i < start + size; i++) {
            chosen[row->order[i]] = 1;
            rank[row->order[i]] = (int32_t)value;
        }
        squares += size * value * value;
        below += size;
        start = end + 1;
    }
    return squares;
}

/* products, right (n, t, s); left (n, s); counts (s): columns to keep. */
int spearman_top(long n, long m, long t, const void *scores, int single, const double *targets, long s,
                 const int64_t *counts, double *products, double *left, double *right) {
    Row row;
    int32_t *orders = calloc((size_t)(2 * t * m + t) + 1, sizeof *orders), *ends = orders + t * m;
    int32_t *usable = ends + t * m;
    if (!orders || make(&row, m)) return free(orders), 1;
    for (long k = 0; k < t; k++) {
        if (!(usable[k] = sort_row(&row, targets + k * m, 0, m))) continue;
        memcpy(orders + k * m, row.order, sizeof *orders * (size_t)m);
        for (long i = 0; i < m; i++) ends[k * m + i] = row.last[i] == i;
    }
    memset(products, 0, sizeof *products * (size_t)(n * t * s));
    memset(right, 0, sizeof *right * (size_t)(n * t * s));
    memset(left, 0, sizeof *left * (size_t)(n * s));
    for (long r = 0; r < n; r++) {
        if (!sort_row(&row, nth(scores, single, m, r), single, m)) continue;
        int32_t *chosen = row.sequence, *rank = row.rank;
        for (long c = 0; c < s; c++) {
            long count = counts[c];
            left[r * s + c] = (double)choose_top(&row, m, count, chosen, rank);
            for (long k = 0; k < t; k++) {
                const int32_t *order = orders + k * m, *end = ends + k * m;
                int64_t below = 0, size = 0, sum = 0, total = 0, squares = 0;
                for (long i = 0; usable[k] && i < m; i++) {
                    size += chosen[order[i]];
                    sum += rank[order[i]];
                    if (end[i]) {
                        int64_t value = 2 * below + size - count;
                        total += value * sum;
                        squares += size * value * value;
                        below += size;
                        size = sum = 0;
                    }
                }
                products[(r * t + k) * s + c] = (double)total;
                right[(r * t + k) * s + c] = (double)squares;
            }
        }
    }
    free(row.memory);
    free(orders);
    return 0;
}

/* ---- Spearman of resampled columns ---- */

/* Centred ranks of LANES resamples at once, from how often each column was drawn: weight (m, LANES). Each tie group
 * contributes value * (its sum of `other`) to products; squares are weighted. Doubles, whole numbers below 2^53. */
static void resampled(const int32_t *restrict order, const int32_t *restrict last, long m, double size,
                      const double *restrict weight, const double *restrict other, double *restrict products,
                      double *restrict squares, double *restrict ranks) {
    double below[LANES] = {0}, total[LANES] = {0}, square[LANES] = {0};
    for (long start = 0; start < m; start = last[start] + 1) {
        double drawn[LANES] = {0}, sum[LANES] = {0};
        for (long i = start; i <= last[start]; i++) {
            const double *w = weight + (long)order[i] * LANES, *o = other + (long)order[i] * LANES;
            for (int l = 0; l < LANES; l++) drawn[l] += w[l], sum[l] += o[l];
        }
        for (int l = 0; l < LANES; l++) {
            double value = 2.0 * below[l] + drawn[l] - size;
            total[l] += value * sum[l];
            square[l] += drawn[l] * value * value;
            below[l] += drawn[l];
            drawn[l] = value;
        }
        for (long i = start; ranks && i <= last[start]; i++)
            for (int l = 0; l < LANES; l++) ranks[(long)order[i] * LANES + l] = drawn[l];
    }
    memcpy(products, total, sizeof total);
    memcpy(squares, square, sizeof square);
}

/* indices (b, size) of columns drawn; products, left (n, b); right (b). */
int spearman_bootstrap(long n, long m, const void *scores, int single, const double *target, long b, long size,
                       const int64_t *indices, double *products, double *left, double *right) {
    Row row;
    int32_t *orders = calloc((size_t)(2 * (n + 1) * m + n + 1) + 1, sizeof *orders), *lasts = orders + (n + 1) * m;
    int32_t *usable = lasts + (n + 1) * m;
    double *weight = malloc(sizeof *weight * 2 * LANES * (size_t)m), *weighted = weight + LANES * m;
    if (!orders || !weight || make(&row, m)) return free(orders), free(weight), 1;
    for (long r = 0; r <= n; r++) { /* the target is row n */
        usable[r] = r < n ? sort_row(&row, nth(scores, single, m, r), single, m) : sort_row(&row, target, 0, m);
        memcpy(orders + r * m, row.order, sizeof *orders * (size_t)m);
        memcpy(lasts + r * m, row.last, sizeof *lasts * (size_t)m);
    }
    for (long block = 0; block < b; block += LANES) {
        long lanes = b - block < LANES ? b - block : LANES;
        double sums[LANES], squares[LANES];
        memset(weight, 0, sizeof *weight * 2 * LANES * (size_t)m);
        for (long l = 0; l < lanes; l++)
            for (long i = 0; i < size; i++) weight[indices[(block + l) * size + i] * LANES + l] += 1.0;
        if (usable[n])
            resampled(orders + n * m, lasts + n * m, m, (double)size, weight, weight, sums, squares, weighted);
        for (long l = 0; l < lanes; l++) right[block + l] = usable[n] ? squares[l] : 0.0;
        for (long i = 0; i < LANES * m; i++) weighted[i] *= weight[i];
        for (long r = 0; r < n; r++) {
            if (usable[r])
                resampled(orders + r * m, lasts + r * m, m, (double)size, weight, weighted, sums, squares, NULL);
            for (long l = 0; l < lanes; l++) {
                products[r * b + block + l] = usable[r] && usable[n] ? sums[l] : 0.0;
                left[r * b + block + l] = usable[r] ? squares[l] : 0.0;
            }
        }
    }
    free(row.memory);
    free(orders);
    free(weight);
    return 0;
}
