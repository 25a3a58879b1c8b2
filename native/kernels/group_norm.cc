// The group norm for every backend: schemas, autograd, and the fallback without a kernel. A backend
// implements ip2p::group_norm_forward and ip2p::group_norm_backward.
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/group_norm.h>
#include <ATen/ops/silu.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels/backend_kernel.h"
#include "kernels/ops.h"
#include "kernels/registry.h"

namespace ip2p {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using MaybeTensor = std::optional<at::Tensor>;

// Results of forward: y, and per row and group [B,G] in float32 the mean and the reciprocal standard
// deviation.
using Forward = std::tuple<at::Tensor, at::Tensor, at::Tensor>(const at::Tensor& x, int64_t groups,
                                                               const at::Tensor& weight,
                                                               const at::Tensor& bias, double eps, bool silu,
                                                               const MaybeTensor& shift);
// The gradients of x, weight, bias and, if there is one, shift.
using Backward = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>(
    const at::Tensor& dy, const at::Tensor& x, const at::Tensor& mean, const at::Tensor& rstd, int64_t groups,
    const at::Tensor& weight, const at::Tensor& bias, bool silu, const MaybeTensor& shift);

const c10::TypedOperatorHandle<Forward>& forward_operator() {
  static const auto op = own_operator<Forward>("group_norm_forward");
  return op;
}

const c10::TypedOperatorHandle<Backward>& backward_operator() {
  static const auto op = own_operator<Backward>("group_norm_backward");
  return op;
}

struct GroupNormFunction : torch::autograd::Function<GroupNormFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const at::Tensor& bias, const MaybeTensor& shift, int64_t groups, double eps,
                            bool silu) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const auto [y, mean, rstd] = forward_operator().call(x, groups, weight, bias, eps, silu, shift);
    context->save_for_backward({x, weight, bias, shift.value_or(at::Tensor()), mean, rstd});
    context->saved_data["groups"] = groups;
    context->saved_data["silu"] = silu;
    return y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& output_gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &bias = saved[2], &shift = saved[3];
    const auto [dx, dweight, dbias, dshift] = backward_operator().call(
        output_gradients[0], x, saved[4], saved[5], context->saved_data["groups"].toInt(), weight, bias,
        context->saved_data["silu"].toBool(), shift.defined() ? MaybeTensor(shift) : std::nullopt);
    return {dx, dweight, dbias, dshift, at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

/// The supported types: all in one precision, or bfloat16 with the float32 weights of mixed precision.
bool kernel_takes(const at::Tensor& x, int64_t groups, const at::Tensor& weight, const at::Tensor& bias,
                  const MaybeTensor& shift) {
  const auto type = x.scalar_type();
  if ((type != at::kFloat && type != at::kBFloat16) || !has_kernel_for(forward_operator(), x)) return false;
  if (x.dim() < 3 || x.numel() == 0 || groups <= 0 || x.size(1) % groups != 0) return false;
  for (const at::Tensor& parameter : {weight, bias})
    if (parameter.dim() != 1 || parameter.size(0) != x.size(1) || parameter.device() != x.device() ||
        (parameter.scalar_type() != type && parameter.scalar_type() != at::kFloat))
      return false;
  return !shift || (shift->dim() == 2 && shift->scalar_type() == type && shift->device() == x.device() &&
                    (shift->size(0) == x.size(0) || shift->size(0) == 1) && shift->size(1) == x.size(1));
}

at::Tensor group_norm_kernel(const at::Tensor& x, int64_t groups, const at::Tensor& weight,
                             const at::Tensor& bias, double eps, bool silu, const MaybeTensor& shift) {
  if (!kernel_takes(x, groups, weight, bias, shift))
    return group_norm_plain(x, groups, weight, bias, eps, silu, shift);
  // A shift broadcast over the batch gets the sum of the rows' gradients.
  MaybeTensor shifts;
  if (shift) shifts = shift->expand({x.size(0), x.size(1)});
  const bool recorded =
      at::GradMode::is_enabled() && (x.requires_grad() || weight.requires_grad() || bias.requires_grad() ||
                                     (shift && shift->requires_grad()));
  if (recorded) return GroupNormFunction::apply(x, weight, bias, shifts, groups, eps, silu);
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  return std::get<0>(forward_operator().call(x, groups, weight, bias, eps, silu, shifts));
}

at::Tensor call(const at::Tensor& x, int64_t groups, const at::Tensor& weight, const at::Tensor& bias,
                double eps, bool silu, const MaybeTensor& shift) {
  static const auto op = own_operator<decltype(group_norm_kernel)>("group_norm");
  return op.call(x, groups, weight, bias, eps, silu, shift);
}

}  // namespace

const Operators schemas([](torch::Library& library) {
  library.def(
      "group_norm(Tensor x, int groups, Tensor weight, Tensor bias, float eps, bool silu, Tensor? shift) -> "
      "Tensor",
      group_norm_kernel);
  library.def(
      "group_norm_forward(Tensor x, int groups, Tensor weight, Tensor bias, float eps, bool silu, Tensor? "
      "shift) -> (Tensor, Tensor, Tensor)");
  library.def(
      "group_norm_backward(Tensor dy, Tensor x, Tensor mean, Tensor rstd, int groups, Tensor weight, Tensor "
      "bias, bool silu, Tensor? shift) -> (Tensor, Tensor, Tensor, Tensor)");
});

at::Tensor group_norm_plain(const at::Tensor& x, int64_t groups, const at::Tensor& weight,
                            const at::Tensor& bias, double eps, bool silu, const MaybeTensor& shift) {
  at::Tensor shifted = x;
  if (shift) {
    std::vector<int64_t> sizes(x.dim(), 1);
    sizes[0] = shift->size(0);
    sizes[1] = shift->size(1);
    shifted = x + shift->view(sizes);
  }
  const at::Tensor y = at::group_norm(shifted, groups, weight, bias, eps);
  return silu ? at::silu(y) : y;
}

at::Tensor group_norm(const at::Tensor& x, int64_t groups, const at::Tensor& weight, const at::Tensor& bias,
                      double eps) {
  return call(x, groups, weight, bias, eps, false, std::nullopt);
}

at::Tensor group_norm_silu(const at::Tensor& x, int64_t groups, const at::Tensor& weight,
                           const at::Tensor& bias, double eps, const MaybeTensor& shift) {
  return call(x, groups, weight, bias, eps, true, shift);
}

}  // namespace ip2p
