#include "kernels/registry.h"

#include <cstdint>
#include <optional>
#include <sstream>
#include <vector>

namespace ip2p {
namespace {

struct Entry {
  std::optional<c10::DispatchKey> backend;  // none: schemas
  Operators::Add add;
};

/// Filled during static initialisation, in unspecified order.
std::vector<Entry>& entries() {
  static std::vector<Entry> all;
  return all;
}

}  // namespace

const std::string& operator_namespace() {
  static const char here = 0;
  static const std::string name = [] {
    std::ostringstream text;
    text << "ip2p_" << std::hex << reinterpret_cast<std::uintptr_t>(&here);
    return text.str();
  }();
  return name;
}

Operators::Operators(Add define) {
  entries().push_back({std::nullopt, define});
}

Operators::Operators(c10::DispatchKey backend, Add implement) {
  entries().push_back({backend, implement});
}

void Operators::register_all() {
  // Not std::call_once, whose pthread_once has another version in old systems' glibc.
  [[maybe_unused]] static const bool registered = [] {
    for (const bool schemas : {true, false})
      for (const auto& [backend, add] : entries()) {
        if (backend.has_value() == schemas) continue;
        const auto kind = schemas ? torch::Library::FRAGMENT : torch::Library::IMPL;
        // Leaked: its destructor would take the operators away while libtorch's own are running.
        add(*new torch::Library(kind, operator_namespace(), backend, __FILE__, __LINE__));
      }
    return true;
  }();
}

}  // namespace ip2p
