// The two lower stages of lenet5_modern in training: 5x5 convolution, batch normalisation where asked for, ReLU and 2x2
// max pooling, and their gradients. A step of training spends most of its time here.
//
// The same arithmetic as autograd, which the tests hold it against. torch's kernels want many maps, and 6 and 16 are
// few; here the pictures are the lanes: as many as the machine's vectors hold, a "group", lie side by side in every
// number's place, so that each loop below is plain arithmetic on vectors, whatever the number of maps. fused.py compiles
// and calls this file.
//
// Groups are independent of each other. What is summed over the batch is summed per group first and then in the
// groups' order, so that the result does not depend on how many threads share them.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

namespace {

// A vector that the machine does not have would go through memory at every step, ten times slower.
#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif
// Sums that are in registers together: of 32 of them, or of 16.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr bool MANY = true;
#else
constexpr bool MANY = false;
#endif

typedef float V __attribute__((vector_size(LANES * sizeof(float))));

inline float total(V v) {
    float sum = 0.0f;
    for (int lane = 0; lane < LANES; lane++) sum += v[lane];
    return sum;
}

inline V larger(V a, V b) { return a < b ? b : a; }

template <typename Work>
void each(int64_t groups, int64_t threads, Work work) {
    threads = threads < groups ? threads : groups;
    std::vector<std::thread> others;
    for (int64_t t = 1; t < threads; t++)
        others.emplace_back([=] {
            for (int64_t g = t; g < groups; g += threads) work(g);
        });
    for (int64_t g = 0; g < groups; g += threads) work(g);
    for (std::thread& other : others) other.join();
}

// IN x OUT kernels of 5x5 over maps that are SIZE wide, their border included.
template <int IN, int OUT, int SIZE>
struct Stage {
    static constexpr int WIDE = SIZE - 4, HALF = WIDE / 2;
    // Below the first stage nothing wants a gradient. For the second the gradient at the sums gets a margin of zeros,
    // which makes every row of the gradient at its inputs a sum of equal length.
    static constexpr int MARGIN = IN > 1 ? 4 : 0, ROW = WIDE + 2 * MARGIN;
    // How much is in registers together: maps and places in a row of the convolution, maps of the kernels' gradient, maps
    // and places of the gradient at the inputs.
    static constexpr int MAPS = OUT == 6 ? 6 : MANY ? 4 : 2, AT_ONCE = OUT == 16 ? 5 : MANY ? 4 : 2;
    static constexpr int SLOPES = !MANY ? 2 : OUT == 6 ? 3 : 4;
    static constexpr int CHANNELS = IN == 1 ? 1 : MANY ? 3 : 6, PLACES = MANY ? 7 : 2;

    using Inputs = V[IN][SIZE][SIZE];
    using Sums = V[OUT][WIDE][WIDE];
    using Pooled = V[OUT][HALF][HALF];
    using Kernels = float[OUT][IN][5][5];
    struct Slope {
        V at[OUT][WIDE][ROW];
    };

    static void convolve(const Inputs& x, const Kernels& w, Sums& sums) {
        for (int o = 0; o < OUT; o += MAPS)
            for (int row = 0; row < WIDE; row++)
                for (int column = 0; column < WIDE; column += AT_ONCE) {
                    V sum[MAPS][AT_ONCE] = {};
                    for (int c = 0; c < IN; c++)
                        for (int i = 0; i < 5; i++) {
                            const V* from = &x[c][row + i][column];
#pragma GCC unroll 5
                            for (int j = 0; j < 5; j++)
#pragma GCC unroll 6
                                for (int m = 0; m < MAPS; m++)
#pragma GCC unroll 5
                                    for (int n = 0; n < AT_ONCE; n++) sum[m][n] += from[j + n] * w[o + m][c][i][j];
                        }
                    for (int m = 0; m < MAPS; m++)
                        for (int n = 0; n < AT_ONCE; n++) sums[o + m][row][column + n] = sum[m][n];
                }
    }

