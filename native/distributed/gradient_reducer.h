#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <vector>

#include "distributed/process_group.h"
#include "nn/module.h"

namespace ip2p {

/// Averages the gradients of all processes, as PyTorch's DistributedDataParallel does (Li et al. 2020,
/// "PyTorch Distributed: Experiences on Accelerating Data Parallel Training"): gradients are views of flat
/// buckets, each of which is summed as soon as backward has filled it, while backward goes on. The buckets
/// are DDP's, and so is the order of operations: each gradient is multiplied by 1/N, then summed.
class GradientReducer {
 public:
  /// All processes pass the same parameters in the same order; each requires a gradient already.
  /// @param exchanged_as the type in which float32 gradients are summed: bfloat16 moves half as many bytes
  GradientReducer(std::shared_ptr<ProcessGroup> group, std::vector<NamedParameter> parameters,
                  std::optional<c10::ScalarType> exchanged_as = std::nullopt);
  ~GradientReducer();
  GradientReducer(const GradientReducer&) = delete;
  GradientReducer& operator=(const GradientReducer&) = delete;

  /// Before a backward pass: one that only accumulates, or the last one before the optimizer's step, which
  /// `reduces`.
  void begin(bool reduces);
  /// After the backward pass that reduces: waits for the averages. A parameter without a gradient counts as
  /// zero.
  void finish();

 private:
  struct Bucket;
  struct Hook;

  void lay_out(const std::vector<std::vector<size_t>>& assignment);
  void follow_first_backward();
  void on_gradient(size_t i);
  void mark_ready(size_t i);
  void launch(Bucket& bucket);

  std::shared_ptr<ProcessGroup> group_;
  std::vector<NamedParameter> parameters_;
  std::optional<c10::ScalarType> exchanged_as_;
  at::Tensor scale_;
  std::vector<std::unique_ptr<Hook>> hooks_;
  std::vector<Bucket> buckets_;
  std::vector<size_t> bucket_of_;
  std::vector<at::Tensor> views_;
  std::vector<bool> ready_;
  size_t launched_ = 0;
  bool reducing_ = false;
  /// In which gradients became ready in the first backward pass that reduced; buckets follow it from then on.
  std::vector<size_t> order_;
  bool order_known_ = false;
  bool follows_order_ = false;
};

}  // namespace ip2p
