#include "nn/unet_cache.h"

#include <ATen/ops/tensor.h>

#include <algorithm>

namespace ip2p {

UNetCache::UNetCache(const std::vector<double>& timesteps) {
  if (!timesteps.empty()) timesteps_ = at::tensor(timesteps, at::TensorOptions().dtype(at::kDouble));
}

std::optional<int64_t> UNetCache::row_of(double timestep) const {
  if (!timesteps_.defined()) return std::nullopt;
  const double* const first = timesteps_.const_data_ptr<double>();
  const double* const last = first + timesteps_.numel();
  const double* const found = std::find(first, last, timestep);
  if (found == last) return std::nullopt;
  return found - first;
}

bool UNetCache::belongs_to(const std::shared_ptr<const void>& model) {
  if (!owned_) {
    model_ = model;
    owned_ = true;
  }
  return model_.lock() == model;
}

void UNetCache::begin_pass(c10::Device device, const std::string& adapters) {
  if (device == device_ && adapters == adapters_) return;
  entries_.clear();
  deep_features.reset();
  device_ = device;
  adapters_ = adapters;
}

void UNetCache::end_pass() {
  const auto size = [](const at::Tensor& tensor) {
    return tensor.defined() ? static_cast<int64_t>(tensor.nbytes()) : 0;
  };
  int64_t bytes = size(timesteps_) + size(deep_features);
  for (const auto& [layer, entry] : entries_)
    for (const at::Tensor& tensor : entry.made) bytes += size(tensor);
  bytes_ = bytes;
}

const std::vector<at::Tensor>& UNetCache::get(const void* layer, const at::Tensor& source,
                                              const std::function<std::vector<at::Tensor>()>& make) {
  Entry& entry = entries_[layer];
  const bool known = entry.source.defined() && entry.source.data_ptr() == source.data_ptr() &&
                     entry.source.sizes() == source.sizes() && entry.source.strides() == source.strides() &&
                     entry.version == source._version();
  if (!known) entry = {source, source._version(), make()};
  return entry.made;
}

}  // namespace ip2p
