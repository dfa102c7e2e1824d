// C1 to S4 of lenet5_modern in training, where nothing is normalised, and their gradients: one function each way.
//
// Max pooling hands a gradient to one of four places, and ReLU to about half of those. So the gradients of kernels and
// of inputs are sums over an eighth of the places that a convolution has: they go picture by picture and place by place,
// in vectors over a kernel's row. (Normalisation gives each place a gradient; that is `stage.cpp`.)
//
// The same arithmetic as autograd, which the tests hold it against. stages.py compiles and calls this file.

#include "convolution.h"

namespace {

// Eight floats: a kernel's row of one map is five of them, padded, and of six maps it is five places of six, padded.
typedef float E __attribute__((vector_size(32)));

inline E load(const float* from) {
    E e;
    std::memcpy(&e, from, sizeof e);
    return e;
}

inline void store(float* to, E e) { std::memcpy(to, &e, sizeof e); }

// A convolution with ReLU and 2x2 max pooling.
template <int IN, int OUT, int SIZE>
struct Stage : Convolution<IN, OUT, SIZE> {
    using Base = Convolution<IN, OUT, SIZE>;
    using typename Base::Inputs, typename Base::Pooled, typename Base::Kernels;
    using Base::WIDE, Base::HALF, Base::MAPS;
    static constexpr int PLACES = HALF * HALF;

    // Which of a window's four sums was the largest, 0 to 3 row by row, and 4 where ReLU let none through. A tie goes to
    // the upper row, then to the left column, as in torch.
    typedef int32_t Wide __attribute__((vector_size(LANES * sizeof(int32_t))));
    typedef int8_t Narrow __attribute__((vector_size(LANES)));
    using Which = Narrow[OUT][PLACES];

    static void forward(const Inputs& x, const Kernels& w, const float* bias, Pooled& pooled, Which& which) {
        for (int o = 0; o < OUT; o += MAPS)
            for (int row = 0; row < HALF; row++) {
                V upper[MAPS][WIDE], lower[MAPS][WIDE];
                Base::convolve_row(x, w, o, 2 * row, upper);
                Base::convolve_row(x, w, o, 2 * row + 1, lower);
                for (int m = 0; m < MAPS; m++)
                    for (int column = 0; column < HALF; column++) {
                        const V a = upper[m][2 * column], b = upper[m][2 * column + 1];
                        const V c = lower[m][2 * column], d = lower[m][2 * column + 1];
                        const V left = larger(a, c), right = larger(b, d);
                        const V highest = larger(left, right) + bias[o + m];
                        const Wide in_left = a >= c ? Wide{} : Wide{} + 2, in_right = b >= d ? Wide{} + 1 : Wide{} + 3;
                        const Wide all = left >= right ? in_left : in_right;
                        pooled[o + m][row][column] = highest < 0.0f ? V{} : highest;  // a NaN stays one
                        which[o + m][row * HALF + column] =
                            __builtin_convertvector(highest > 0.0f ? all : Wide{} + 4, Narrow);
                    }
            }
    }

    // One picture's numbers for the gradients: place by place, and in each of them DEPTH maps side by side.
    static constexpr int DEPTH = IN == 1 ? 1 : 8, LINE = SIZE * DEPTH, VECTORS = (5 * DEPTH + 7) / 8;
    static_assert(IN <= DEPTH, "a place holds all maps");
    struct alignas(64) Picture {
        float at[SIZE * LINE + 8];  // vectors may reach beyond the last row
    };
    // Kernels, or their gradients, in the same order.
    struct alignas(64) Rows {
        float of[OUT][5][VECTORS * 8];
    };

    // The places of one picture that have a gradient, map by map: where a kernel's window begins there, and the gradient.
    struct Places {
        struct {
            int32_t at;
            float slope;
        } place[OUT * PLACES];
        int begin[OUT + 1];