    // Scale and shift that turn a map's sum, without its bias, into what ReLU gets.
    struct Affine {
        float scale[OUT], shift[OUT];
    };

    static Affine affine(const float* bias, const float* gamma, const float* beta, const float* mean, const float* var,
                         float eps) {
        Affine a;
        for (int o = 0; o < OUT; o++) {
            a.scale[o] = gamma ? gamma[o] / std::sqrt(var[o] + eps) : 1.0f;
            a.shift[o] = gamma ? beta[o] - mean[o] * a.scale[o] : bias[o];
        }
        return a;
    }

    static void forward(const Inputs* x, const Kernels& w, const float* bias, const float* gamma, const float* beta,
                        float eps, Sums* sums, Pooled* pooled, float* mean, float* var, int64_t groups,
                        int64_t threads) {
        struct Moments {
            double sum[OUT], square[OUT];
        };
        std::vector<Moments> part(groups);
        each(groups, threads, [&, x, sums, gamma](int64_t g) {
            convolve(x[g], w, sums[g]);
            for (int o = 0; o < OUT && gamma; o++) {
                V sum = {}, square = {};
                for (int row = 0; row < WIDE; row++)
                    for (int column = 0; column < WIDE; column++) {
                        const V a = sums[g][o][row][column];
                        sum += a;
                        square += a * a;
                    }
                part[g].sum[o] = total(sum);
                part[g].square[o] = total(square);
            }
        });
        const double count = double(groups) * LANES * WIDE * WIDE;
        for (int o = 0; o < OUT && gamma; o++) {
            double sum = 0, square = 0;
            for (const Moments& one : part) sum += one.sum[o], square += one.square[o];
            mean[o] = float(sum / count);
            var[o] = float(square / count - (sum / count) * (sum / count));
            var[o] = var[o] < 0.0f ? 0.0f : var[o];
        }
        const Affine to = affine(bias, gamma, beta, mean, var, eps);
        each(groups, threads, [&to, sums, pooled](int64_t g) {
            for (int o = 0; o < OUT; o++)
                for (int row = 0; row < HALF; row++)
                    for (int column = 0; column < HALF; column++) {
                        const V* upper = &sums[g][o][2 * row][2 * column];
                        const V* lower = upper + WIDE;
                        const float s = to.scale[o], t = to.shift[o];
                        const V highest = larger(larger(upper[0] * s + t, lower[0] * s + t),
                                                 larger(upper[1] * s + t, lower[1] * s + t));
                        pooled[g][o][row][column] = highest < 0.0f ? V{} : highest;  // a NaN stays one
                    }
        });
    }

    // Which of a window's four sums was the largest, 0 to 3 row by row, and 4 where ReLU let none through. A tie goes to
    // the upper row, then to the left column, as in torch.
    typedef int32_t Which __attribute__((vector_size(LANES * sizeof(int32_t))));

    static Which winner(const V* upper, const V* lower, float s, float t) {
        const V a = upper[0] * s + t, b = upper[1] * s + t, c = lower[0] * s + t, d = lower[1] * s + t;
        const V left = larger(a, c), right = larger(b, d);
        const Which in_left = a >= c ? Which{} : Which{} + 2, in_right = b >= d ? Which{} + 1 : Which{} + 3;
        const Which all = left >= right ? in_left : in_right;
        return larger(left, right) > V{} ? all : Which{} + 4;
    }

