// Batch normalisation of a stage's sums in the compiled stages of both networks, and its gradient. A sum comes without
// its bias, which normalisation would take away again.
//
// What is summed over the batch is summed per group first, in float, and then over the groups in double.

#pragma once

#include "convolution.h"

namespace {

template <int OUT>
struct Normalisation {
    // Two numbers of each map, of one group: sums and their squares, or slopes and their products with the sums.
    struct Pair {
        double first[OUT], second[OUT];
    };

    // Scale and shift of each map, which turn a sum into what follows.
    float scale[OUT], shift[OUT];

    Normalisation(const float* gamma, const float* beta, const float* mean, const float* var, float eps) {
        for (int o = 0; o < OUT; o++) {
            scale[o] = gamma[o] / std::sqrt(var[o] + eps);
            shift[o] = beta[o] - mean[o] * scale[o];
        }
    }

    // A bias in its place, and no normalisation.
    explicit Normalisation(const float* bias) {
        for (int o = 0; o < OUT; o++) {
            scale[o] = 1.0f;
            shift[o] = bias[o];
        }
    }

    template <typename Sums>
    static Pair moments(const Sums& sums) {
        Pair pair;
        for (int o = 0; o < OUT; o++) {
            V sum = {}, square = {};
            for (const auto& row : sums[o])
                for (const V& a : row) {
                    sum += a;
                    square += a * a;
                }
            pair.first[o] = total(sum);
            pair.second[o] = total(square);
        }
        return pair;
    }

    static Pair sum_of(const std::vector<Pair>& part) {
        Pair whole = {};
        for (const Pair& one : part)
            for (int o = 0; o < OUT; o++) {
                whole.first[o] += one.first[o];
                whole.second[o] += one.second[o];
            }
        return whole;
    }

    static void mean_and_variance(const std::vector<Pair>& part, double count, float* mean, float* var) {
        const Pair whole = sum_of(part);
        for (int o = 0; o < OUT; o++) {
            const double middle = whole.first[o] / count;
            mean[o] = float(middle);
            var[o] = float(whole.second[o] / count - middle * middle);
            var[o] = var[o] < 0.0f ? 0.0f : var[o];
        }
    }

    // The gradient at a sum a is scale * slope + level + tilt * a; the last two come from the batch's mean and variance.
    struct Rest {
        float level[OUT], tilt[OUT];
    };

    // `part`: slopes behind normalisation, and their products with the sums.
    Rest rest(const std::vector<Pair>& part, double count, const float* mean, const float* var, float eps,
              float* dgamma, float* dbeta) const {
        const Pair whole = sum_of(part);
        Rest rest;
        for (int o = 0; o < OUT; o++) {
            const double slope = whole.first[o], inverse = 1.0 / std::sqrt(double(var[o]) + eps);
            const double along = inverse * (whole.second[o] - mean[o] * slope);
            dgamma[o] = float(along);
            dbeta[o] = float(slope);
            rest.tilt[o] = float(-scale[o] * along * inverse / count);
            rest.level[o] = float(-scale[o] * slope / count - double(rest.tilt[o]) * mean[o]);
        }
        return rest;
    }
};

}  // namespace