        // slopes[o * map + place * step]
        void find(const Which& which, int lane, const float* slopes, int map, int step) {
            static constexpr int32_t offset[5] = {0, DEPTH, LINE, LINE + DEPTH, 0};
            int n = 0;
            for (int o = 0; o < OUT; o++) {
                begin[o] = n;
                for (int row = 0; row < HALF; row++)
                    for (int column = 0; column < HALF; column++) {
                        const int p = row * HALF + column;
                        const int one = reinterpret_cast<const int8_t*>(&which[o][p])[lane];
                        place[n].at = 2 * row * LINE + 2 * column * DEPTH + offset[one];
                        place[n].slope = slopes[o * map + p * step];
                        n += one < 4;
                    }
            }
            begin[OUT] = n;
        }
    };

    // Add to COUNT rows of a kernel's gradient, from `row` on, what the places from `p` to `end` give.
    template <int COUNT>
    static void add_rows(const float* x, const Places& places, int p, int end, int row, float (*sums)[VECTORS * 8]) {
        E sum[COUNT][VECTORS];
        for (int i = 0; i < COUNT; i++)
            for (int v = 0; v < VECTORS; v++) sum[i][v] = load(&sums[row + i][8 * v]);
        for (; p < end; p++) {
            const float* from = x + places.place[p].at + row * LINE;
            const float slope = places.place[p].slope;
#pragma GCC unroll 5
            for (int i = 0; i < COUNT; i++)
#pragma GCC unroll 5
                for (int v = 0; v < VECTORS; v++) sum[i][v] += load(from + i * LINE + 8 * v) * slope;
        }
        for (int i = 0; i < COUNT; i++)
            for (int v = 0; v < VECTORS; v++) store(&sums[row + i][8 * v], sum[i][v]);
    }

    static void kernel_slopes(const Picture& x, const Places& places, Rows& dw, float* dbias) {
        for (int o = 0; o < OUT; o++) {
            const int begin = places.begin[o], end = places.begin[o + 1];
            if (VECTORS == 1 || MANY) {
                add_rows<5>(x.at, places, begin, end, 0, dw.of[o]);
            } else {  // as many sums as there are registers
                add_rows<2>(x.at, places, begin, end, 0, dw.of[o]);
                add_rows<2>(x.at, places, begin, end, 2, dw.of[o]);
                add_rows<1>(x.at, places, begin, end, 4, dw.of[o]);
            }
            float sum = 0.0f;  // of a picture alone, which rounds less than one sum over all
            for (int p = begin; p < end; p++) sum += places.place[p].slope;
            dbias[o] += sum;
        }
    }

    static void input_slopes(const Places& places, const Rows& w, Picture& dx) {
        std::memset(&dx, 0, sizeof dx);
        for (int o = 0; o < OUT; o++)
            for (int p = places.begin[o]; p < places.begin[o + 1]; p++) {
                float* to = dx.at + places.place[p].at;
                const float slope = places.place[p].slope;
#pragma GCC unroll 5
                for (int i = 0; i < 5; i++)
#pragma GCC unroll 5
                    for (int v = 0; v < VECTORS; v++)
                        store(to + i * LINE + 8 * v, load(to + i * LINE + 8 * v) + load(&w.of[o][i][8 * v]) * slope);
            }
    }

    static void to_rows(const Kernels& w, Rows& rows) {
        std::memset(&rows, 0, sizeof rows);
        for (int o = 0; o < OUT; o++)
            for (int c = 0; c < IN; c++)
                for (int i = 0; i < 5; i++)
                    for (int j = 0; j < 5; j++) rows.of[o][i][j * DEPTH + c] = w[o][c][i][j];
    }

    static void from_rows(const Rows& rows, Kernels& w) {
        for (int o = 0; o < OUT; o++)
            for (int c = 0; c < IN; c++)
                for (int i = 0; i < 5; i++)
                    for (int j = 0; j < 5; j++) w[o][c][i][j] = rows.of[o][i][j * DEPTH + c];
    }
};

using First = Stage<1, 6, 32>;
using Second = Stage<6, 16, 14>;
constexpr int PICTURE = 28 * 28, FEATURES = 16 * Second::PLACES;

// A gradient of every parameter, of one group's pictures; all of it floats.
struct Slopes {
    First::Rows first;
    Second::Rows second;
    float first_bias[6], second_bias[16];
};

}  // namespace

