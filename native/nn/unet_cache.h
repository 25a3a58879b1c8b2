#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

namespace ip2p {

/// What a UNet keeps from one denoising step to the next: what layers compute of the text or of the timesteps
/// only, and, where that is asked for, features of its deep levels. Belongs to one model, whose weights do
/// not change meanwhile.
class UNetCache {
 public:
  /// `timesteps`: those of the passes to come, as far as they are known.
  explicit UNetCache(const std::vector<double>& timesteps);

  /// float64 [N]; undefined: none are known.
  const at::Tensor& timesteps() const { return timesteps_; }
  /// The place of a timestep among them.
  std::optional<int64_t> row_of(double timestep) const;

  /// What the last up block was given; undefined: nothing.
  at::Tensor deep_features;

  /// What is kept belongs to this model from now on; nothing, if it was another's.
  void belong_to(const std::shared_ptr<const void>& model);

  /// What `make` made for this layer and this source the last time, or makes now.
  const std::vector<at::Tensor>& get(const void* layer, const at::Tensor& source,
                                     const std::function<std::vector<at::Tensor>()>& make);

 private:
  struct Entry {
    at::Tensor source;  // held, so that nothing else can come to lie at its address
    int64_t version = 0;
    std::vector<at::Tensor> made;
  };
  at::Tensor timesteps_;
  std::weak_ptr<const void> model_;
  std::unordered_map<const void*, Entry> entries_;
};

}  // namespace ip2p
