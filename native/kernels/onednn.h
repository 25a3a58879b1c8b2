#pragma once

#include <ATen/core/dispatch/Dispatcher.h>

#include <array>

namespace ip2p {

/// libtorch does not export oneDNN's API; its primitives are called as operators.
template <class Signature>
auto find_operator(const char* name, const char* overload = "") {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, overload).typed<Signature>();
}

/// The same for height and width.
inline std::array<int64_t, 2> both(int64_t x) {
  return {x, x};
}

}  // namespace ip2p
