#pragma once

#include <stdint.h>

#include "kernels/simd/instruction_set.h"

namespace ip2p {

/// `rows` × `columns` elements of a feature map, one row after the other. Channels are columns in
/// channels-last layout and rows otherwise: hence two versions of each kernel, by column and by row.
struct FeatureBlock {
  const void* x;
  bool bfloat16;  // or float32
  int64_t rows, columns;
};

// Per-channel quantities are stored as [quantity][channel].
constexpr int64_t MOMENTS = 3;        // a value near the mean, the sum and the sum of squares of x minus it
constexpr int64_t AFFINE = 3;         // centre, scale, offset: the norm is (x − centre) · scale + offset
constexpr int64_t GRADIENT_SUMS = 3;  // of d, of d·t and of t, with t = x − centre and d the norm's gradient
constexpr int64_t GRADIENT_AFFINE = 5;  // AFFINE, then m and n: the gradient of x is d · scale + t · m + n

}  // namespace ip2p

// Where `d` is not null, gradient_sums leaves the norm's gradient there; gradient takes it in the place of
// dy, without silu, and may overwrite it.
#define IP2P_GROUP_NORM_KERNELS(layout)                                                                   \
  void normalise_by_##layout(const ::ip2p::FeatureBlock& block, const float* affine, bool silu, void* y); \
  void gradient_sums_by_##layout(const ::ip2p::FeatureBlock& block, const float* affine, bool silu,       \
                                 const void* dy, float* sums, void* d);                                   \
  void gradient_by_##layout(const ::ip2p::FeatureBlock& block, const float* gradient_affine, bool silu,   \
                            const void* dy, void* dx)

IP2P_DECLARE_SIMD(IP2P_GROUP_NORM_KERNELS(column))
IP2P_DECLARE_SIMD(IP2P_GROUP_NORM_KERNELS(row))

/// MOMENTS for every column.
IP2P_DECLARE_SIMD(void moments_by_column(const ::ip2p::FeatureBlock& block, float* moments))
/// MOMENTS of a whole block after adding `shift` (may be null) to its rows; the value near the mean is that
/// of x plus shift[0].
IP2P_DECLARE_SIMD(void group_moments(const ::ip2p::FeatureBlock& block, const float* shift, float* moments))
