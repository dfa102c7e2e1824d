// On-line training of lenet5_classic, one pattern per update: forward, backward and w <- w - step * gradient.
//
// The same arithmetic as autograd and lenet_zoo.paper1998.sdlm.SDLM, which the tests hold it against, without their cost
// of some ten microseconds an operation: at batch size 1 that is most of the time. Plain loops over constant sizes, which
// a compiler turns into vector instructions. compiled.py compiles this file and calls `train`.

#include <cmath>
#include <cstdint>
#include <cstring>

#include "../squash.h"

namespace {

// The trainable parameters, in the order of LeNet5Classic.parameters(); also the layout of the step sizes.
struct Weights {
    float C1[6][25], C1_bias[6];
    float S2[6], S2_bias[6];
    float C3[60][25], C3_bias[16];  // one kernel per connection, sorted by output map, then by input map
    float S4[16], S4_bias[16];
    float C5[120][400], C5_bias[120];
    float F6[84][120], F6_bias[84];
};
static_assert(sizeof(Weights) == 60000 * sizeof(float), "LeNet-5 has 60,000 trainable parameters");

// C3's maps of 10x10 are padded to whole vectors of 16; the padding is zero and stays so.
constexpr int PADDED = 112;

// What one pattern leaves behind on its way forward. Columns hold a map shifted by each of the 25 kernel positions, which
// makes a convolution a product of two matrices.
struct States {
    alignas(64) float C1_columns[25][784];
    alignas(64) float C1[6][784];
    alignas(64) float S2_sums[6][196];
    alignas(64) float S2[6][196];
    alignas(64) float C3_columns[6][25][PADDED];
    alignas(64) float C3[16][PADDED];
    alignas(64) float S4_sums[16][25];
    alignas(64) float S4[400];
    alignas(64) float C5[120];
    alignas(64) float F6[84];
};

// dE/d(state), turned into dE/d(weighted sum) in place.
struct Gradients {
    alignas(64) float C1[6][784];
    alignas(64) float S2[6][196];
    alignas(64) float C3[16][PADDED];
    alignas(64) float S4[400];
    alignas(64) float C5[120];
    alignas(64) float F6[84];
};

// Which maps C3's connections join: connection c reads S2's map source[c] for C3's map output[c]. In Table I each map of
// S2 has ten readers; those of map m are the connections reader[m].
struct Connections {
    int64_t source[60], output[60], reader[6][10];
};

// x <- A tanh(S x).
inline void squash(float* x, int n) {
    for (int i = 0; i < n; i++) x[i] = A * tanh_of(S * x[i]);
}

// dE/dx -> dE/da for x = A tanh(S a).
inline void through_squash(float* gradient, const float* x, int n) {
    for (int i = 0; i < n; i++) gradient[i] *= (S / A) * (A * A - x[i] * x[i]);
}

template <int N>
inline float dot(const float* a, const float* b) {
    float sum = 0.0f;
    for (int i = 0; i < N; i++) sum += a[i] * b[i];
    return sum;
}

template <int N>
inline float total(const float* a) {
    float sum = 0.0f;
    for (int i = 0; i < N; i++) sum += a[i];
    return sum;
}

template <int N>
inline void add_scaled(float* sum, float factor, const float* a) {
    for (int i = 0; i < N; i++) sum[i] += factor * a[i];
}

template <int N>
inline void fill(float* a, float value) {
    for (int i = 0; i < N; i++) a[i] = value;
}

// The size x size outputs of a 5x5 window over a map that is width wide, one row per position in the window.
template <int size, int stride>
inline void columns(float (*rows)[stride], const float* map, int width) {
    for (int i = 0; i < 5; i++)
        for (int j = 0; j < 5; j++)
            for (int y = 0; y < size; y++)
                std::memcpy(rows[5 * i + j] + y * size, map + (y + i) * width + j, size * sizeof(float));
}

// Subsampling by 2 of one map to size x size: the sums of 2x2 inputs, and coefficient * sum + bias.
template <int size>
inline void subsample(float* sums, float* out, const float* map, float coefficient, float bias) {
    for (int y = 0; y < size; y++)
        for (int x = 0; x < size; x++) {
            const float* corner = map + 4 * size * y + 2 * x;
            const float sum = corner[0] + corner[1] + corner[2 * size] + corner[2 * size + 1];
            sums[y * size + x] = sum;
            out[y * size + x] = coefficient * sum + bias;
        }
}

template <int size>
inline void subsample_backward(float* below, const float* gradient, float coefficient) {
    for (int y = 0; y < size; y++)
        for (int x = 0; x < size; x++) {
            float* corner = below + 4 * size * y + 2 * x;
            corner[0] = corner[1] = corner[2 * size] = corner[2 * size + 1] = coefficient * gradient[y * size + x];
        }
}

void forward(const Weights& w, States& s, const float* field, const Connections& maps) {
    columns<28, 784>(s.C1_columns, field, 32);
    for (int m = 0; m < 6; m++) {
        fill<784>(s.C1[m], w.C1_bias[m]);
        for (int y = 0; y < 784; y += 112)  // four rows at a time stay in registers
            for (int k = 0; k < 25; k++) add_scaled<112>(s.C1[m] + y, w.C1[m][k], s.C1_columns[k] + y);
    }
    squash(s.C1[0], 6 * 784);

    for (int m = 0; m < 6; m++) subsample<14>(s.S2_sums[m], s.S2[m], s.C1[m], w.S2[m], w.S2_bias[m]);
    squash(s.S2[0], 6 * 196);

    for (int m = 0; m < 6; m++) columns<10, PADDED>(s.C3_columns[m], s.S2[m], 14);
    for (int m = 0; m < 16; m++) fill<100>(s.C3[m], w.C3_bias[m]);
    for (int c = 0; c < 60; c++) {
        float sum[PADDED];
        std::memcpy(sum, s.C3[maps.output[c]], sizeof sum);
        for (int k = 0; k < 25; k++) add_scaled<PADDED>(sum, w.C3[c][k], s.C3_columns[maps.source[c]][k]);
        std::memcpy(s.C3[maps.output[c]], sum, sizeof sum);
    }
    squash(s.C3[0], 16 * PADDED);

    for (int m = 0; m < 16; m++) subsample<5>(s.S4_sums[m], s.S4 + 25 * m, s.C3[m], w.S4[m], w.S4_bias[m]);
    squash(s.S4, 400);

    for (int i = 0; i < 120; i++) s.C5[i] = w.C5_bias[i] + dot<400>(w.C5[i], s.S4);
    squash(s.C5, 120);

    for (int i = 0; i < 84; i++) s.F6[i] = w.F6_bias[i] + dot<120>(w.F6[i], s.C5);
    squash(s.F6, 84);
}

// From dE/d(F6's states), in g.F6, down to C1; each layer's weights move as soon as the layer below has its gradient.
void backward(Weights& w, const Weights& step, const States& s, Gradients& g, const Connections& maps) {
    through_squash(g.F6, s.F6, 84);
    fill<120>(g.C5, 0.0f);
    for (int i = 0; i < 84; i++) {
        add_scaled<120>(g.C5, g.F6[i], w.F6[i]);
        for (int j = 0; j < 120; j++) w.F6[i][j] -= step.F6[i][j] * (g.F6[i] * s.C5[j]);
        w.F6_bias[i] -= step.F6_bias[i] * g.F6[i];
    }

    through_squash(g.C5, s.C5, 120);
    fill<400>(g.S4, 0.0f);
    for (int i = 0; i < 120; i++) {
        add_scaled<400>(g.S4, g.C5[i], w.C5[i]);
        for (int j = 0; j < 400; j++) w.C5[i][j] -= step.C5[i][j] * (g.C5[i] * s.S4[j]);
        w.C5_bias[i] -= step.C5_bias[i] * g.C5[i];
    }

    through_squash(g.S4, s.S4, 400);
    for (int m = 0; m < 16; m++) {
        const float* gradient = g.S4 + 25 * m;
        subsample_backward<5>(g.C3[m], gradient, w.S4[m]);
        w.S4[m] -= step.S4[m] * dot<25>(gradient, s.S4_sums[m]);
        w.S4_bias[m] -= step.S4_bias[m] * total<25>(gradient);
    }

    through_squash(g.C3[0], s.C3[0], 16 * PADDED);
    std::memset(g.S2, 0, sizeof g.S2);
    for (int m = 0; m < 6; m++)
        for (int j = 0; j < 5; j++) {
            float shifted[14 * 10] = {};  // the gradient from the kernels' column j, over 14 rows of S2
            for (int i = 0; i < 5; i++) {
                float column[PADDED] = {};
                for (int n = 0; n < 10; n++) {
                    const int64_t c = maps.reader[m][n];
                    add_scaled<PADDED>(column, w.C3[c][5 * i + j], g.C3[maps.output[c]]);
                }
                add_scaled<100>(shifted + 10 * i, 1.0f, column);
            }
            for (int y = 0; y < 14; y++) add_scaled<10>(g.S2[m] + 14 * y + j, 1.0f, shifted + 10 * y);
        }
    for (int c = 0; c < 60; c++)
        for (int k = 0; k < 25; k++)
            w.C3[c][k] -= step.C3[c][k] * dot<PADDED>(g.C3[maps.output[c]], s.C3_columns[maps.source[c]][k]);
    for (int m = 0; m < 16; m++) w.C3_bias[m] -= step.C3_bias[m] * total<PADDED>(g.C3[m]);

    through_squash(g.S2[0], s.S2[0], 6 * 196);
    for (int m = 0; m < 6; m++) {
        subsample_backward<14>(g.C1[m], g.S2[m], w.S2[m]);
        w.S2[m] -= step.S2[m] * dot<196>(g.S2[m], s.S2_sums[m]);
        w.S2_bias[m] -= step.S2_bias[m] * total<196>(g.S2[m]);
    }

    through_squash(g.C1[0], s.C1[0], 6 * 784);
    for (int m = 0; m < 6; m++) {
        for (int k = 0; k < 25; k++) w.C1[m][k] -= step.C1[m][k] * dot<784>(g.C1[m], s.C1_columns[k]);
        w.C1_bias[m] -= step.C1_bias[m] * total<784>(g.C1[m]);
    }
}

}  // namespace

