#pragma once

#include <c10/core/DeviceType.h>
#include <c10/core/ScalarType.h>

namespace ip2p {

/// Whether operators on a device cast their inputs to a lower precision, and to which: libtorch's autocast
/// rules, which are those of `torch.autocast`.
struct AutocastState {
  c10::DeviceType device;
  bool enabled;
  c10::ScalarType dtype;

  static AutocastState current(c10::DeviceType device);
};

/// Frees the copies of weights that autocast has made for the outermost scope.
void forget_cast_weights();

/// Sets the state for this thread and puts the previous one back. The outermost scope also owns the cache of
/// cast weights.
class AutocastScope {
 public:
  explicit AutocastScope(const AutocastState& state);
  ~AutocastScope();
  AutocastScope(const AutocastScope&) = delete;
  AutocastScope& operator=(const AutocastScope&) = delete;

 private:
  AutocastState before_;
};

}  // namespace ip2p
