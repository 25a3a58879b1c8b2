#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ip2p {

/// Which operators ran, on all threads: libtorch's and this package's, and the nodes of backward passes.
struct OperatorTrace {
  struct Call {
    uint32_t name;       ///< index
    uint32_t thread;     ///< by its first call: 0, 1, …
    int64_t start, end;  ///< in nanoseconds since the recording began
  };
  std::vector<std::string> names;
  std::vector<Call> calls;
};

/// Begins to record. False if somebody records already.
bool start_operator_trace();

/// What was recorded, at most the first million calls; empty if nobody records.
OperatorTrace stop_operator_trace();

}  // namespace ip2p
