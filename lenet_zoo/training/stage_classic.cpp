// The two lower stages of lenet5_classic in training: 5x5 convolution, batch normalisation where asked for, scaled tanh,
// trainable 2x2 subsampling and scaled tanh again, and their gradients. C3 comes with the kernels of all pairs of maps,
// zero where Table I has no connection.
//
// The same arithmetic as autograd, which the tests hold it against. stages.py compiles and calls this file.

#include "../squash.h"
#include "normalisation.h"

namespace {

template <int IN, int OUT, int SIZE>
struct Stage : Convolution<IN, OUT, SIZE> {
    using Base = Convolution<IN, OUT, SIZE>;
    using typename Base::Inputs, typename Base::Sums, typename Base::Pooled, typename Base::Kernels, typename Base::Slope;
    using Base::WIDE, Base::HALF, Base::MARGIN, Base::ROW;

    using Normal = Normalisation<OUT>;

    // Scale and shift of a sum: those of normalisation, or, where `gamma` is null, the bias alone.
    static Normal before_squashing(const float* bias, const float* gamma, const float* beta, const float* mean,
                                   const float* var, float eps) {
        return gamma ? Normal(gamma, beta, mean, var, eps) : Normal(bias);
    }

    // `inner` gets the tanh behind the convolution, `outer` the one behind the subsampling, both without the factor A.
    static void forward(const Inputs* x, const Kernels& w, const float* bias, const float* coefficient,
                        const float* offset, const float* gamma, const float* beta, float eps, Sums* sums, Sums* inner,
                        Pooled* outer, Pooled* out, float* mean, float* var, int64_t groups, int64_t threads) {
        std::vector<typename Normal::Pair> part(groups);
        each(groups, threads, [&, x, sums](int64_t g) {
            Base::convolve(x[g], w, sums[g]);
            if (gamma) part[g] = Normal::moments(sums[g]);
        });
        if (gamma) Normal::mean_and_variance(part, double(groups) * LANES * WIDE * WIDE, mean, var);
        const Normal to = before_squashing(bias, gamma, beta, mean, var, eps);
        each(groups, threads, [&to, coefficient, offset, sums, inner, outer, out](int64_t g) {
            for (int o = 0; o < OUT; o++)
                for (int row = 0; row < HALF; row++)
                    for (int column = 0; column < HALF; column++) {
                        V sum = {};
                        for (int i = 0; i < 4; i++) {
                            const V a = sums[g][o][2 * row + i / 2][2 * column + i % 2];
                            const V t = tanh_of(S * (a * to.scale[o] + to.shift[o]));
                            inner[g][o][2 * row + i / 2][2 * column + i % 2] = t;
                            sum += t;
                        }
                        const V b = tanh_of(S * (A * sum * coefficient[o] + offset[o]));
                        outer[g][o][row][column] = b;
                        out[g][o][row][column] = A * b;
                    }
        });
    }

    static void backward(const Inputs* x, const Kernels& w, const float* bias, const float* coefficient,
                         const float* gamma, const float* beta, float eps, const float* mean, const float* var,
                         const Sums* sums, const Sums* inner, const Pooled* outer, const Pooled* slopes, Kernels& dw,
                         float* dbias, float* dcoefficient, float* doffset, float* dgamma, float* dbeta, Inputs* dx,
                         int64_t groups, int64_t threads) {
        struct Sum {
            float coefficient[OUT], offset[OUT];
        };
        std::vector<Sum> others(groups);
        // The gradient at what the inner squashing gets, and its product with the sums, over the batch.
        std::vector<typename Normal::Pair> part(groups);
        each(groups, threads, [&, coefficient, sums, inner, outer, slopes](int64_t g) {
            for (int o = 0; o < OUT; o++) {
                V first = {}, second = {}, product = {}, offset = {};
                for (int row = 0; row < HALF; row++)
                    for (int column = 0; column < HALF; column++) {
                        const V slope = behind_subsampling(outer[g], slopes[g], o, row, column);
                        const V into = slope * (coefficient[o] * A * S);
                        V sum = {};
                        for (int i = 0; i < 4; i++) {
                            const V t = inner[g][o][2 * row + i / 2][2 * column + i % 2];
                            const V dz = into * (1.0f - t * t);
                            sum += t;
                            first += dz;
                            second += dz * sums[g][o][2 * row + i / 2][2 * column + i % 2];
                        }
                        offset += slope;
                        product += slope * sum;
                    }
                part[g].first[o] = total(first);
                part[g].second[o] = total(second);
                others[g].coefficient[o] = A * total(product);
                others[g].offset[o] = total(offset);
            }
        });
        const Normal to = before_squashing(bias, gamma, beta, mean, var, eps);
        typename Normal::Rest rest = {};
        if (gamma) {
            rest = to.rest(part, double(groups) * LANES * WIDE * WIDE, mean, var, eps, dgamma, dbeta);
        } else {
            const typename Normal::Pair whole = Normal::sum_of(part);
            for (int o = 0; o < OUT; o++) dbias[o] = float(whole.first[o]);
        }
        for (int o = 0; o < OUT; o++) {
            dcoefficient[o] = doffset[o] = 0.0f;
            for (const Sum& one : others) {
                dcoefficient[o] += one.coefficient[o];
                doffset[o] += one.offset[o];
            }
        }
        std::vector<float> kernels(groups * sizeof(Kernels) / sizeof(float));
        each(groups, threads, [&, x, coefficient, sums, inner, outer, slopes, dx](int64_t g) {
            static thread_local Slope scratch;  // its margins are never written, and stay zero
            Slope& da = scratch;
            for (int o = 0; o < OUT; o++)
                for (int row = 0; row < HALF; row++)
                    for (int column = 0; column < HALF; column++) {
                        const V slope = behind_subsampling(outer[g], slopes[g], o, row, column);
                        const V into = slope * (coefficient[o] * A * S * to.scale[o]);
                        for (int i = 0; i < 4; i++) {
                            const int y = 2 * row + i / 2, x = 2 * column + i % 2;
                            const V t = inner[g][o][y][x];
                            const V level = sums[g][o][y][x] * rest.tilt[o] + rest.level[o];
                            da.at[o][y][x + MARGIN] = into * (1.0f - t * t) + level;
                        }
                    }
            Base::kernel_slopes(x[g], da, reinterpret_cast<Kernels*>(kernels.data())[g]);
            if (dx) Base::input_slopes(da, w, dx[g]);
        });
        Base::sum_up(kernels, dw);
    }

