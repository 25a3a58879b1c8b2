// The backward pass of the group norm on the CPU: the first pass over memory gathers the sums of each group,
// the second writes the gradient of x. Those of weight, bias and shift follow from the sums.
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <vector>

#include "kernels/group_norm_parameters.h"
#include "kernels/registry.h"

namespace ip2p {
namespace {

using MaybeTensor = std::optional<at::Tensor>;

struct Backward {
  const FeatureMap& map;
  const GroupNormParameters& parameters;
  bool silu;
  at::Tensor mean, rstd, dy, dx;
  // [B,C] in float64; the first two are summed over the batch at the end, in batch order.
  at::Tensor dweight, dbias, dshift;

  /// Whether the gradient before the activation is stored in the memory of x's gradient: cheaper than
  /// recomputing the activation's derivative, but in bfloat16 it would round once more.
  bool keeps_d() const { return silu && !map.bfloat16; }

  double mean_of(int64_t b, int64_t g) const { return mean.const_data_ptr<float>()[b * map.G + g]; }
  double rstd_of(int64_t b, int64_t g) const { return rstd.const_data_ptr<float>()[b * map.G + g]; }

  void write_affine(int64_t b, int64_t g, float* affine, int64_t stride) const {
    parameters.write_affine(map, b, g, mean_of(b, g), rstd_of(b, g), affine, stride);
  }

  /// From the sums of a group's channels, GRADIENT_SUMS of [quantity][stride] for every block of pixels: the
  /// gradients of the per-channel parameters, and the last two quantities of the affine form.
  void finish_group(int64_t b, int64_t g, const float* sums, int64_t blocks, float* affine,
                    int64_t stride) const {
    const double r = rstd_of(b, g), N = static_cast<double>(map.D * map.S);
    const int64_t at = b * map.C + g * map.D;
    double* const to_weight = dweight.mutable_data_ptr<double>() + at;
    double* const to_bias = dbias.mutable_data_ptr<double>() + at;
    double* const to_shift = dshift.mutable_data_ptr<double>() + at;
    const float* const weight = parameters.weight() + g * map.D;
    double of_d = 0, of_dt = 0;
    for (int64_t c = 0; c < map.D; ++c) {
      double d = 0, dt = 0, t = 0;
      for (int64_t block = 0; block < blocks; ++block) {
        const float* const from = sums + block * GRADIENT_SUMS * stride + c;
        d += from[0];
        dt += from[stride];
        t += from[2 * stride];
      }
      to_bias[c] = d;
      to_weight[c] = dt * r;
      to_shift[c] = t;
      of_d += weight[c] * d;
      of_dt += weight[c] * dt;
    }
    const double n = -r * of_d / N, m = -r * r * r * of_dt / N;
    for (int64_t c = 0; c < map.D; ++c) {
      affine[3 * stride + c] = static_cast<float>(m);
      affine[4 * stride + c] = static_cast<float>(n);
      to_shift[c] = r * weight[c] * to_bias[c] + m * to_shift[c] + n * static_cast<double>(map.S);
    }
  }

  void contiguous() const {
    const auto sums_kernel = IP2P_SELECT_SIMD(gradient_sums_by_row);
    const auto gradient_kernel = IP2P_SELECT_SIMD(gradient_by_row);
    const int64_t elements = map.D * map.S;
    at::parallel_for(0, map.B * map.G, FeatureMap::grain(elements), [&](int64_t from, int64_t to) {
      std::vector<float> affine(GRADIENT_AFFINE * map.D), sums(GRADIENT_SUMS * map.D);
      for (int64_t i = from; i < to; ++i) {
        const int64_t b = i / map.G, g = i % map.G;
        const FeatureBlock block{map.at(map.x, i * elements), map.bfloat16, map.D, map.S};
        write_affine(b, g, affine.data(), map.D);
        void* const to = map.at(dx, i * elements);
        sums_kernel(block, affine.data(), silu, map.at(dy, i * elements), sums.data(),
                    keeps_d() ? to : nullptr);
        finish_group(b, g, sums.data(), 1, affine.data(), map.D);
        gradient_kernel(block, affine.data(), silu && !keeps_d(), map.at(keeps_d() ? dx : dy, i * elements),
                        to);
      }
    });
  }

  void channels_last() const {
    const auto sums_kernel = IP2P_SELECT_SIMD(gradient_sums_by_column);
    const auto gradient_kernel = IP2P_SELECT_SIMD(gradient_by_column);
    const int64_t blocks = map.blocks(), C = map.C, together = map.rows_together();
    std::vector<float> sums(together * blocks * GRADIENT_SUMS * C), affine(together * GRADIENT_AFFINE * C);
    for (int64_t first = 0; first < map.B; first += together) {
      const int64_t rows = std::min(together, map.B - first);
      const auto for_groups = [&](const auto& work) {
        for (int64_t row = 0; row < rows; ++row)
          for (int64_t g = 0; g < map.G; ++g)
            work(row, g, affine.data() + row * GRADIENT_AFFINE * C + g * map.D);
      };
      const auto affine_of = [&](int64_t i) { return affine.data() + i / blocks * GRADIENT_AFFINE * C; };
      for_groups([&](int64_t row, int64_t g, float* to) { write_affine(first + row, g, to, C); });
      map.for_blocks(first, rows, [&](int64_t i, int64_t offset, const FeatureBlock& block) {
        sums_kernel(block, affine_of(i), silu, map.at(dy, offset), sums.data() + i * GRADIENT_SUMS * C,
                    keeps_d() ? map.at(dx, offset) : nullptr);
      });
      for_groups([&](int64_t row, int64_t g, float* to) {
        finish_group(first + row, g, sums.data() + row * blocks * GRADIENT_SUMS * C + g * map.D, blocks, to,
                     C);
      });
      map.for_blocks(first, rows, [&](int64_t i, int64_t offset, const FeatureBlock& block) {
        gradient_kernel(block, affine_of(i), silu && !keeps_d(), map.at(keeps_d() ? dx : dy, offset),
                        map.at(dx, offset));
      });
    }
  }
};

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> group_norm_backward(
    const at::Tensor& dy, const at::Tensor& x, const at::Tensor& mean, const at::Tensor& rstd, int64_t groups,
    const at::Tensor& weight, const at::Tensor& bias, bool silu, const MaybeTensor& shift) {
  const FeatureMap map(x, groups);
  const GroupNormParameters parameters(weight, bias, shift);
  const auto per_channel = [&] { return at::empty({map.B, map.C}, x.options().dtype(at::kDouble)); };
  const Backward backward{
      map,           parameters,    silu,         mean, rstd, map.like_this(dy), at::empty_like(map.x),
      per_channel(), per_channel(), per_channel()};
  map.channels_last ? backward.channels_last() : backward.contiguous();
  return {backward.dx, backward.dweight.sum(0).to(weight.scalar_type()),
          backward.dbias.sum(0).to(bias.scalar_type()),
          shift ? backward.dshift.to(shift->scalar_type()) : at::Tensor()};
}

}  // namespace

const Operators kernels(c10::DispatchKey::CPU, [](torch::Library& library) {
  if (instruction_set() != InstructionSet::None) library.impl("group_norm_backward", group_norm_backward);
});

}  // namespace ip2p
