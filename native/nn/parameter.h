#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

namespace ip2p {

struct LowRankAdapter;

/// What packed a parameter.
enum class Packing { OneDnn, Columns };

/// A parameter: its shape is known from the configuration, its value comes from a file.
///
/// A layer may keep it in the order in which a product reads it fastest (packed), and then instead of the
/// plain tensor, so that weights are held once. Accessing the plain tensor restores it bit for bit; from then
/// on it is kept, so that in-place changes to it are seen.
class Parameter {
 public:
  /// The plain tensor; undefined while only the packed one is held, which restore() ends.
  mutable at::Tensor value;
  std::vector<int64_t> shape;
  /// Whether training changes it.
  bool trained = true;

  const at::Tensor& operator*() const {
    restore();
    return value;
  }

  void restore() const;

  /// The plain tensor on another device. ERR_INVALID_ARGUMENT for a parameter in training.
  at::Tensor copy_to(c10::Device device) const;

  /// Replaces the plain tensor; existing references to the old one stay valid.
  void replace(at::Tensor tensor);
  /// From now on set() quantizes to 8-bit integers, for inference on the CPU: `value` holds the codes, and
  /// restore() throws.
  void keep_as_int8() { int8_ = true; }
  bool int8() const { return int8_; }
  /// Scales of the codes: float32, one per output channel.
  const at::Tensor& scales() const { return scales_; }

  void set(const at::Tensor& plain);

  /// Element type of the plain and the packed tensor.
  c10::ScalarType type() const;

  /// The result of `pack` on the plain tensor, cached and recomputed when the tensor changes. Undefined for a
  /// parameter in training.
  at::Tensor packed(const std::function<at::Tensor(const at::Tensor&)>& pack,
                    Packing packing = Packing::OneDnn) const;

  /// The weight for a matrix product: under autocast the shadow weight, if one is kept in autocast's type;
  /// otherwise the plain tensor.
  at::Tensor for_product() const;

  /// Keeps a shadow weight (two bytes per element) from now on. It is refreshed when libtorch's version
  /// counter of the plain tensor changes; code that bypasses the counter calls mark_shadow_*().
  void keep_shadow(c10::ScalarType type) { shadow_type_ = type; }
  /// The shadow weight, which an optimizer may update along with the plain tensor; undefined if none is kept.
  const at::Tensor& shadow() const { return shadow_; }
  void mark_shadow_current() { shadow_version_ = value._version(); }
  void mark_shadow_stale() { shadow_version_ = -1; }

  /// Set by layers that multiply with it.
  bool multiplies = false;
  /// Set by layers that take rows of it.
  bool looked_up = false;

  /// What is added to the products with it, in this order.
  const std::vector<std::shared_ptr<LowRankAdapter>>& adapters() const { return adapters_; }
  std::vector<std::shared_ptr<LowRankAdapter>>& adapters() { return adapters_; }

  /// Tensors that `make` derives from the plain tensor, cached and recomputed when it changes. For a
  /// parameter in training they are recomputed, differentiably, at every call.
  std::vector<at::Tensor> derived(
      const std::function<std::vector<at::Tensor>(const at::Tensor&)>& make) const;

 private:
  at::Tensor unpacked() const;

  mutable at::Tensor packed_;
  mutable Packing packing_ = Packing::OneDnn;
  mutable int64_t packed_version_ = 0;
  mutable std::vector<at::Tensor> derived_;
  mutable int64_t derived_version_ = 0;
  mutable bool shared_ = false;  // the plain tensor may be referenced elsewhere
  std::optional<c10::ScalarType> shadow_type_;
  mutable at::Tensor shadow_;
  mutable int64_t shadow_version_ = -1;
  bool int8_ = false;
  at::Tensor scales_;
  std::vector<std::shared_ptr<LowRankAdapter>> adapters_;
};

}  // namespace ip2p
