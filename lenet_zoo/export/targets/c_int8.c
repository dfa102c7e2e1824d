/* -------------------------------------------------------------------------------------------------- the program */

/* Integers alone. A sum of products is exact in 32 bits. Between layers it becomes 8 bits again in one way:
   sum * multiplier / 2^shift, rounded to the nearest integer, halves up, and cut to the range of the type. */

//@modern
typedef uint8_t state; /* of a layer: 0 to its largest value */
#define LENET_OFFSET 0
//@classic
typedef int8_t state; /* of a layer: in steps of 1/74. Of the picture: pixel - 128 */
#define LENET_OFFSET 128
//@end

#define LENET_MOST_TAPS (25 * (LENET_CHANNELS > 6 ? LENET_CHANNELS : 6))

/* All memory that is written to but the stack, of which some 250 bytes are used. Maps are stored position by position,
   row by row, with all channels of a position side by side. */
static struct {
    state field[LENET_FIELD_HEIGHT * LENET_FIELD_WIDTH * LENET_CHANNELS]; /* the picture with its border */
    state s2[14 * 14 * 6];
    state s4[5 * 5 * 16];
    state c5[120];
    state f6[84];
    int16_t patch[4 * LENET_MOST_TAPS]; /* what a 2x2 block of a convolution's map reads */
} memory;

typedef char lenet_ram_is_as_stated[sizeof memory == LENET_RAM ? 1 : -1];

typedef struct {
    const int8_t *weight;
    const int32_t *bias, *multiplier;
    int shift;
//@classic
    const int16_t *coefficient; /* of the trainable subsampling after it */
    const int32_t *offset, *pooled_multiplier;
    int pooled_shift;
//@end
} layer;

/* For sum >= 0. */
static int32_t scaled(int32_t sum, int32_t multiplier, int shift)
{
    return (int32_t)(((int64_t)sum * multiplier + ((int64_t)1 << (shift - 1))) >> shift);
}

//@modern
static state squash(int32_t sum, int32_t multiplier, int shift)
{
    int32_t value;
    if (sum <= 0) return 0;
    value = scaled(sum, multiplier, shift);
    return (state)(value > 255 ? 255 : value);
}

/* A 2x2 block of a convolution's sums as one number of the pooled map. */
static state pooled(const layer *of, int map, int32_t a, int32_t b, int32_t c, int32_t d)
{
    if (b > a) a = b;
    if (d > c) c = d;
    return squash(a > c ? a : c, of->multiplier[map], of->shift);
}
//@classic
/* The table holds 74 * 1.7159 tanh(2/3 x) for x = 0, 1/215, 2/215, ...; the multiplier makes such steps of the sum. */
static state squash(int32_t sum, int32_t multiplier, int shift)
{
    int32_t place = scaled(sum < 0 ? -sum : sum, multiplier, shift);
    if (place > 1023) place = 1023;
    return (state)(sum < 0 ? -tanh_table[place] : tanh_table[place]);
}

/* A 2x2 block of a convolution's sums as one number of the subsampled map. */
static state pooled(const layer *of, int map, int32_t a, int32_t b, int32_t c, int32_t d)
{
    const int32_t multiplier = of->multiplier[map];
    const int32_t total = squash(a, multiplier, of->shift) + squash(b, multiplier, of->shift) +
                          squash(c, multiplier, of->shift) + squash(d, multiplier, of->shift);
    return squash(total * of->coefficient[map] + of->offset[map], of->pooled_multiplier[map], of->pooled_shift);
}
//@end

