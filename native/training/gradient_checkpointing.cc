#include "training/gradient_checkpointing.h"

#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <utility>

#include "training/autocast.h"

namespace ip2p {
namespace {

thread_local bool enabled = false;

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// What the backward pass needs beside the inputs; travels in the graph as an opaque capsule.
struct Recipe : torch::CustomClassHolder {
  Recipe(Segment f, AutocastState state) : segment(std::move(f)), autocast(state) {}
  Segment segment;
  AutocastState autocast;
};

struct Recompute : torch::autograd::Function<Recompute> {
  static at::Tensor forward(AutogradContext* context, const c10::intrusive_ptr<Recipe>& recipe,
                            at::TensorList inputs) {
    context->saved_data["recipe"] = c10::IValue::make_capsule(recipe);
    context->save_for_backward(inputs.vec());
    return recipe->segment(inputs.vec());
  }

  static variable_list backward(AutogradContext* context, variable_list output_gradients) {
    const auto capsule = context->saved_data["recipe"].toCapsule();
    const auto* recipe = static_cast<const Recipe*>(capsule.get());
    const variable_list saved = context->get_saved_variables();
    variable_list inputs;
    for (const at::Tensor& input : saved) {
      at::Tensor leaf = input.detach();
      leaf.set_requires_grad(input.requires_grad());
      inputs.push_back(leaf);
    }
    at::Tensor output;
    {
      const c10::AutoGradMode gradients(true);
      const AutocastScope autocast(recipe->autocast);
      output = recipe->segment(inputs);
    }
    // Parameters of the segment are leaves of this inner graph; their gradients accumulate here.
    torch::autograd::backward({output}, {output_gradients[0]});
    variable_list gradients{at::Tensor()};  // of the recipe
    for (const at::Tensor& input : inputs) gradients.push_back(input.grad());
    return gradients;
  }
};

}  // namespace

GradientCheckpointingScope::GradientCheckpointingScope(bool on) : before_(std::exchange(enabled, on)) {}
GradientCheckpointingScope::~GradientCheckpointingScope() {
  enabled = before_;
}

at::Tensor recomputed(const Segment& segment, const std::vector<at::Tensor>& inputs) {
  if (!enabled || !c10::GradMode::is_enabled()) return segment(inputs);
  return Recompute::apply(
      c10::make_intrusive<Recipe>(segment, AutocastState::current(inputs[0].device().type())), inputs);
}

}  // namespace ip2p