// Train on `count` patterns in the order given.
//   weights, steps   60,000 floats each, as in `Weights`; weights are updated in place
//   fields           count x 32 x 32, normalised; labels: count, 0 ... 9
//   codes            10 x 84, the centres of the RBF outputs
//   connections      180 integers, see `Connections`
//   map, j           0: the loss is Eq. 8; 1: it is Eq. 9 with this j
//   penalties        count x 10, out: y_i of each pattern before the update that it caused
extern "C" void train(float* weights, const float* steps, const float* fields, const int64_t* labels, const float* codes,
                      const int64_t* connections, int64_t map, float j, float* penalties, int64_t count) {
    Weights& w = *reinterpret_cast<Weights*>(weights);
    const Weights& step = *reinterpret_cast<const Weights*>(steps);
    const Connections& maps = *reinterpret_cast<const Connections*>(connections);
    static thread_local States s;
    static thread_local Gradients g;
    std::memset(&s, 0, sizeof s);  // C3's padding: a run that ended in NaN must not leave any to the next
    std::memset(&g, 0, sizeof g);
    for (int64_t n = 0; n < count; n++) {
        forward(w, s, fields + n * 1024, maps);

        float* y = penalties + n * 10;
        for (int i = 0; i < 10; i++) {
            float difference[84];
            for (int k = 0; k < 84; k++) difference[k] = s.F6[k] - codes[84 * i + k];
            y[i] = dot<84>(difference, difference);
        }

        float slope[10] = {};  // dE/dy_i
        if (map) {
            float least = j;
            for (int i = 0; i < 10; i++) least = y[i] < least ? y[i] : least;
            float sum = std::exp(least - j);
            for (int i = 0; i < 10; i++) sum += slope[i] = std::exp(least - y[i]);
            for (int i = 0; i < 10; i++) slope[i] = -slope[i] / sum;
        }
        slope[labels[n]] += 1.0f;

        fill<84>(g.F6, 0.0f);
        for (int i = 0; i < 10; i++)
            for (int k = 0; k < 84; k++) g.F6[k] += 2.0f * slope[i] * (s.F6[k] - codes[84 * i + k]);
        backward(w, step, s, g, maps);
    }
}
