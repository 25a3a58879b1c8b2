#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

namespace ip2p {

/// A segment of a model as a function of its two differentiable inputs (besides parameters): the hidden
/// states and the conditioning (time or text).
using Segment = std::function<at::Tensor(const at::Tensor& x, const at::Tensor& condition)>;

/// While one of these lives on a thread, `recomputed()` keeps no activations inside its segments.
class GradientCheckpointingScope {
 public:
  explicit GradientCheckpointingScope(bool enabled);
  ~GradientCheckpointingScope();
  GradientCheckpointingScope(const GradientCheckpointingScope&) = delete;
  GradientCheckpointingScope& operator=(const GradientCheckpointingScope&) = delete;

 private:
  bool before_;
};

/// segment(x, condition). With gradients and checkpointing on, only the inputs are kept: the backward pass
/// computes the segment again, under the same autocast state (Chen et al. 2016, "Training Deep Nets with
/// Sublinear Memory Cost"). Segments draw no random numbers: there is no dropout in these models, so there is
/// no generator state to restore.
at::Tensor recomputed(const Segment& segment, const at::Tensor& x, const at::Tensor& condition);

}  // namespace ip2p
