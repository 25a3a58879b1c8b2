#include "training/bfloat16_weights.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include <algorithm>

#include "core/error.h"
#include "training/bfloat16_rounding.h"

namespace ip2p {
namespace {

/// Small enough that the float32 part stays in the processor's cache between the passes over it.
constexpr int64_t kPart = 1 << 20;
constexpr int64_t kGroupsPerTask = 256;

/// body(from, to) on ranges of elements that begin at multiples of kRoundingGroup, in parallel.
void in_groups(int64_t count, const std::function<void(int64_t, int64_t)>& body) {
  const int64_t groups = (count + kRoundingGroup - 1) / kRoundingGroup;
  at::parallel_for(0, groups, kGroupsPerTask, [&](int64_t from, int64_t to) {
    body(from * kRoundingGroup, std::min(to * kRoundingGroup, count));
  });
}

}  // namespace

BFloat16Weights::BFloat16Weights(const std::vector<NamedParameter>& parameters,
                                 const std::optional<BFloat16Options>& options)
    : parameters_(parameters), held_(parameters.size()), remainders_(parameters.size()) {
  if (!options) return;
  const bool compensated = options->rounding == BFloat16Rounding::Compensated;
  if (!compensated) seed_ = at::full({1}, static_cast<int64_t>(options->seed), at::kLong);
  for (size_t i = 0; i < parameters.size(); ++i) {
    Parameter& parameter = *parameters[i].parameter;
    held_[i] = parameter.multiplies;
    if (!held_[i]) continue;
    const at::Tensor exact = parameter.value.detach().contiguous();
    if (!exact.is_cpu())
      throw Error("ERR_INVALID_ARGUMENT", "bfloat16 weights are trained on the CPU only so far");
    const at::Tensor rounded = at::empty(exact.sizes(), at::kBFloat16);
    if (compensated) {
      remainders_[i] = at::empty(exact.sizes(), at::kShort);
      const auto* const from_all = exact.const_data_ptr<float>();
      auto* const to_all = rounded.mutable_data_ptr<at::BFloat16>();
      auto* const remainder = remainders_[i].mutable_data_ptr<int16_t>();
      in_groups(exact.numel(), [&](int64_t from, int64_t to) {
        round_with_remainder(from_all + from, to - from, to_all + from, remainder + from);
      });
    } else {
      rounded.copy_(exact);
    }
    parameter.replace(rounded);
    parameter.restore();
  }
}

void BFloat16Weights::apply(size_t i, int64_t step, const Update& update) const {
  const at::Tensor& parameter = parameters_[i].parameter->value;
  const at::Tensor gradient = parameter.grad().contiguous().view(-1);
  auto* const weights = parameter.detach().mutable_data_ptr<at::BFloat16>();
  auto* const remainder = remainders_[i].defined() ? remainders_[i].mutable_data_ptr<int16_t>() : nullptr;
  const RoundingDraw draw{seed_.defined() ? static_cast<uint64_t>(seed_.item<int64_t>()) : 0,
                          static_cast<uint32_t>(i), static_cast<uint32_t>(step)};
  for (int64_t offset = 0; offset < parameter.numel(); offset += kPart) {
    const int64_t count = std::min(kPart, parameter.numel() - offset);
    const at::Tensor part = at::empty({count}, at::kFloat);
    auto* const values = part.mutable_data_ptr<float>();
    in_groups(count, [&](int64_t from, int64_t to) {
      widen(weights + offset + from, remainder ? remainder + offset + from : nullptr, to - from,
            values + from);
    });
    update(part, gradient.narrow(0, offset, count).to(at::kFloat), offset);
    in_groups(count, [&](int64_t from, int64_t to) {
      if (remainder)
        round_with_remainder(values + from, to - from, weights + offset + from, remainder + offset + from);
      else
        round_stochastically(values + from, to - from, draw, offset + from, weights + offset + from);
    });
  }
}

void BFloat16Weights::append_state(NamedTensors& state) const {
  if (seed_.defined()) state.emplace_back("rounding_seed", seed_);
  for (size_t i = 0; i < parameters_.size(); ++i)
    if (remainders_[i].defined()) state.emplace_back("remainder." + parameters_[i].name, remainders_[i]);
}

}  // namespace ip2p
