#include "nn/module.h"

namespace ip2p {

void Module::add_parameter(std::string name, Parameter& parameter, std::vector<int64_t> shape) {
  parameter.shape = std::move(shape);
  parameters_.push_back({std::move(name), &parameter});
}

void Module::add_child(std::string name, Module& child) {
  children_.emplace_back(std::move(name), &child);
}

void Module::add_children_of(Module& part, std::initializer_list<const char*> names) {
  for (const char* wanted : names)
    for (const auto& [name, child] : part.children_)
      if (name == wanted) children_.emplace_back(name, child);
}

std::vector<NamedParameter> Module::declared_parameters() {
  std::vector<NamedParameter> all;
  collect("", all);
  return all;
}

std::vector<NamedParameter> Module::named_parameters() {
  std::vector<NamedParameter> all = declared_parameters();
  for (const auto& [name, parameter] : all) parameter->restore();
  return all;
}

void Module::quantize() {
  for (const auto& [name, child] : children_) child->quantize();
}

void Module::collect(const std::string& prefix, std::vector<NamedParameter>& out) {
  for (const auto& [name, parameter] : parameters_) out.push_back({prefix + name, parameter});
  for (const auto& [name, child] : children_) child->collect(prefix + name + ".", out);
}

}  // namespace ip2p