    static void backward(const Inputs* x, const Kernels& w, const float* bias, const float* gamma, const float* beta,
                         float eps, const float* mean, const float* var, const Sums* sums, const Pooled* slopes,
                         Kernels& dw, float* dbias, float* dgamma, float* dbeta, Inputs* dx, int64_t groups,
                         int64_t threads) {
        const Affine to = affine(bias, gamma, beta, mean, var, eps);
        // The gradient behind ReLU, and its product with the sums, over the batch.
        struct Moments {
            double slope[OUT], product[OUT];
        };
        std::vector<Moments> part(groups);
        each(groups, threads, [&, sums, slopes](int64_t g) {
            for (int o = 0; o < OUT; o++) {
                V slope = {}, product = {};
                for (int row = 0; row < HALF; row++)
                    for (int column = 0; column < HALF; column++) {
                        const V* upper = &sums[g][o][2 * row][2 * column];
                        const V* lower = upper + WIDE;
                        const Which which = winner(upper, lower, to.scale[o], to.shift[o]);
                        const V dz = which < 4 ? slopes[g][o][row][column] : V{};
                        const V top = (which & 1) == 0 ? upper[0] : upper[1];
                        const V bottom = (which & 1) == 0 ? lower[0] : lower[1];
                        slope += dz;
                        product += dz * (which < 2 ? top : bottom);
                    }
                part[g].slope[o] = total(slope);
                part[g].product[o] = total(product);
            }
        });
        // At a sum a the gradient is scale * dz + level + tilt * a; the last two come from the batch's mean and variance.
        float level[OUT] = {}, tilt[OUT] = {};
        const double count = double(groups) * LANES * WIDE * WIDE;
        for (int o = 0; o < OUT; o++) {
            double slope = 0, product = 0;
            for (const Moments& one : part) slope += one.slope[o], product += one.product[o];
            dbias[o] = gamma ? 0.0f : float(slope);  // normalisation takes a bias away again
            if (!gamma) continue;
            const double inverse = 1.0 / std::sqrt(double(var[o]) + eps);
            const double along = inverse * (product - mean[o] * slope);
            dgamma[o] = float(along);
            dbeta[o] = float(slope);
            tilt[o] = float(-to.scale[o] * along * inverse / count);
            level[o] = float(-to.scale[o] * slope / count - double(tilt[o]) * mean[o]);
        }
        std::vector<float> kernels(groups * sizeof(Kernels) / sizeof(float));
        each(groups, threads, [&, x, sums, slopes, dx](int64_t g) {
            static thread_local Slope scratch;  // its margins are never written, and stay zero
            Slope& da = scratch;
            for (int o = 0; o < OUT; o++)
                for (int row = 0; row < HALF; row++)
                    for (int column = 0; column < HALF; column++) {
                        const V* upper = &sums[g][o][2 * row][2 * column];
                        const V* lower = upper + WIDE;
                        const Which which = winner(upper, lower, to.scale[o], to.shift[o]);
                        const V dz = slopes[g][o][row][column] * to.scale[o];
                        V* above = &da.at[o][2 * row][2 * column + MARGIN];
                        V* below = above + ROW;
                        above[0] = (which == 0 ? dz : V{}) + (upper[0] * tilt[o] + level[o]);
                        above[1] = (which == 1 ? dz : V{}) + (upper[1] * tilt[o] + level[o]);
                        below[0] = (which == 2 ? dz : V{}) + (lower[0] * tilt[o] + level[o]);
                        below[1] = (which == 3 ? dz : V{}) + (lower[1] * tilt[o] + level[o]);
                    }
            kernel_slopes(x[g], da, reinterpret_cast<Kernels*>(kernels.data())[g]);
            if (dx) input_slopes(da, w, dx[g]);
        });
        float* sum = &dw[0][0][0][0];
        std::memset(sum, 0, sizeof(Kernels));
        constexpr int all = sizeof(Kernels) / sizeof(float);
        for (int64_t g = 0; g < groups; g++)
            for (int i = 0; i < all; i++) sum[i] += kernels[g * all + i];
    }

