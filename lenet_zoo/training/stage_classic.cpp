// The two lower stages of lenet5_classic in training: 5x5 convolution, scaled tanh, trainable 2x2 subsampling and scaled
// tanh again, and their gradients. C3 comes with the kernels of all pairs of maps, zero where Table I has no connection.
//
// The same arithmetic as autograd, which the tests hold it against. stages.py compiles and calls this file.

#include "../squash.h"
#include "convolution.h"

namespace {

template <int IN, int OUT, int SIZE>
struct Stage : Convolution<IN, OUT, SIZE> {
    using Base = Convolution<IN, OUT, SIZE>;
    using typename Base::Inputs, typename Base::Sums, typename Base::Pooled, typename Base::Kernels, typename Base::Slope;
    using Base::WIDE, Base::HALF, Base::MARGIN, Base::ROW;

    // `inner` gets the tanh behind the convolution, `outer` the one behind the subsampling, both without the factor A.
    static void forward(const Inputs* x, const Kernels& w, const float* bias, const float* coefficient,
                        const float* offset, Sums* inner, Pooled* outer, Pooled* out, int64_t groups, int64_t threads) {
        each(groups, threads, [&w, x, bias, coefficient, offset, inner, outer, out](int64_t g) {
            Base::convolve(x[g], w, inner[g]);
            for (int o = 0; o < OUT; o++)
                for (int row = 0; row < HALF; row++)
                    for (int column = 0; column < HALF; column++) {
                        V sum = {};
                        for (int i = 0; i < 4; i++) {
                            V& a = inner[g][o][2 * row + i / 2][2 * column + i % 2];
                            a = tanh_of(S * (a + bias[o]));
                            sum += a;
                        }
                        const V b = tanh_of(S * (A * sum * coefficient[o] + offset[o]));
                        outer[g][o][row][column] = b;
                        out[g][o][row][column] = A * b;
                    }
        });
    }

    static void backward(const Inputs* x, const Kernels& w, const float* coefficient, const Sums* inner,
                         const Pooled* outer, const Pooled* slopes, Kernels& dw, float* dbias, float* dcoefficient,
                         float* doffset, Inputs* dx, int64_t groups, int64_t threads) {
        struct Sum {
            float bias[OUT], coefficient[OUT], offset[OUT];
        };
        std::vector<Sum> part(groups);
        std::vector<float> kernels(groups * sizeof(Kernels) / sizeof(float));
        each(groups, threads, [&, x, coefficient, inner, outer, slopes, dx](int64_t g) {
            static thread_local Slope scratch;  // its margins are never written, and stay zero
            Slope& da = scratch;
            for (int o = 0; o < OUT; o++) {
                V bias = {}, product = {}, offset = {};
                for (int row = 0; row < HALF; row++)
                    for (int column = 0; column < HALF; column++) {
                        const V b = outer[g][o][row][column];
                        const V slope = slopes[g][o][row][column] * (A * S) * (1.0f - b * b);
                        const V into = slope * (coefficient[o] * A * S);
                        V sum = {};
                        for (int i = 0; i < 4; i++) {
                            const V a = inner[g][o][2 * row + i / 2][2 * column + i % 2];
                            const V below = into * (1.0f - a * a);
                            da.at[o][2 * row + i / 2][2 * column + i % 2 + MARGIN] = below;
                            sum += a;
                            bias += below;
                        }
                        offset += slope;
                        product += slope * sum;
                    }
                part[g].bias[o] = total(bias);
                part[g].coefficient[o] = A * total(product);
                part[g].offset[o] = total(offset);
            }
            Base::kernel_slopes(x[g], da, reinterpret_cast<Kernels*>(kernels.data())[g]);
            if (dx) Base::input_slopes(da, w, dx[g]);
        });
        Base::sum_up(kernels, dw);
        for (int o = 0; o < OUT; o++) {
            dbias[o] = dcoefficient[o] = doffset[o] = 0.0f;
            for (const Sum& one : part) {
                dbias[o] += one.bias[o];
                dcoefficient[o] += one.coefficient[o];
                doffset[o] += one.offset[o];
            }
        }
    }
};

}  // namespace

// One pair of functions per stage, of C1 to S2 and of C3 to S4. All arrays are float; of LANES * groups pictures:
//   x                    groups x IN x SIZE x SIZE x LANES, C1's with its border of 2
//   w, bias              the kernels and the biases
//   coefficient, offset  of the subsampling
//   inner, outer, out    out: both tanh, and the stage's result, as groups x OUT x .. x .. x LANES
//   slopes               the gradient at the result
//   dw ... dx            out: the gradients; dx null: not wanted
#define STAGE(NAME, IN, OUT, SIZE)                                                                                     \
    extern "C" void NAME##_forward(const float* x, const float* w, const float* bias, const float* coefficient,        \
                                   const float* offset, float* inner, float* outer, float* out, int64_t groups,        \
                                   int64_t threads) {                                                                  \
        using T = Stage<IN, OUT, SIZE>;                                                                                \
        T::forward((const T::Inputs*)x, *(const T::Kernels*)w, bias, coefficient, offset, (T::Sums*)inner,             \
                   (T::Pooled*)outer, (T::Pooled*)out, groups, threads);                                               \
    }                                                                                                                  \
    extern "C" void NAME##_backward(const float* x, const float* w, const float* coefficient, const float* inner,      \
                                    const float* outer, const float* slopes, float* dw, float* dbias,                  \
                                    float* dcoefficient, float* doffset, float* dx, int64_t groups, int64_t threads) { \
        using T = Stage<IN, OUT, SIZE>;                                                                                \
        T::backward((const T::Inputs*)x, *(const T::Kernels*)w, coefficient, (const T::Sums*)inner,                    \
                    (const T::Pooled*)outer, (const T::Pooled*)slopes, *(T::Kernels*)dw, dbias, dcoefficient, doffset, \
                    (T::Inputs*)dx, groups, threads);                                                                  \
    }

STAGE(C1, 1, 6, 32)
STAGE(C3, 6, 16, 14)
