#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/DispatchKey.h>
#include <torch/library.h>

#include <string>

namespace ip2p {

/// The namespace of libtorch's dispatcher that this addon's operators are in. A process may hold several
/// copies of the package, of one version or of several, and libtorch ends the process where two define an
/// operator of one name; so each copy has a separate namespace, named by its load address
/// ("ip2p_7f12ab34c560").
const std::string& operator_namespace();

/// Registers a file's operators, as a static object of that file:
///
///   const Operators schemas([](torch::Library& library) { library.def("geglu(Tensor x) -> Tensor", geglu);
///   }); const Operators kernels(c10::DispatchKey::CPU, [](torch::Library& library) { library.impl(...); });
///
/// Nothing reaches libtorch before register_all(): a registration error is an exception there, but would end
/// the process during static initialisation.
class Operators {
 public:
  using Add = void (*)(torch::Library& library);

  explicit Operators(Add define);
  Operators(c10::DispatchKey backend, Add implement);

  /// Registers once per process; called as the addon is loaded.
  static void register_all();
};

/// An operator by its name without the namespace.
template <class Signature>
c10::TypedOperatorHandle<Signature> own_operator(const char* name) {
  const std::string full = operator_namespace() + "::" + name;
  return c10::Dispatcher::singleton().findSchemaOrThrow(full.c_str(), "").template typed<Signature>();
}

}  // namespace ip2p