/* Cortex-M4 and larger multiply two pairs of 16 bits at once. LENET_PORTABLE leaves that out; results are the same. */
#if defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_SIMD32) && !defined(LENET_PORTABLE)
#include <arm_acle.h>
#include <string.h>
#define LENET_PAIRS 1
/* Of a word's four bytes, the first and third, and the second and fourth, in 16 bits each. */
#define LENET_WEIGHTS_1_3(word) ((int16x2_t)__sxtb16((int8x4_t)(word)))
#define LENET_WEIGHTS_2_4(word) LENET_WEIGHTS_1_3((word) >> 8 | (word) << 24)
//@modern
#define LENET_STATES_1_3(word) ((int16x2_t)__uxtb16(word))
#define LENET_STATES_2_4(word) LENET_STATES_1_3((word) >> 8 | (word) << 24)
//@classic
#define LENET_STATES_1_3 LENET_WEIGHTS_1_3
#define LENET_STATES_2_4 LENET_WEIGHTS_2_4
//@end
static inline uint32_t four(const void *from)
{
    uint32_t word;
    memcpy(&word, from, sizeof word);
    return word;
}
#endif

/* Lay out in the patch what a block at `from` reads: for each number of a kernel's row, those of the four positions; in
   pairs, four numbers of a position come before the next position's. */
static void lay_out(const state *from, int row, int channels)
{
    int16_t *to = memory.patch;
    int i, j;
    for (i = 0; i < 5; i++, from += row) {
        const state *p = from;
        j = 5 * channels;
#ifdef LENET_PAIRS
        for (; j >= 4; j -= 4, p += 4, to += 16) {
            const uint32_t a = four(p), b = four(p + channels), c = four(p + row), d = four(p + row + channels);
            const int16x2_t pairs[8] = {LENET_STATES_1_3(a), LENET_STATES_2_4(a), LENET_STATES_1_3(b),
                                        LENET_STATES_2_4(b), LENET_STATES_1_3(c), LENET_STATES_2_4(c),
                                        LENET_STATES_1_3(d), LENET_STATES_2_4(d)};
            memcpy(to, pairs, sizeof pairs);
        }
#endif
        for (; j > 0; j--, p++, to += 4) {
            to[0] = p[0];
            to[1] = p[channels];
            to[2] = p[row];
            to[3] = p[row + channels];
        }
    }
}

/* A 5x5 convolution of a map with `columns` positions a row and `channels` numbers a position, and the subsampling by 2
   after it, block by block: the convolution's own map is never stored. */
static void convolve(const layer *of, const state *in, int columns, int channels, state *out, int size_out, int maps)
{
    const int row = columns * channels;
    int y, x, map, i;
    for (y = 0; y < size_out; y++)
        for (x = 0; x < size_out; x++) {
            const int8_t *weight = of->weight;
            lay_out(in + 2 * y * row + 2 * x * channels, row, channels);
            for (map = 0; map < maps; map++) {
                const int16_t *p = memory.patch;
                int32_t a = of->bias[map], b = a, c = a, d = a;
#ifdef LENET_PAIRS
                for (i = 0; i < 5; i++) {
                    int j = 5 * channels;
                    for (; j >= 4; j -= 4, weight += 4, p += 16) {
                        const uint32_t weights = four(weight);
                        const int16x2_t w13 = LENET_WEIGHTS_1_3(weights), w24 = LENET_WEIGHTS_2_4(weights);
                        a = __smlad(w24, (int16x2_t)four(p + 2), __smlad(w13, (int16x2_t)four(p), a));
                        b = __smlad(w24, (int16x2_t)four(p + 6), __smlad(w13, (int16x2_t)four(p + 4), b));
                        c = __smlad(w24, (int16x2_t)four(p + 10), __smlad(w13, (int16x2_t)four(p + 8), c));
                        d = __smlad(w24, (int16x2_t)four(p + 14), __smlad(w13, (int16x2_t)four(p + 12), d));
                    }
                    for (; j > 0; j--, weight++, p += 4) {
                        a += *weight * p[0];
                        b += *weight * p[1];
                        c += *weight * p[2];
                        d += *weight * p[3];
                    }
                }
#else
#define LENET_TAP(k) \
    a += weight[k] * p[4 * k], b += weight[k] * p[4 * k + 1], c += weight[k] * p[4 * k + 2], d += weight[k] * p[4 * k + 3]
                for (i = 5 * channels; i > 0; i--, weight += 5, p += 20) {
                    LENET_TAP(0);
                    LENET_TAP(1);
                    LENET_TAP(2);
                    LENET_TAP(3);
                    LENET_TAP(4);
                }
#undef LENET_TAP
#endif
                *out++ = pooled(of, map, a, b, c, d);
            }
        }
}