    // The gradient at what the outer squashing gets.
    static V behind_subsampling(const Pooled& outer, const Pooled& slopes, int o, int row, int column) {
        const V b = outer[o][row][column];
        return slopes[o][row][column] * (A * S) * (1.0f - b * b);
    }
};

}  // namespace

// One pair of functions per stage, of C1 to S2 and of C3 to S4. All arrays are float; of LANES * groups pictures:
//   x                    groups x IN x SIZE x SIZE x LANES, C1's with its border of 2
//   w, bias              the kernels and the biases; normalisation would take a bias away again
//   coefficient, offset  of the subsampling
//   gamma, beta, eps     of the normalisation; gamma null: none, and then mean, var, dgamma and dbeta are not touched
//   sums                 out: of the kernels without bias, as groups x OUT x .. x .. x LANES
//   inner, outer, out    out: both tanh, and the stage's result, likewise
//   mean, var            out: of each map's sums over the batch
//   slopes               the gradient at the result
//   dw ... dx            out: the gradients; dbias only where nothing is normalised; dx null: not wanted
#define STAGE(NAME, IN, OUT, SIZE)                                                                                     \
    extern "C" void NAME##_forward(const float* x, const float* w, const float* bias, const float* coefficient,        \
                                   const float* offset, const float* gamma, const float* beta, float eps, float* sums, \
                                   float* inner, float* outer, float* out, float* mean, float* var, int64_t groups,    \
                                   int64_t threads) {                                                                  \
        using T = Stage<IN, OUT, SIZE>;                                                                                \
        T::forward((const T::Inputs*)x, *(const T::Kernels*)w, bias, coefficient, offset, gamma, beta, eps,            \
                   (T::Sums*)sums, (T::Sums*)inner, (T::Pooled*)outer, (T::Pooled*)out, mean, var, groups, threads);   \
    }                                                                                                                  \
    extern "C" void NAME##_backward(const float* x, const float* w, const float* bias, const float* coefficient,       \
                                    const float* gamma, const float* beta, float eps, const float* mean,               \
                                    const float* var, const float* sums, const float* inner, const float* outer,       \
                                    const float* slopes, float* dw, float* dbias, float* dcoefficient, float* doffset, \
                                    float* dgamma, float* dbeta, float* dx, int64_t groups, int64_t threads) {         \
        using T = Stage<IN, OUT, SIZE>;                                                                                \
        T::backward((const T::Inputs*)x, *(const T::Kernels*)w, bias, coefficient, gamma, beta, eps, mean, var,        \
                    (const T::Sums*)sums, (const T::Sums*)inner, (const T::Pooled*)outer, (const T::Pooled*)slopes,    \
                    *(T::Kernels*)dw, dbias, dcoefficient, doffset, dgamma, dbeta, (T::Inputs*)dx, groups, threads);   \
    }

STAGE(C1, 1, 6, 32)
STAGE(C3, 6, 16, 14)