    static void kernel_slopes(const Inputs& x, const Slope& da, Kernels& dw) {
        for (int o = 0; o < OUT; o += SLOPES)
            for (int c = 0; c < IN; c++)
                for (int i = 0; i < 5; i++) {
                    V sum[SLOPES][5] = {};
                    for (int row = 0; row < WIDE; row++)
                        for (int column = 0; column < WIDE; column++) {
                            const V* from = &x[c][row + i][column];
#pragma GCC unroll 4
                            for (int m = 0; m < SLOPES; m++) {
                                const V slope = da.at[o + m][row][column + MARGIN];
#pragma GCC unroll 5
                                for (int j = 0; j < 5; j++) sum[m][j] += slope * from[j];
                            }
                        }
                    for (int m = 0; m < SLOPES; m++)
                        for (int j = 0; j < 5; j++) dw[o + m][c][i][j] = total(sum[m][j]);
                }
    }

    static void input_slopes(const Slope& da, const Kernels& w, Inputs& dx) {
        static_assert(SIZE % PLACES == 0 || MARGIN == 0, "a row is a whole number of pieces");
        for (int c = 0; c < IN; c += CHANNELS)
            for (int row = 0; row < SIZE; row++) {
                const int first = row < WIDE ? 0 : row - WIDE + 1, last = row < 4 ? row : 4;
                for (int column = 0; column + PLACES <= SIZE; column += PLACES) {
                    V sum[CHANNELS][PLACES] = {};
                    for (int o = 0; o < OUT; o++)
                        for (int i = first; i <= last; i++) {
                            const V* from = &da.at[o][row - i][column + MARGIN];
#pragma GCC unroll 5
                            for (int j = 0; j < 5; j++)
#pragma GCC unroll 6
                                for (int m = 0; m < CHANNELS; m++)
#pragma GCC unroll 7
                                    for (int n = 0; n < PLACES; n++) sum[m][n] += from[n - j] * w[o][c + m][i][j];
                        }
                    for (int m = 0; m < CHANNELS; m++)
                        for (int n = 0; n < PLACES; n++) dx[c + m][row][column + n] = sum[m][n];
                }
            }
    }
};

}  // namespace

extern "C" int64_t lanes() { return LANES; }

// One pair of functions per stage, of C1 and C3. All arrays are float; of a batch of LANES * groups pictures:
//   x                 groups x IN x SIZE x SIZE x LANES, C1's with its border of 2
//   w, bias           the kernels and the biases
//   gamma, beta, eps  of the normalisation; gamma null: none
//   sums, pooled      out: the kernels' sums without bias, and the stage's result, both as groups x OUT x .. x .. x LANES
//   mean, var         out: of each map's sums over the batch, where it is normalised
//   slopes            the gradient at the result
//   dw ... dx         out: the gradients; dx null: not wanted
#define STAGE(NAME, IN, OUT, SIZE)                                                                                     \
    extern "C" void NAME##_forward(const float* x, const float* w, const float* bias, const float* gamma,              \
                                   const float* beta, float eps, float* sums, float* pooled, float* mean, float* var,  \
                                   int64_t groups, int64_t threads) {                                                  \
        using S = Stage<IN, OUT, SIZE>;                                                                                \
        S::forward((const S::Inputs*)x, *(const S::Kernels*)w, bias, gamma, beta, eps, (S::Sums*)sums,                 \
                   (S::Pooled*)pooled, mean, var, groups, threads);                                                    \
    }                                                                                                                  \
    extern "C" void NAME##_backward(const float* x, const float* w, const float* bias, const float* gamma,             \
                                    const float* beta, float eps, const float* mean, const float* var,                 \
                                    const float* sums, const float* slopes, float* dw, float* dbias, float* dgamma,    \
                                    float* dbeta, float* dx, int64_t groups, int64_t threads) {                        \
        using S = Stage<IN, OUT, SIZE>;                                                                                \
        S::backward((const S::Inputs*)x, *(const S::Kernels*)w, bias, gamma, beta, eps, mean, var,                     \
                    (const S::Sums*)sums, (const S::Pooled*)slopes, *(S::Kernels*)dw, dbias, dgamma, dbeta,            \
                    (S::Inputs*)dx, groups, threads);                                                                  \
    }

STAGE(C1, 1, 6, 32)
STAGE(C3, 6, 16, 14)