// Of LANES * groups pictures:
//   pictures         each of 28 x 28, float
//   first, second    kernels and biases of C1 and of C3
//   pooled           out: what S2 gives, groups x 6 x 14 x 14 x LANES
//   which1, which3   out: see `Which`, groups x 6 x 196 x LANES and groups x 16 x 25 x LANES, bytes
//   features         out: what S4 gives, 400 of each picture
//   slopes           the gradient at the features
//   d...             out: the gradients
extern "C" void lower_forward(const float* pictures, const float* first, const float* first_bias, const float* second,
                              const float* second_bias, float* pooled, int8_t* which1, int8_t* which3, float* features,
                              int64_t groups, int64_t threads) {
    each(groups, threads, [=](int64_t g) {
        static thread_local First::Inputs field;  // its border is never written, and stays zero
        for (int row = 0; row < 28; row++)
            for (int column = 0; column < 28; column++)
                for (int lane = 0; lane < LANES; lane++)
                    field[0][row + 2][column + 2][lane] =
                        pictures[(g * LANES + lane) * PICTURE + row * 28 + column];
        First::Pooled& middle = reinterpret_cast<First::Pooled*>(pooled)[g];
        First::forward(field, *(const First::Kernels*)first, first_bias, middle,
                       reinterpret_cast<First::Which*>(which1)[g]);
        Second::Pooled top;
        Second::forward(middle, *(const Second::Kernels*)second, second_bias, top,
                        reinterpret_cast<Second::Which*>(which3)[g]);
        for (int lane = 0; lane < LANES; lane++)
            for (int k = 0; k < FEATURES; k++) features[(g * LANES + lane) * FEATURES + k] = (&top[0][0][0])[k][lane];
    });
}

extern "C" void lower_backward(const float* pictures, const float* second, const float* pooled, const int8_t* which1,
                               const int8_t* which3, const float* slopes, float* dfirst, float* dfirst_bias,
                               float* dsecond, float* dsecond_bias, int64_t groups, int64_t threads) {
    Second::Rows kernels;
    Second::to_rows(*(const Second::Kernels*)second, kernels);
    std::vector<Slopes> part(groups);
    each(groups, threads, [=, &kernels, &part](int64_t g) {
        static thread_local First::Picture below;  // its border is never written, and stays zero
        static thread_local Second::Picture middle, at_middle;
        static thread_local First::Places first_places;
        static thread_local Second::Places second_places;
        const First::Pooled& states = reinterpret_cast<const First::Pooled*>(pooled)[g];
        Slopes& sums = part[g];  // zero at first
        for (int lane = 0; lane < LANES; lane++) {
            const int64_t n = g * LANES + lane;
            for (int p = 0; p < First::PLACES; p++)
                for (int c = 0; c < 6; c++) middle.at[p * Second::DEPTH + c] = (&states[c][0][0])[p][lane];
            second_places.find(reinterpret_cast<const Second::Which*>(which3)[g], lane, slopes + n * FEATURES,
                               Second::PLACES, 1);
            Second::kernel_slopes(middle, second_places, sums.second, sums.second_bias);
            Second::input_slopes(second_places, kernels, at_middle);
            for (int row = 0; row < 28; row++)
                std::memcpy(below.at + (row + 2) * 32 + 2, pictures + n * PICTURE + row * 28, 28 * sizeof(float));
            first_places.find(reinterpret_cast<const First::Which*>(which1)[g], lane, at_middle.at, 1, Second::DEPTH);
            First::kernel_slopes(below, first_places, sums.first, sums.first_bias);
        }
    });
    for (int64_t g = 1; g < groups; g++)
        for (size_t k = 0; k < sizeof(Slopes) / sizeof(float); k++)
            reinterpret_cast<float*>(&part[0])[k] += reinterpret_cast<const float*>(&part[g])[k];
    First::from_rows(part[0].first, *(First::Kernels*)dfirst);
    Second::from_rows(part[0].second, *(Second::Kernels*)dsecond);
    std::memcpy(dfirst_bias, part[0].first_bias, sizeof part[0].first_bias);
    std::memcpy(dsecond_bias, part[0].second_bias, sizeof part[0].second_bias);
}
