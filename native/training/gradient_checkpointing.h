#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

namespace ip2p {

/// A part of a model as a function of every tensor that a gradient must flow to, parameters apart.
using Segment = std::function<at::Tensor(const std::vector<at::Tensor>&)>;

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

/// segment(inputs). With gradients and checkpointing on, only the inputs are kept: the backward pass computes
/// the segment again, under the same autocast state (Chen et al. 2016, "Training Deep Nets with Sublinear
/// Memory Cost"). Segments draw no random numbers: there is no dropout in these models, so there is no
/// generator state to restore.
at::Tensor recomputed(const Segment& segment, const std::vector<at::Tensor>& inputs);

}  // namespace ip2p
