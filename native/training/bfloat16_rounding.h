#pragma once

#include <c10/util/BFloat16.h>

#include <cstdint>

namespace ip2p {

/// What the random numbers of stochastic rounding depend on, and nothing else: they are the same for any
/// number of threads, and after a resumption.
struct RoundingDraw {
  uint64_t seed;
  uint32_t parameter;  ///< its place among the trained ones
  uint32_t step;
};

/// Elements that share random counters: what is rounded in parts is cut at multiples of it.
constexpr int64_t kRoundingGroup = 64;

/// Stochastic rounding: up or down with the probabilities that make the expected value exact (Gupta et al.
/// 2015, "Deep Learning with Limited Numerical Precision"). NaN, infinity and the largest magnitudes are
/// truncated.
///
/// The random numbers are Philox4x32-10's (Salmon et al. 2011, "Parallel Random Numbers: As Easy as 1, 2, 3")
/// for the key `seed` and counters (n, n >> 32, parameter, step). Each group of 64 elements takes eight
/// counters n in a row: element j the lower (j < 32) or upper half of word j / 8 mod 4 of counter j mod 8.
///
/// @param first of x within the parameter, a multiple of kRoundingGroup
void round_stochastically(const float* x, int64_t count, const RoundingDraw& draw, int64_t first,
                          c10::BFloat16* out);

/// Compensated rounding: x is rounded to the nearest, and what is lost is kept to be added next time, as in
/// Kahan's summation. It is kept whole, as the lower 16 bits of x less those of the rounded number, so that
/// nothing is ever lost (Kalamkar et al. 2020, "Optimizing Deep Learning Recommender Systems' Training on CPU
/// Cluster Architectures", section on Split-SGD).
void round_with_remainder(const float* x, int64_t count, c10::BFloat16* out, int16_t* remainder);

/// The numbers that were rounded; without remainders, the rounded ones.
void widen(const c10::BFloat16* x, const int16_t* remainder, int64_t count, float* out);

}  // namespace ip2p
