/* One solver step of n rows; see kernels/diffusion/__init__.py for what it computes.
 *
 * Rows are walked in stretches that stay in the first-level cache, so that x, the image and the history are read from
 * memory once however many outputs there are. Without contraction (kernels/build.py) each product is rounded before it
 * is added, as torch does it.
 */
#include <stddef.h>

#define STRETCH 512

static inline float clipped(float value, float limit) {
    /* comparisons with NaN are false: it stays */
    value = value > limit ? limit : value;
    return value < -limit ? -limit : value;
}

void diffusion_advance(long n, long d, long slots, const float *x, const float *output, const float *history,
                       const float *reads, const float *matrix, int clips, float limit, float *next, float *later) {
    const long width = 2 + slots;
    float image[STRETCH];
    for (long i = 0; i < n; i++) {
        const float p = reads[2 * i], q = reads[2 * i + 1];
        const float *own = matrix + i * (1 + slots) * width;
        for (long start = 0; start < d; start += STRETCH) {
            const long length = d - start < STRETCH ? d - start : STRETCH;
            const float *from = x + i * d + start, *said = output + i * d + start;
            for (long j = 0; j < length; j++) image[j] = p * from[j] + q * said[j];
            if (clips)
                for (long j = 0; j < length; j++) image[j] = clipped(image[j], limit);
            for (long row = 0; row <= slots; row++) {
                const float *weights = own + row * width;
                float *to = row ? later + (i * slots + row - 1) * d + start : next + i * d + start;
                for (long j = 0; j < length; j++) to[j] = weights[0] * from[j] + weights[1] * image[j];
                for (long slot = 0; slot < slots; slot++) {
                    const float weight = weights[2 + slot], *past = history + (i * slots + slot) * d + start;
                    for (long j = 0; j < length; j++) to[j] += weight * past[j];
                }
            }
        }
    }
}
