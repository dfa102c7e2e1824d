// The networks of 1998 squash by A tanh(S x). Of one number, or of a vector of them (GCC's and Clang's vector types).

#pragma once

namespace {

constexpr float A = 1.7159f, S = 2.0f / 3.0f;

// tanh is Lambert's continued fraction, exact to float precision for |u| < 2.25, and from there
// tanh(2u) = 2nd / (d^2 + n^2), twice, with n/d = tanh(u): the division comes last, once. tanh(9) is 1 in float.
template <typename T>
inline T tanh_of(T u) {
    u = u > 9.0f ? T{} + 9.0f : u;  // written so that a NaN stays one
    u = u < -9.0f ? T{} - 9.0f : u;
    u *= 0.25f;
    const T q = u * u;
    T n = u * (135135.0f + q * (17325.0f + q * (378.0f + q)));
    T d = 135135.0f + q * (62370.0f + q * (3150.0f + q * 28.0f));
    for (int doubling = 0; doubling < 2; doubling++) {
        const T product = 2.0f * n * d;
        d = n * n + d * d;
        n = product;
    }
    return n / d;
}

}  // namespace
