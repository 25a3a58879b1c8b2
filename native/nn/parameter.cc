#include "nn/parameter.h"

namespace ip2p {

void Parameter::restore() const {
  shared_ = true;
  if (value.defined() || !packed_.defined()) return;
  value = packed_.to_dense();
  packed_version_ = value._version();
}

c10::ScalarType Parameter::type() const {
  return (value.defined() ? value : packed_).scalar_type();
}

at::Tensor Parameter::packed(const std::function<at::Tensor(const at::Tensor&)>& pack) const {
  if (!value.defined()) return packed_;
  if (value.requires_grad()) {
    packed_.reset();
    return {};
  }
  const int64_t version = value._version();
  if (!packed_.defined() || version != packed_version_) {
    packed_ = pack(value);
    packed_version_ = version;
  }
  if (!shared_) value.reset();
  return packed_;
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
