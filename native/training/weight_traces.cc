#include "training/weight_traces.h"

#include "core/error.h"

namespace ip2p {

WeightTraces::WeightTraces(std::vector<NamedParameter> parameters, int count, bool on_host)
    : parameters_(std::move(parameters)), traces_(static_cast<size_t>(count)) {
  for (auto& trace : traces_)
    for (const auto& [name, parameter] : parameters_) {
      const at::Tensor weight = parameter->value.detach();
      trace.push_back(weight.to(on_host ? c10::Device(c10::kCPU) : weight.device(), at::kFloat,
                                /*non_blocking=*/false, /*copy=*/true));
    }
}

void WeightTraces::update(const std::vector<double>& decays) {
  if (decays.size() != traces_.size())
    throw Error("ERR_INVALID_ARGUMENT", "there must be one decay for each average");
  if (traces_.empty()) return;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const at::Tensor weight = parameters_[i].parameter->value.detach().to(traces_.front()[i].options());
    for (size_t trace = 0; trace < traces_.size(); ++trace)
      traces_[trace][i].lerp_(weight, 1 - decays[trace]);
  }
}

NamedTensors WeightTraces::state() const {
  NamedTensors all;
  for (size_t trace = 0; trace < traces_.size(); ++trace)
    for (size_t i = 0; i < parameters_.size(); ++i)
      all.emplace_back(std::to_string(trace) + "." + parameters_[i].name, traces_[trace][i]);
  return all;
}

}  // namespace ip2p
