#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

namespace ip2p {

/// What a UNet keeps from one denoising step to the next: what layers compute of the text or of the timesteps
/// only, and, where that is asked for, features of its deep levels. Belongs to one model, whose weights do
/// not change meanwhile; changed on the thread of that model's device alone.
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

  /// Whether it is this model's; the first one that asks has it. Called where passes are queued.
  bool belongs_to(const std::shared_ptr<const void>& model);

  /// Around a pass: forgets what lies on another device, as after the model was moved, and counts.
  void begin_pass(c10::Device device);
  void end_pass();
  /// What was kept after the last pass; read by any thread.
  int64_t bytes() const { return bytes_; }

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
  bool owned_ = false;
  c10::Device device_{c10::kCPU};
  std::atomic<int64_t> bytes_{0};
  std::unordered_map<const void*, Entry> entries_;
};

}  // namespace ip2p