static void connect(const layer *of, const state *in, int inputs, state *out, int outputs)
{
    const int8_t *weight = of->weight;
    int i, j;
    for (i = 0; i < outputs; i++) {
        const state *p = in;
        int32_t a = of->bias[i];
        for (j = inputs; j > 0; j -= 4) {
#ifdef LENET_PAIRS
            const uint32_t weights = four(weight);
            const uint32_t states = four(p);
            a = __smlad(LENET_WEIGHTS_1_3(weights), LENET_STATES_1_3(states), a);
            a = __smlad(LENET_WEIGHTS_2_4(weights), LENET_STATES_2_4(states), a);
#else
            a += weight[0] * p[0] + weight[1] * p[1] + weight[2] * p[2] + weight[3] * p[3];
#endif
            weight += 4, p += 4;
        }
        out[i] = squash(a, of->multiplier[i], of->shift);
    }
}

int lenet_read(const uint8_t pixels[LENET_PIXELS], int32_t logits[LENET_CLASSES])
{
//@modern
    static const layer c1 = {c1_weight, c1_bias, c1_multiplier, C1_SHIFT};
    static const layer c3 = {c3_weight, c3_bias, c3_multiplier, C3_SHIFT};
    static const layer c5 = {c5_weight, c5_bias, c5_multiplier, C5_SHIFT};
    static const layer f6 = {f6_weight, f6_bias, f6_multiplier, F6_SHIFT};
//@classic
    static const layer c1 = {c1_weight, c1_bias, c1_multiplier, C1_SHIFT, s2_weight, s2_bias, s2_multiplier, S2_SHIFT};
    static const layer c3 = {c3_weight, c3_bias, c3_multiplier, C3_SHIFT, s4_weight, s4_bias, s4_multiplier, S4_SHIFT};
    static const layer c5 = {c5_weight, c5_bias, c5_multiplier, C5_SHIFT, NULL, NULL, NULL, 0};
    static const layer f6 = {f6_weight, f6_bias, f6_multiplier, F6_SHIFT, NULL, NULL, NULL, 0};
//@end
    int32_t largest = 0;
    int best = 0, i, x, y, channel;

    for (channel = 0; channel < LENET_CHANNELS; channel++)
        for (y = -LENET_BORDER; y < LENET_HEIGHT + LENET_BORDER; y++)
            for (x = -LENET_BORDER; x < LENET_WIDTH + LENET_BORDER; x++) {
                const int place = (y + LENET_BORDER) * LENET_FIELD_WIDTH + x + LENET_BORDER;
                const int inside = y >= 0 && y < LENET_HEIGHT && x >= 0 && x < LENET_WIDTH;
                const int pixel = inside ? *pixels++ : background[channel];
                memory.field[place * LENET_CHANNELS + channel] = (state)(pixel - LENET_OFFSET);
            }
    convolve(&c1, memory.field, LENET_FIELD_WIDTH, LENET_CHANNELS, memory.s2, 14, 6);
    convolve(&c3, memory.s2, 14, 6, memory.s4, 5, 16);
    connect(&c5, memory.s4, 400, memory.c5, 120);
    connect(&f6, memory.c5, 120, memory.f6, 84);
    for (i = 0; i < LENET_CLASSES; i++) {
//@modern
        int32_t logit = output_bias[i];
        for (x = 0; x < 84; x++) logit += output_weight[i * 84 + x] * memory.f6[x];
//@classic
        int32_t logit = 0;
        for (x = 0; x < 84; x++) {
            const int32_t apart = memory.f6[x] - output_weight[i * 84 + x];
            logit -= apart * apart;
        }
//@end
        if (logits) logits[i] = logit;
        if (i == 0 || logit > largest) {
            largest = logit;
            best = i;
        }
    }
    return best;
}

#endif /* LENET_DECLARATIONS_ONLY */
