#include "kernels/packed.h"

#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <ATen/ops/mkldnn_reorder_conv2d_weight.h>
#include <c10/core/GradMode.h>

#include "kernels/onednn.h"
#include "kernels/simd/instruction_set.h"

namespace ip2p {
namespace {

using OptionalTensor = std::optional<at::Tensor>;
using Scalars = c10::List<std::optional<at::Scalar>>;

}  // namespace

bool can_pack(const at::Tensor& x, c10::ScalarType weight) {
  if (!x.is_cpu() || x.scalar_type() != weight || x.numel() == 0) return false;
  if (c10::GradMode::is_enabled() || at::autocast::is_autocast_enabled(at::kCPU)) return false;
  if (!at::hasMKLDNN() || !at::globalContext().userEnabledMkldnn()) return false;
  return weight == at::kFloat || (weight == at::kBFloat16 && onednn_takes_bfloat16());
}

at::Tensor pack_conv2d(const at::Tensor& weight, at::IntArrayRef input_sizes, Conv2dGeometry geometry) {
  return at::mkldnn_reorder_conv2d_weight(weight.to_mkldnn(), both(geometry.padding), both(geometry.stride),
                                          {1, 1}, 1, input_sizes);
}

at::Tensor packed_conv2d(const at::Tensor& x, const at::Tensor& packed, const OptionalTensor& bias,
                         Conv2dGeometry geometry, const at::Tensor& addend) {
  const at::Tensor input = x.contiguous(at::MemoryFormat::ChannelsLast);
  const auto padding = both(geometry.padding), stride = both(geometry.stride), dilation = both(1);
  if (addend.defined()) {
    static const auto op = find_operator<at::Tensor(
        const at::Tensor&, const at::Tensor&, const at::Tensor&, const OptionalTensor&, at::IntArrayRef,
        at::IntArrayRef, at::IntArrayRef, int64_t, c10::string_view, std::optional<at::Scalar>,
        std::optional<c10::string_view>, Scalars, std::optional<c10::string_view>)>(
        "mkldnn::_convolution_pointwise", "binary");
    return op.call(input, addend.contiguous(at::MemoryFormat::ChannelsLast), packed, bias, padding, stride,
                   dilation, 1, "add", std::nullopt, std::nullopt, Scalars(), std::nullopt);
  }
  static const auto op =
      find_operator<at::Tensor(const at::Tensor&, const at::Tensor&, const OptionalTensor&, at::IntArrayRef,
                               at::IntArrayRef, at::IntArrayRef, int64_t, c10::string_view, Scalars,
                               std::optional<c10::string_view>)>("mkldnn::_convolution_pointwise");
  return op.call(input, packed, bias, padding, stride, dilation, 1, "none", Scalars(), std::nullopt);
}

at::Tensor pack_linear(const at::Tensor& weight, int64_t rows) {
  static const auto op =
      find_operator<at::Tensor(const at::Tensor&, std::optional<int64_t>)>("mkldnn::_reorder_linear_weight");
  return op.call(weight, rows);
}

at::Tensor packed_linear(const at::Tensor& x, const at::Tensor& packed, const OptionalTensor& bias,
                         const at::Tensor& addend) {
  if (addend.defined()) {
    static const auto op = find_operator<at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                                    const OptionalTensor&, c10::string_view)>(
        "mkldnn::_linear_pointwise", "binary");
    return op.call(x.contiguous(), addend.contiguous(), packed, bias, "add");
  }
  static const auto op =
      find_operator<at::Tensor(const at::Tensor&, const at::Tensor&, const OptionalTensor&, c10::string_view,
                               Scalars, std::optional<c10::string_view>)>("mkldnn::_linear_pointwise");
  return op.call(x.contiguous(), packed, bias, "none", Scalars(), std::nullopt);
}

}  // namespace ip2p
