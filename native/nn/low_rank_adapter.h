#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
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
  /// Tells adapters apart that share draws.
  uint64_t place = 0;
  /// Null outside of training.
  std::shared_ptr<const DropoutDraw> draw;

  /// x: [...,in] → [...,out]
  at::Tensor linear(const at::Tensor& x) const;
  /// x: [B,in,H,W] → [B,out,H',W']
  at::Tensor conv2d(const at::Tensor& x, Conv2dGeometry geometry) const;

 private:
  at::Tensor dropped(const at::Tensor& x) const;
  at::Tensor scaled(const at::Tensor& y) const;
};

/// y and what the adapters of a layer's weight add to it.
at::Tensor with_adapters_linear(const Parameter& weight, const at::Tensor& x, at::Tensor y);
at::Tensor with_adapters_conv2d(const Parameter& weight, const at::Tensor& x, Conv2dGeometry geometry,
                                at::Tensor y);

/// How much an adapter counts in each row of a batch, while this object exists and on this thread: float32
/// [B]. Without one an adapter counts fully in all rows.
class AdapterRows {
 public:
  AdapterRows(std::vector<std::pair<std::string, at::Tensor>> weights);
  ~AdapterRows();
  AdapterRows(const AdapterRows&) = delete;
  AdapterRows& operator=(const AdapterRows&) = delete;

  /// Undefined where nothing is said of the adapter.
  static at::Tensor of(const std::string& name);

 private:
  std::vector<std::pair<std::string, at::Tensor>> weights_;
  const AdapterRows* before_;
};

}  // namespace ip2p
