#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

namespace ip2p {

/// A parameter: its shape is known from the configuration, its value comes from a file.
///
/// A layer may keep it in the order in which a product reads it fastest (packed), and then instead of the
/// plain tensor, so that weights are held once. Who asks for the plain tensor gets it back, the same to the
/// bit; from then on it stays, since what is changed in it must be seen.
class Parameter {
 public:
  /// The plain tensor; undefined while only the packed one is held, which restore() ends.
  mutable at::Tensor value;
  std::vector<int64_t> shape;

  const at::Tensor& operator*() const {
    restore();
    return value;
  }

  void restore() const;

  /// The plain tensor on another device. ERR_INVALID_ARGUMENT for a parameter in training.
  at::Tensor copy_to(c10::Device device) const;

  /// Puts a tensor in the place of the plain one; whoever holds that keeps it.
  void replace(at::Tensor tensor);
  /// From now on what set() is given is kept as 8-bit integers, for inference on the CPU: `value` are the
  /// codes, and who asks for the plain tensor is refused.
  void keep_as_int8() { int8_ = true; }
  bool int8() const { return int8_; }
  /// Of the codes: float32, one for each of the weight's first dimension.
  const at::Tensor& scales() const { return scales_; }

  void set(const at::Tensor& plain);

  /// Of the plain and of the packed tensor.
  c10::ScalarType type() const;

  /// What `pack` makes of the plain tensor, made again when that has changed. Undefined for a parameter in
  /// training.
  at::Tensor packed(const std::function<at::Tensor(const at::Tensor&)>& pack) const;

  /// The plain tensor for a product in mixed precision: what autocast would cast it to, from a copy, if one
  /// is kept in the type that is on.
  at::Tensor for_product() const;

  /// Keeps such a copy from now on, at two bytes an element. It is made anew when libtorch has counted a
  /// change of the plain tensor; who changes that in another way says so.
  void keep_lowered(c10::ScalarType type) { lowered_type_ = type; }
  /// To be written by who changes the plain tensor; undefined where none is kept.
  const at::Tensor& lowered_copy() const { return lowered_; }
  void lowered_copy_is_right() { lowered_version_ = value._version(); }
  void lowered_copy_is_wrong() { lowered_version_ = -1; }

  /// Set by layers that multiply with it.
  bool multiplies = false;

  /// What `make` computes from the plain tensor, beside it; made again when that has changed. Made at every
  /// call, with its derivative, for a parameter in training.
  std::vector<at::Tensor> derived(
      const std::function<std::vector<at::Tensor>(const at::Tensor&)>& make) const;

 private:
  mutable at::Tensor packed_;
  mutable int64_t packed_version_ = 0;
  mutable std::vector<at::Tensor> derived_;
  mutable int64_t derived_version_ = 0;
  mutable bool shared_ = false;  // somebody may hold the plain tensor
  std::optional<c10::ScalarType> lowered_type_;
  mutable at::Tensor lowered_;
  mutable int64_t lowered_version_ = -1;
  bool int8_ = false;
  at::Tensor scales_;
};

}  // namespace ip2p
