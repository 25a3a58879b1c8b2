#include "nn/parameter.h"

#include <ATen/autocast_mode.h>
#include <ATen/ops/empty_like.h>

#include "core/error.h"
#include "kernels/column_blocks.h"
#include "kernels/int8.h"
#include "nn/shadow_weight.h"

namespace ip2p {

void Parameter::set(const at::Tensor& plain) {
  if (!int8_) {
    value = plain;
    return;
  }
  const Int8Weight quantized = quantize_weight(plain);
  value = quantized.codes;
  scales_ = quantized.scales;
}

void Parameter::restore() const {
  if (int8_)
    throw Error("ERR_INVALID_ARGUMENT",
                "a model with 8-bit weights keeps no other copy of them: load it without quantization");
  shared_ = true;
  if (value.defined() || !packed_.defined()) return;
  value = unpacked();
  packed_version_ = value._version();
}

at::Tensor Parameter::copy_to(c10::Device device) const {
  if (int8_) throw Error("ERR_INVALID_ARGUMENT", "a model with 8-bit weights stays on the CPU");
  if (value.defined() && value.requires_grad())
    throw Error("ERR_INVALID_ARGUMENT", "a model in training stays on its device");
  return (value.defined() ? value : unpacked()).to(device);
}

void Parameter::replace(at::Tensor tensor) {
  value = std::move(tensor);
  packed_.reset();
  derived_.clear();
  shadow_.reset();
  mark_shadow_stale();
  shared_ = false;
}

c10::ScalarType Parameter::type() const {
  return (value.defined() ? value : packed_).scalar_type();
}

at::Tensor Parameter::unpacked() const {
  return packing_ == Packing::Columns ? unpack_columns(packed_, shape) : packed_.to_dense();
}

at::Tensor Parameter::packed(const std::function<at::Tensor(const at::Tensor&)>& pack,
                             Packing packing) const {
  if (!value.defined()) {
    if (packing == packing_) return packed_;
    value = unpacked();
    packed_.reset();
  }
  if (value.requires_grad()) {
    packed_.reset();
    return {};
  }
  const int64_t version = value._version();
  if (!packed_.defined() || version != packed_version_ || packing != packing_) {
    packed_ = pack(value);
    packing_ = packing;
    packed_version_ = version;
  }
  if (!shared_) value.reset();
  return packed_;
}

at::Tensor Parameter::for_product() const {
  restore();
  const c10::DeviceType device = value.device().type();
  const bool wanted = shadow_type_ && at::autocast::is_autocast_enabled(device) &&
                      at::autocast::get_autocast_dtype(device) == *shadow_type_;
  if (!wanted) return value;
  if (!shadow_.defined()) shadow_ = at::empty_like(value, value.options().dtype(*shadow_type_));
  if (shadow_version_ != value._version()) {
    shadow_.copy_(value.detach());
    shadow_version_ = value._version();
  }
  return shadow_weight(value, shadow_);
}

std::vector<at::Tensor> Parameter::derived(
    const std::function<std::vector<at::Tensor>(const at::Tensor&)>& make) const {
  restore();
  if (value.requires_grad()) {
    derived_.clear();
    return make(value);
  }
  const int64_t version = value._version();
  if (derived_.empty() || version != derived_version_) {
    derived_ = make(value);
    derived_version_ = version;
  }
  return derived_;
}

}  // namespace ip2p
