/* -------------------------------------------------------------------------------------------------- the program */

/* All memory that is written to but the stack, of which some 250 bytes are used. Maps are stored position by position,
   row by row, with all channels of a position side by side. */
static struct {
    float field[LENET_FIELD_HEIGHT * LENET_FIELD_WIDTH * LENET_CHANNELS]; /* the picture with its border */
    float s2[14 * 14 * 6];
    float s4[5 * 5 * 16];
    float c5[120];
    float f6[84];
} memory;

typedef char lenet_ram_is_as_stated[sizeof memory == LENET_RAM ? 1 : -1];

typedef struct {
    const float *weight, *bias;
    const float *coefficient, *offset; /* of the trainable subsampling after it, in the network of 1998 */
} layer;

//@modern
static float squash(float sum) { return sum > 0 ? sum : 0; }

/* A 2x2 block of a convolution's sums as one number of the pooled map. */
static float pooled(const float sum[4], const layer *of, int map)
{
    float largest = sum[0];
    int i;
    (void)of;
    (void)map;
    for (i = 1; i < 4; i++)
        if (sum[i] > largest) largest = sum[i];
    return squash(largest);
}
//@classic
static float squash(float sum) { return 1.7159f * tanhf(0.66666667f * sum); }

/* A 2x2 block of a convolution's sums as one number of the subsampled map. */
static float pooled(const float sum[4], const layer *of, int map)
{
    float total = (squash(sum[0]) + squash(sum[1])) + (squash(sum[2]) + squash(sum[3]));
    return squash(total * of->coefficient[map] + of->offset[map]);
}
//@end

/* A 5x5 convolution of a map with `columns` positions a row and `channels` numbers a position, and the subsampling by 2
   after it, block by block: the convolution's own map is never stored. */
static void convolve(const layer *of, const float *in, int columns, int channels, float *out, int rows_out,
                     int columns_out, int maps)
{
    const int row = columns * channels, run = 5 * channels;
    int y, x, map, i, j;
    for (y = 0; y < rows_out; y++)
        for (x = 0; x < columns_out; x++)
            for (map = 0; map < maps; map++) {
                const float *from = in + 2 * y * row + 2 * x * channels;
                const float *weight = of->weight + map * 5 * run;
                const float bias = of->bias[map];
                float sum[4];
                float a = 0, b = 0, c = 0, d = 0;
                for (i = 0; i < 5; i++, from += row, weight += run)
                    for (j = 0; j < run; j++) {
                        a += weight[j] * from[j];
                        b += weight[j] * from[j + channels];
                        c += weight[j] * from[j + row];
                        d += weight[j] * from[j + row + channels];
                    }
                sum[0] = a + bias;
                sum[1] = b + bias;
                sum[2] = c + bias;
                sum[3] = d + bias;
                *out++ = pooled(sum, of, map);
            }
}

static float dot(const float *weight, const float *in, int inputs)
{
    float a = 0, b = 0;
    int i;
    for (i = 0; i < inputs; i += 2) {
        a += weight[i] * in[i];
        b += weight[i + 1] * in[i + 1];
    }
    return a + b;
}

static void connect(const layer *of, const float *in, int inputs, float *out, int outputs)
{
    int i;
    for (i = 0; i < outputs; i++) out[i] = squash(dot(of->weight + i * inputs, in, inputs) + of->bias[i]);
}

int lenet_read(const uint8_t pixels[LENET_PIXELS], float logits[LENET_CLASSES])
{
//@modern
    static const layer c1 = {c1_weight, c1_bias, NULL, NULL}, c3 = {c3_weight, c3_bias, NULL, NULL};
//@classic
    static const layer c1 = {c1_weight, c1_bias, s2_weight, s2_bias}, c3 = {c3_weight, c3_bias, s4_weight, s4_bias};
//@end
    static const layer c5 = {c5_weight, c5_bias, NULL, NULL}, f6 = {f6_weight, f6_bias, NULL, NULL};
    float largest = 0;
    int best = 0, i, x, y, channel;

    for (i = 0; i < LENET_FIELD_HEIGHT * LENET_FIELD_WIDTH * LENET_CHANNELS; i++) memory.field[i] = LENET_BACKGROUND;
    for (channel = 0; channel < LENET_CHANNELS; channel++)
        for (y = 0; y < LENET_HEIGHT; y++)
            for (x = 0; x < LENET_WIDTH; x++) {
                const int place = (y + LENET_BORDER) * LENET_FIELD_WIDTH + x + LENET_BORDER;
                memory.field[place * LENET_CHANNELS + channel] = (float)*pixels++ * scale[channel] + shift[channel];
            }
    convolve(&c1, memory.field, LENET_FIELD_WIDTH, LENET_CHANNELS, memory.s2, 14, 14, 6);
    convolve(&c3, memory.s2, 14, 6, memory.s4, 5, 5, 16);
    connect(&c5, memory.s4, 400, memory.c5, 120);
    connect(&f6, memory.c5, 120, memory.f6, 84);
    for (i = 0; i < LENET_CLASSES; i++) {
//@modern
        const float logit = dot(output_weight + i * 84, memory.f6, 84) + output_bias[i];
//@classic
        float logit = 0;
        for (x = 0; x < 84; x++) {
            const float apart = memory.f6[x] - output_weight[i * 84 + x];
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
