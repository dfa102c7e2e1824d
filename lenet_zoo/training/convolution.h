// What the compiled stages of both networks share: pictures as lanes, and a 5x5 convolution with its gradients.
//
// torch's kernels want many maps, and 6 and 16 are few; here the pictures are the lanes: as many as the machine's vectors
// hold, a "group", lie side by side in every number's place, so that each loop is plain arithmetic on vectors, whatever
// the number of maps.
//
// Groups are independent of each other. What is summed over the batch is summed per group first and then in the
// groups' order, so that the result does not depend on how many threads share them.

#pragma once

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
struct Convolution {
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

    // One row of the sums of MAPS maps from `o` on.
    static void convolve_row(const Inputs& x, const Kernels& w, int o, int row, V (*sums)[WIDE]) {
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
                for (int n = 0; n < AT_ONCE; n++) sums[m][column + n] = sum[m][n];
        }
    }

    static void convolve(const Inputs& x, const Kernels& w, Sums& sums) {
        for (int o = 0; o < OUT; o += MAPS)
            for (int row = 0; row < WIDE; row++) {
                V part[MAPS][WIDE];
                convolve_row(x, w, o, row, part);
                for (int m = 0; m < MAPS; m++) std::memcpy(sums[o + m][row], part[m], sizeof part[m]);
            }
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

    // The kernels' gradient over the batch, of what `kernel_slopes` found for each group.
    static void sum_up(const std::vector<float>& kernels, Kernels& dw) {
        constexpr size_t all = sizeof(Kernels) / sizeof(float);
        float* sum = &dw[0][0][0][0];
        std::memset(sum, 0, sizeof(Kernels));
        for (size_t at = 0; at < kernels.size(); at++) sum[at % all] += kernels[at];
    }
};

}  // namespace

extern "C" int64_t lanes() { return LANES; }
