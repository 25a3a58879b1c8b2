#pragma once

#include <ATen/core/Tensor.h>

#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "nn/parameter.h"

namespace ip2p {

struct NamedParameter {
  std::string name;
  Parameter* parameter;
};

/// A node of a model's tree. Names are those of diffusers' state dicts
/// ("down_blocks.0.resnets.1.conv1.weight"), so that loading and saving are look-ups.
///
/// Children and parameters are members of the derived class that register themselves in its constructor; a
/// module is therefore neither copied nor moved.
class Module {
 public:
  Module() = default;
  virtual ~Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  /// All parameters below this module with their plain tensors, depth first, in the order of registration.
  std::vector<NamedParameter> named_parameters();

  /// The same without restoring packed parameters: for callers that only read shapes or set first values.
  std::vector<NamedParameter> declared_parameters();

  /// Makes the layers below that do most of the work and tolerate it keep their weights as 8-bit integers
  /// when loaded. For inference on the CPU.
  virtual void quantize();

 protected:
  void add_parameter(std::string name, Parameter& parameter, std::vector<int64_t> shape);
  void add_child(std::string name, Module& child);
  /// Registers those children of `part` that have these names as this module's own, so that a class which is
  /// made of parts keeps the names and the order of the whole.
  void add_children_of(Module& part, std::initializer_list<const char*> names);

 private:
  void collect(const std::string& prefix, std::vector<NamedParameter>& out);

  std::vector<NamedParameter> parameters_;
  std::vector<std::pair<std::string, Module*>> children_;
};

/// A numbered list of modules ("resnets.0", "resnets.1", ...), possibly of a base type.
template <class T>
class ModuleList : public Module {
 public:
  template <class Derived = T, class... Arguments>
  Derived& emplace(Arguments&&... arguments) {
    return append(std::make_unique<Derived>(std::forward<Arguments>(arguments)...));
  }

  template <class Derived>
  Derived& append(std::unique_ptr<Derived> item) {
    Derived& reference = *item;
    add_child(std::to_string(items_.size()), reference);
    items_.push_back(std::move(item));
    return reference;
  }

  size_t size() const { return items_.size(); }
  bool empty() const { return items_.empty(); }
  T& operator[](size_t index) { return *items_[index]; }
  const T& operator[](size_t index) const { return *items_[index]; }

 private:
  std::vector<std::unique_ptr<T>> items_;
};

}  // namespace ip2p
