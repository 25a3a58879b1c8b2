#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/packed.h"
#include "nn/parameter.h"

namespace ip2p {

/// What the masks of dropout depend on, beside the adapter: the same in a recomputed forward pass, and after
/// a resumption.
struct DropoutDraw {
  uint64_t seed = 0;
  uint64_t step = 0;        ///< optimizer steps done
  uint64_t micro_step = 0;  ///< within the step
  /// Only during a micro-step. Gradients do not tell: a segment's first pass computes none.
  bool active = false;
};

/// A low-rank addition to a layer's product, computed beside it: scale · up·(down·x) (Hu et al. 2021,
/// "LoRA"). The layer's own weight stays as it is, in whatever form it is kept.
struct LowRankAdapter {
  std::string name;
  /// [r,in] or [r,in,k,k]
  Parameter down;
  /// [out,r] or [out,r,1,1]
  Parameter up;
  /// alpha / r
  double scale = 1;
  /// Probability of dropping each element of x, in training.
  double dropout = 0;
  /// Counts only in the rows of a batch for which AdapterRows says so, instead of in all.
  bool by_row = false;
  /// Tells adapters apart that share draws.
  uint64_t place = 0;
  /// Null outside of training.
  std::shared_ptr<const DropoutDraw> draw;

  bool trained() const { return draw || down.value.requires_grad(); }

  /// Not scaled. x: [...,in] → [...,out]
  at::Tensor linear(const at::Tensor& x) const;
  /// Not scaled. x: [B,in,H,W] → [B,out,H',W']
  at::Tensor conv2d(const at::Tensor& x, Conv2dGeometry geometry) const;
  /// Not scaled. ids: [...] → [...,out], for an embedding's weight [count,out]
  at::Tensor embedding(const at::Tensor& ids) const;

 private:
  at::Tensor dropped(const at::Tensor& x) const;
};

/// y and what the adapters of a layer's weight add to it.
at::Tensor with_adapters_linear(const Parameter& weight, const at::Tensor& x, at::Tensor y);
at::Tensor with_adapters_conv2d(const Parameter& weight, const at::Tensor& x, Conv2dGeometry geometry,
                                at::Tensor y);
at::Tensor with_adapters_embedding(const Parameter& weight, const at::Tensor& ids, at::Tensor y);

/// How much an adapter counts in a pass: in all rows alike (one number), or in each.
struct AdapterWeights {
  std::string name;
  std::vector<double> rows;

  bool alike() const;
};

/// The weights of a pass, while this object exists and on this thread. An adapter that they do not name
/// counts fully, or not at all if it is `by_row`.
class AdapterRows {
 public:
  /// @param sample_rows as in Conditions; rows that share a row of the sample must have the same weights
  /// @param samples the number of these rows
  explicit AdapterRows(std::vector<AdapterWeights> weights, const std::vector<int64_t>& sample_rows = {},
                       int64_t samples = 0);
  ~AdapterRows();
  AdapterRows(const AdapterRows&) = delete;
  AdapterRows& operator=(const AdapterRows&) = delete;

  /// The weights of an adapter for a product of so many rows: one for all, or one for each; where one row
  /// stands for all, one for each that it stands for.
  static std::vector<double> of(const LowRankAdapter& adapter, int64_t rows);

  /// Whether some adapter counts differently in different rows.
  static bool differ();

 private:
  std::vector<AdapterWeights> weights_;
  /// The same by the rows of the sample, where these are fewer.
  std::vector<AdapterWeights> by_sample_row_;
  const AdapterRows* before_;
};

}  // namespace ip2p
