#include "distributed/gradient_reducer.h"

#include <ATen/ScalarOps.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/utils/lambda_post_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "core/cancel.h"
#include "core/error.h"
#include "distributed/buckets.h"

namespace ip2p {
namespace {

/// The parameters' tensors, in an order.
std::vector<at::Tensor> tensors_of(const std::vector<NamedParameter>& parameters,
                                   const std::vector<size_t>& order) {
  std::vector<at::Tensor> tensors;
  for (const size_t i : order) tensors.push_back(parameters[i].parameter->value);
  return tensors;
}

std::vector<size_t> in_order(size_t count) {
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  return order;
}

}  // namespace

struct GradientReducer::Bucket {
  at::Tensor flat;
  at::Tensor exchanged;  ///< the same, or a copy in another type while that is summed
  std::vector<size_t> members;
  size_t missing = 0;
  std::unique_ptr<Collective> pending;
};

/// Calls on_gradient whenever a parameter's gradient has been accumulated.
struct GradientReducer::Hook {
  Hook(GradientReducer* reducer, size_t i)
      : accumulator(torch::autograd::impl::grad_accumulator(reducer->parameters_[i].parameter->value)) {
    key = accumulator->add_post_hook(std::make_unique<torch::autograd::utils::LambdaPostHook>(
        [reducer, i](const torch::autograd::variable_list& outputs, const torch::autograd::variable_list&) {
          reducer->on_gradient(i);
          return outputs;
        }));
  }
  ~Hook() { accumulator->del_post_hook(key); }

  /// Held, since a parameter refers to it only weakly.
  decltype(torch::autograd::impl::grad_accumulator(at::Tensor())) accumulator;
  uintptr_t key = 0;
};

GradientReducer::GradientReducer(std::shared_ptr<ProcessGroup> group, std::vector<NamedParameter> parameters,
                                 std::optional<c10::ScalarType> exchanged_as)
    : group_(std::move(group)),
      parameters_(std::move(parameters)),
      exchanged_as_(exchanged_as),
      scale_(c10::scalar_to_tensor(1.0 / group_->size())),
      bucket_of_(parameters_.size()),
      views_(parameters_.size()),
      ready_(parameters_.size()) {
  // As a plain number, which does not widen bfloat16.
  scale_.unsafeGetTensorImpl()->set_wrapped_number(true);
  auto assignment = first_buckets(tensors_of(parameters_, in_order(parameters_.size())));
  std::reverse(assignment.begin(), assignment.end());
  lay_out(assignment);
  for (size_t i = 0; i < parameters_.size(); ++i) hooks_.push_back(std::make_unique<Hook>(this, i));
}

GradientReducer::~GradientReducer() = default;

void GradientReducer::lay_out(const std::vector<std::vector<size_t>>& assignment) {
  buckets_.clear();
  for (const std::vector<size_t>& members : assignment) {
    int64_t size = 0;
    for (const size_t i : members) size += parameters_[i].parameter->value.numel();
    Bucket bucket;
    bucket.members = members;
    bucket.flat = at::empty({size}, parameters_[members[0]].parameter->value.options().requires_grad(false));
    int64_t offset = 0;
    for (const size_t i : members) {
      const at::Tensor& value = parameters_[i].parameter->value;
      // In the order of the parameter's memory, which autograd prefers for gradients.
      views_[i] = part_like(value, bucket.flat, offset);
      bucket_of_[i] = buckets_.size();
      offset += value.numel();
    }
    buckets_.push_back(std::move(bucket));
  }
}

void GradientReducer::begin(bool reduces) {
  const bool fresh = std::none_of(parameters_.begin(), parameters_.end(), [](const NamedParameter& entry) {
    return entry.parameter->value.grad().defined();
  });
  if (order_known_ && !follows_order_ && fresh) {
    lay_out(assign_buckets(tensors_of(parameters_, order_), order_));
    follows_order_ = true;
  }
  reducing_ = reduces;
  if (!reduces) return;
  ready_.assign(parameters_.size(), false);
  launched_ = 0;
  for (Bucket& bucket : buckets_) {
    bucket.missing = bucket.members.size();
    bucket.pending.reset();
  }
}

void GradientReducer::on_gradient(size_t i) {
  // A backward pass may take longer than a process may give no sign of life.
  check_cancelled();
  const c10::NoGradGuard no_gradients;
  at::Tensor& gradient = parameters_[i].parameter->value.mutable_grad();
  at::Tensor& view = views_[i];
  const bool elsewhere = !gradient.is_alias_of(view);
  if (reducing_) {
    // A sum that has begun cannot take any more.
    if (ready_[i])
      throw Error("ERR_INTERNAL", parameters_[i].name + " got a second gradient in one backward pass");
    if (elsewhere)
      at::mul_out(view, gradient, scale_);
    else
      view.mul_(scale_);
  } else if (elsewhere) {
    view.copy_(gradient);
  }
  if (elsewhere) gradient = view;
  if (reducing_) mark_ready(i);
}

void GradientReducer::mark_ready(size_t i) {
  ready_[i] = true;
  if (!order_known_) order_.push_back(i);
  --buckets_[bucket_of_[i]].missing;
  // In the same order on every process, whatever order backward fills them in.
  for (; launched_ < buckets_.size() && buckets_[launched_].missing == 0; ++launched_)
    launch(buckets_[launched_]);
}

void GradientReducer::launch(Bucket& bucket) {
  bucket.exchanged =
      exchanged_as_ && bucket.flat.scalar_type() == at::kFloat ? bucket.flat.to(*exchanged_as_) : bucket.flat;
  bucket.pending = group_->all_reduce(bucket.exchanged);
}

void GradientReducer::finish() {
  const c10::NoGradGuard no_gradients;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    if (ready_[i]) continue;
    at::Tensor& gradient = parameters_[i].parameter->value.mutable_grad();
    if (gradient.defined()) {
      views_[i].mul_(scale_);
    } else {
      views_[i].zero_();
      gradient = views_[i];
    }
    mark_ready(i);
  }
  reducing_ = false;
  for (Bucket& bucket : buckets_) {
    bucket.pending->wait();
    bucket.pending.reset();
    if (!bucket.exchanged.is_alias_of(bucket.flat)) bucket.flat.copy_(bucket.exchanged);
    bucket.exchanged.reset();
  }
  if (!order_known_) follow_first_backward();
}

/// Rank 0's order is everybody's.
void GradientReducer::follow_first_backward() {
  at::Tensor order = at::tensor(std::vector<int64_t>(order_.begin(), order_.end()));
  group_->broadcast_all({order});
  std::vector<bool> named(parameters_.size());
  for (size_t at = 0; at < order_.size(); ++at) {
    const int64_t i = order[static_cast<int64_t>(at)].item<int64_t>();
    if (i < 0 || i >= static_cast<int64_t>(order_.size()) || named[i])
      throw Error("ERR_DISTRIBUTED", "rank 0 trains other parameters");
    named[i] = true;
    order_[at] = static_cast<size_t>(i);
  }
  order_known_ = true;
}

}  // namespace ip2p
