// What lenet_zoo.datasets.augment does to grey pictures of 28x28 pixels, each in one go: its neighbours' remnants, one
// resampling, the weight of its ink, marks, and the rectangle that is erased.
//
// The same arithmetic as there, which the tests hold it against; each picture by itself, so that neither batch nor
// threads change a bit. distort.py compiles and calls this file.

#include "convolution.h"

namespace {

constexpr int SIDE = 28, PIXELS = SIDE * SIDE, FREE = 4;  // MNIST's digits leave four columns free
constexpr int FIELD = SIDE + 3;                           // a picture with a border of background, for the resampling

using Picture = float[SIDE][SIDE];

inline float clamped(float x, float low, float high) { return x < low ? low : x > high ? high : x; }

// The weight of each knot at each pixel of a row or column, for linear interpolation from the first to the last.
struct Weights {
    float at[14][SIDE] = {};

    explicit Weights(int64_t grid) {
        for (int p = 0; p < SIDE; p++) {
            const float place = p * (float(grid - 1) / (SIDE - 1));
            const int below = int(place) < grid - 2 ? int(place) : int(grid) - 2;
            at[below][p] = 1.0f - (place - below);
            at[below + 1][p] = place - below;
        }
    }
};

void read(const uint8_t* images, int64_t index, const int64_t* neighbours, Picture& x) {
    uint8_t bytes[PIXELS];
    std::memcpy(bytes, images + index * PIXELS, PIXELS);
    for (int side = 0; neighbours && side < 2; side++) {
        const int64_t which = neighbours[2 * side];
        if (which < 0) continue;
        const int64_t away = SIDE - FREE - neighbours[2 * side + 1], move = side == 0 ? away : -away;
        const uint8_t* other = images + which * PIXELS;
        for (int row = 0; row < SIDE; row++)
            for (int column = 0; column < SIDE; column++) {
                const int64_t from = column + move;
                if (from < 0 || from >= SIDE) continue;
                const uint8_t ink = other[row * SIDE + from];
                uint8_t& here = bytes[row * SIDE + column];
                here = here < ink ? ink : here;
            }
    }
    for (int i = 0; i < PIXELS; i++) x[i / SIDE][i % SIDE] = bytes[i] / 255.0f;
}

void resample(Picture& x, const float* theta, const float* knots, int64_t grid, const Weights& weights,
              const float* tilt) {
    float field[FIELD * FIELD] = {};
    for (int row = 0; row < SIDE; row++) std::memcpy(field + (row + 1) * FIELD + 1, x[row], sizeof x[row]);
    for (int row = 0; row < SIDE; row++) {
        float across[SIDE], down[SIDE];
        const float y = (2 * row + 1) * (1.0f / SIDE) - 1.0f;
        for (int column = 0; column < SIDE; column++) {
            const float place = (2 * column + 1) * (1.0f / SIDE) - 1.0f;
            across[column] = theta[0] * place + theta[1] * y + theta[2];
            down[column] = theta[3] * place + theta[4] * y + theta[5];
        }
        for (int k = 0; knots && k < grid; k++) {
            float move[2] = {};
            for (int l = 0; l < grid; l++)
                for (int axis = 0; axis < 2; axis++)
                    move[axis] += weights.at[l][row] * knots[(axis * grid + l) * grid + k];
            for (int column = 0; column < SIDE; column++) {
                across[column] += weights.at[k][column] * move[0];
                down[column] += weights.at[k][column] * move[1];
            }
        }
        float fraction[2][SIDE];
        int from[SIDE];
        for (int column = 0; column < SIDE; column++) {
            float u = across[column], v = down[column];
            if (tilt) {
                const float nearer = 1.0f - (tilt[0] * u + tilt[1] * v);
                u *= nearer;
                v *= nearer;
            }
            // In pixels of `field`; what lies outside of the picture finds its border.
            u = clamped(((u + 1.0f) * SIDE - 1.0f) * 0.5f + 1.0f, 0.0f, SIDE + 1.0f);
            v = clamped(((v + 1.0f) * SIDE - 1.0f) * 0.5f + 1.0f, 0.0f, SIDE + 1.0f);
            const int left = int(u), top = int(v);
            fraction[0][column] = u - left;
            fraction[1][column] = v - top;
            from[column] = top * FIELD + left;
        }
        for (int column = 0; column < SIDE; column++) {
            const float *at = field + from[column], right = fraction[0][column], lower = fraction[1][column];
            const float above = at[0] + right * (at[1] - at[0]);
            const float below = at[FIELD] + right * (at[FIELD + 1] - at[FIELD]);
            x[row][column] = above + lower * (below - above);
        }
    }
}

void reweigh(Picture& x, float weight) {
    const float sign = weight < 0 ? -1.0f : 1.0f;  // the darkest is the brightest of the negative
    Picture rows, extreme;
    for (int row = 0; row < SIDE; row++) {
        float padded[SIDE + 2];
        for (int column = 0; column < SIDE; column++) padded[column + 1] = sign * x[row][column];
        padded[0] = padded[1];
        padded[SIDE + 1] = padded[SIDE];
        for (int column = 0; column < SIDE; column++) {
            const float a = padded[column], b = padded[column + 1], c = padded[column + 2];
            const float larger = a < b ? b : a;
            rows[row][column] = larger < c ? c : larger;
        }
    }
    for (int row = 0; row < SIDE; row++) {
        const int above = row ? row - 1 : 0, below = row < SIDE - 1 ? row + 1 : row;
        for (int column = 0; column < SIDE; column++) {
            const float a = rows[above][column], b = rows[row][column], c = rows[below][column];
            const float larger = a < b ? b : a;
            extreme[row][column] = sign * (larger < c ? c : larger);
        }
    }
    for (int row = 0; row < SIDE; row++)
        for (int column = 0; column < SIDE; column++)
            x[row][column] += sign * weight * (extreme[row][column] - x[row][column]);
}

void mark(Picture& x, const float* one) {
    const float strength = one[5];
    if (strength == 0.0f) return;
    const float way_x = one[2] - one[0], way_y = one[3] - one[1], squared = way_x * way_x + way_y * way_y;
    const float length = squared < 1e-6f ? 1e-6f : squared, unit_x = way_x / length, unit_y = way_y / length;
    for (int row = 0; row < SIDE; row++)
        for (int column = 0; column < SIDE; column++) {
            const float dx = column + 0.5f - one[0], dy = row + 0.5f - one[1];
            const float along = clamped(dx * unit_x + dy * unit_y, 0.0f, 1.0f);
            const float over = dx - along * way_x, under = dy - along * way_y;
            const float ink = clamped(one[4] + 0.5f - std::sqrt(over * over + under * under), 0.0f, 1.0f) * strength;
            x[row][column] = x[row][column] < ink ? ink : x[row][column];
        }
}

void erase(Picture& x, const int64_t* box) {
    for (int64_t row = box[0]; row < box[1]; row++)
        for (int64_t column = box[2]; column < box[3]; column++) x[row][column] = 0.0f;
}

}  // namespace

// images: uint8 of the whole data set; index: int64, which of them; the draws are of the whole data set, too, null where
// there are none of a kind; out: float32 count x 28 x 28.
extern "C" void distort(const uint8_t* images, const int64_t* index, const float* theta, const float* knots,
                        const float* weight, const int64_t* box, const float* tilt, const int64_t* neighbours,
                        const float* marks, int64_t grid, float* out, int64_t count, int64_t threads) {
    const Weights weights(grid);
    each(count, threads, [=, &weights](int64_t i) {
        const int64_t n = index[i];
        Picture& x = reinterpret_cast<Picture*>(out)[i];
        read(images, n, neighbours ? neighbours + 4 * n : nullptr, x);
        if (theta)
            resample(x, theta + 6 * n, knots ? knots + 2 * grid * grid * n : nullptr, grid, weights,
                     tilt ? tilt + 2 * n : nullptr);
        if (weight) reweigh(x, weight[n]);
        for (int one = 0; marks && one < 2; one++) mark(x, marks + 12 * n + 6 * one);
        if (box) erase(x, box + 4 * n);
    });
}
