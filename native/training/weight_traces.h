#pragma once

#include <vector>

#include "training/optimizer.h"

namespace ip2p {

/// Several moving averages of the same parameters, in float32, each with its own decay.
class WeightTraces {
 public:
  /// None.
  WeightTraces() = default;
  /// @param on_host keeps them in the host's memory, wherever the parameters are
  WeightTraces(std::vector<NamedParameter> parameters, int count, bool on_host);

  /// trace ← trace + (1 − decay) · (weight − trace), with one decay for each trace.
  void update(const std::vector<double>& decays);

  /// "<trace>.<parameter>": the tensors themselves.
  NamedTensors state() const;

 private:
  std::vector<NamedParameter> parameters_;
  std::vector<std::vector<at::Tensor>> traces_;
};

}  // namespace ip2p
