#include "nn/autocast.h"

#include <ATen/autocast_mode.h>

namespace ip2p {
namespace {

void apply(const AutocastState& state) {
  at::autocast::set_autocast_enabled(state.device, state.enabled);
  at::autocast::set_autocast_dtype(state.device, state.dtype);
}

}  // namespace

AutocastState AutocastState::current(c10::DeviceType device) {
  return {device, at::autocast::is_autocast_enabled(device), at::autocast::get_autocast_dtype(device)};
}

void forget_cast_weights() {
  at::autocast::clear_cache();
}

AutocastScope::AutocastScope(const AutocastState& state) : before_(AutocastState::current(state.device)) {
  at::autocast::increment_nesting();
  apply(state);
}

AutocastScope::~AutocastScope() {
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  apply(before_);
}

}  // namespace ip2p
