#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace ip2p {

/// What a UNet reuses from one denoising step to the next: results that depend only on the text or the
/// timesteps and, on request, features of its deep levels. Belongs to one model, whose weights must not
/// change meanwhile; modified only on the thread of that model's device.
class UNetCache {
 public:
  /// `timesteps`: those of the coming passes, as far as they are known.
  explicit UNetCache(const std::vector<double>& timesteps);

  /// float64 [N]; undefined: none are known.
  const at::Tensor& timesteps() const { return timesteps_; }
  /// The index of a timestep among them.
  std::optional<int64_t> row_of(double timestep) const;

  /// The last up block's input; undefined if none is kept.
  at::Tensor deep_features;

  /// Whether the cache belongs to this model; the first model to ask claims it. Called when a pass is queued.
  bool belongs_to(const std::shared_ptr<const void>& model);

  /// Scope of a pass: drops entries on another device (the model was moved), or made with other adapters, and
  /// counts the memory. Equal texts stand for equal adapters.
  void begin_pass(c10::Device device, const std::string& adapters);
  void end_pass();
  /// Bytes kept after the last pass; may be read by any thread.
  int64_t bytes() const { return bytes_; }

  /// The cached result of `make` for this layer and source, computed on a miss.
  const std::vector<at::Tensor>& get(const void* layer, const at::Tensor& source,
                                     const std::function<std::vector<at::Tensor>()>& make);

 private:
  struct Entry {
    at::Tensor source;  // held, so that its address is not reused
    int64_t version = 0;
    std::vector<at::Tensor> made;
  };
  at::Tensor timesteps_;
  std::weak_ptr<const void> model_;
  bool owned_ = false;
  c10::Device device_{c10::kCPU};
  std::string adapters_;
  std::atomic<int64_t> bytes_{0};
  std::unordered_map<const void*, Entry> entries_;
};

}  // namespace ip2p
