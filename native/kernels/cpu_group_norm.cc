// The fused group norm on the CPU: every element is read twice and written once, and the second time it
// mostly comes from the cache.
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <cmath>
#include <vector>

#include "kernels/group_norm_parameters.h"
#include "kernels/registry.h"

namespace ip2p {
namespace {

using MaybeTensor = std::optional<at::Tensor>;

struct Statistics {
  double mean, rstd;
};

/// Partial moments of some channels, one set per block of pixels.
struct Gathered {
  const float* moments;  // MOMENTS × [stride] per block
  int64_t stride, channels, blocks, pixels, pixels_per_block;
  const float* shift;  // per channel, or null

  template <class Term>
  double total(const Term& term) const {
    double sum = 0;
    for (int64_t block = 0; block < blocks; ++block) {
      const float* const centre = moments + block * MOMENTS * stride;
      const double n = static_cast<double>(std::min(pixels_per_block, pixels - block * pixels_per_block));
#pragma omp simd reduction(+ : sum)
      for (int64_t c = 0; c < channels; ++c)
        sum += term(n, centre[c] + (shift ? static_cast<double>(shift[c]) : 0.0), centre[stride + c],
                    centre[2 * stride + c]);
    }
    return sum;
  }

  Statistics statistics(double eps) const {
    const double N = static_cast<double>(channels * pixels);
    const double mean =
        total([](double n, double centre, double sum, double) { return n * centre + sum; }) / N;
    const double variance = total([mean](double n, double centre, double sum, double squares) {
                              const double off = centre - mean;
                              return squares + off * (2 * sum + n * off);
                            }) /
                            N;
    return {mean, 1 / std::sqrt(std::max(variance, 0.0) + eps)};
  }
};

struct Forward {
  const FeatureMap& map;
  const GroupNormParameters& parameters;
  double eps;
  bool silu;
  at::Tensor y, mean, rstd;

  Statistics keep(int64_t b, int64_t g, const Gathered& gathered) const {
    const Statistics found = gathered.statistics(eps);
    mean.mutable_data_ptr<float>()[b * map.G + g] = static_cast<float>(found.mean);
    rstd.mutable_data_ptr<float>()[b * map.G + g] = static_cast<float>(found.rstd);
    return found;
  }

  /// A group's elements are contiguous.
  void contiguous() const {
    const auto moments_kernel = IP2P_SELECT_SIMD(group_moments);
    const auto normalise_kernel = IP2P_SELECT_SIMD(normalise_by_row);
    const int64_t elements = map.D * map.S;
    at::parallel_for(0, map.B * map.G, FeatureMap::grain(elements), [&](int64_t from, int64_t to) {
      std::vector<float> affine(AFFINE * map.D);
      for (int64_t i = from; i < to; ++i) {
        const int64_t b = i / map.G, g = i % map.G;
        const FeatureBlock block{map.at(map.x, i * elements), map.bfloat16, map.D, map.S};
        // Channels only need separate moments if a shift is added to them.
        const FeatureBlock row{block.x, block.bfloat16, 1, elements};
        const float* const shift = parameters.shift(map, b) ? parameters.shift(map, b) + g * map.D : nullptr;
        float moments[MOMENTS];
        moments_kernel(shift ? block : row, shift, moments);
        const auto [mean, rstd] = keep(b, g, {moments, 1, 1, 1, elements, elements, shift});
        parameters.write_affine(map, b, g, mean, rstd, affine.data(), map.D);
        normalise_kernel(block, affine.data(), silu, map.at(y, i * elements));
      }
    });
  }

  void channels_last() const {
    const auto moments_kernel = IP2P_SELECT_SIMD(moments_by_column);
    const auto normalise_kernel = IP2P_SELECT_SIMD(normalise_by_column);
    const int64_t blocks = map.blocks(), C = map.C, together = map.rows_together();
    std::vector<float> moments(together * blocks * MOMENTS * C), affine(together * AFFINE * C);
    for (int64_t first = 0; first < map.B; first += together) {
      const int64_t rows = std::min(together, map.B - first);
      map.for_blocks(first, rows, [&](int64_t i, int64_t, const FeatureBlock& block) {
        moments_kernel(block, moments.data() + i * MOMENTS * C);
      });
      at::parallel_for(0, rows, 1, [&](int64_t from, int64_t to) {
        for (int64_t row = from; row < to; ++row)
          for (int64_t g = 0; g < map.G; ++g) {
            const float* const shift = parameters.shift(map, first + row);
            const auto [mean, rstd] =
                keep(first + row, g,
                     {moments.data() + row * blocks * MOMENTS * C + g * map.D, C, map.D, blocks, map.S,
                      FeatureMap::PIXELS, shift ? shift + g * map.D : nullptr});
            parameters.write_affine(map, first + row, g, mean, rstd,
                                    affine.data() + row * AFFINE * C + g * map.D, C);
          }
      });
      map.for_blocks(first, rows, [&](int64_t i, int64_t offset, const FeatureBlock& block) {
        normalise_kernel(block, affine.data() + i / blocks * AFFINE * C, silu, map.at(y, offset));
      });
    }
  }
};

std::tuple<at::Tensor, at::Tensor, at::Tensor> group_norm_forward(const at::Tensor& x, int64_t groups,
                                                                  const at::Tensor& weight,
                                                                  const at::Tensor& bias, double eps,
                                                                  bool silu, const MaybeTensor& shift) {
  const FeatureMap map(x, groups);
  const GroupNormParameters parameters(weight, bias, shift);
  const at::TensorOptions floats = x.options().dtype(at::kFloat);
  const Forward forward{map,
                        parameters,
                        eps,
                        silu,
                        at::empty_like(map.x),
                        at::empty({map.B, map.G}, floats),
                        at::empty({map.B, map.G}, floats)};
  map.channels_last ? forward.channels_last() : forward.contiguous();
  return {forward.y, forward.mean, forward.rstd};
}

}  // namespace

const Operators kernels(c10::DispatchKey::CPU, [](torch::Library& library) {
  if (instruction_set() != InstructionSet::None) library.impl("group_norm_forward", group_norm_forward);
});

}  // namespace ip2p
