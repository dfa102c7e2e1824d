// The two lower stages of lenet5_modern in training with normalisation: 5x5 convolution, batch normalisation, ReLU and
// 2x2 max pooling, and their gradients. A step of training spends most of its time here.
//
// The same arithmetic as autograd, which the tests hold it against. stages.py compiles and calls this file.

#include "normalisation.h"

namespace {

template <int IN, int OUT, int SIZE>
struct Stage : Convolution<IN, OUT, SIZE> {
    using Base = Convolution<IN, OUT, SIZE>;
    using typename Base::Inputs, typename Base::Sums, typename Base::Pooled, typename Base::Kernels, typename Base::Slope;
    using Base::WIDE, Base::HALF, Base::MARGIN, Base::ROW;

    using Normal = Normalisation<OUT>;

    static void forward(const Inputs* x, const Kernels& w, const float* gamma, const float* beta, float eps, Sums* sums,
                        Pooled* pooled, float* mean, float* var, int64_t groups, int64_t threads) {
        std::vector<typename Normal::Pair> part(groups);
        each(groups, threads, [&, x, sums](int64_t g) {
            Base::convolve(x[g], w, sums[g]);
            part[g] = Normal::moments(sums[g]);
        });
        Normal::mean_and_variance(part, double(groups) * LANES * WIDE * WIDE, mean, var);
        const Normal to(gamma, beta, mean, var, eps);
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

    static void backward(const Inputs* x, const Kernels& w, const float* gamma, const float* beta, float eps,
                         const float* mean, const float* var, const Sums* sums, const Pooled* slopes, Kernels& dw,
                         float* dgamma, float* dbeta, Inputs* dx, int64_t groups, int64_t threads) {
        const Normal to(gamma, beta, mean, var, eps);
        // The gradient behind ReLU, and its product with the sums, over the batch.
        std::vector<typename Normal::Pair> part(groups);
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
                part[g].first[o] = total(slope);
                part[g].second[o] = total(product);
            }
        });
        const double count = double(groups) * LANES * WIDE * WIDE;
        const typename Normal::Rest rest = to.rest(part, count, mean, var, eps, dgamma, dbeta);
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
                        above[0] = (which == 0 ? dz : V{}) + (upper[0] * rest.tilt[o] + rest.level[o]);
                        above[1] = (which == 1 ? dz : V{}) + (upper[1] * rest.tilt[o] + rest.level[o]);
                        below[0] = (which == 2 ? dz : V{}) + (lower[0] * rest.tilt[o] + rest.level[o]);
                        below[1] = (which == 3 ? dz : V{}) + (lower[1] * rest.tilt[o] + rest.level[o]);
                    }
            Base::kernel_slopes(x[g], da, reinterpret_cast<Kernels*>(kernels.data())[g]);
            if (dx) Base::input_slopes(da, w, dx[g]);
        });
        Base::sum_up(kernels, dw);
    }
};

}  // namespace

// One pair of functions per stage, of C1 and C3. All arrays are float; of a batch of LANES * groups pictures:
//   x                 groups x IN x SIZE x SIZE x LANES, C1's with its border of 2
//   w                 the kernels; normalisation would take a bias away again
//   gamma, beta, eps  of the normalisation
//   sums, pooled      out: the kernels' sums without bias, and the stage's result, both as groups x OUT x .. x .. x LANES
//   mean, var         out: of each map's sums over the batch
//   slopes            the gradient at the result
//   dw ... dx         out: the gradients; dx null: not wanted
#define STAGE(NAME, IN, OUT, SIZE)                                                                                     \
    extern "C" void NAME##_forward(const float* x, const float* w, const float* gamma, const float* beta, float eps,   \
                                   float* sums, float* pooled, float* mean, float* var, int64_t groups,                \
                                   int64_t threads) {                                                                  \
        using S = Stage<IN, OUT, SIZE>;                                                                                \
        S::forward((const S::Inputs*)x, *(const S::Kernels*)w, gamma, beta, eps, (S::Sums*)sums, (S::Pooled*)pooled,   \
                   mean, var, groups, threads);                                                                        \
    }                                                                                                                  \
    extern "C" void NAME##_backward(const float* x, const float* w, const float* gamma, const float* beta, float eps,  \
                                    const float* mean, const float* var, const float* sums, const float* slopes,       \
                                    float* dw, float* dgamma, float* dbeta, float* dx, int64_t groups,                 \
                                    int64_t threads) {                                                                 \
        using S = Stage<IN, OUT, SIZE>;                                                                                \
        S::backward((const S::Inputs*)x, *(const S::Kernels*)w, gamma, beta, eps, mean, var, (const S::Sums*)sums,     \
                    (const S::Pooled*)slopes, *(S::Kernels*)dw, dgamma, dbeta, (S::Inputs*)dx, groups, threads);       \
    }

STAGE(C1, 1, 6, 32)
STAGE(C3, 6, 16, 14)
