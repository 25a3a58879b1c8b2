#include "nn/gradient_checkpointing.h"

#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <utility>

#include "nn/autocast.h"

namespace ip2p {
namespace {

thread_local bool enabled = false;

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// What the backward pass needs besides the inputs; saved in the graph as an opaque capsule.
struct Recipe : torch::CustomClassHolder {
  Recipe(Segment f, AutocastState state) : segment(std::move(f)), autocast(state) {}
  Segment segment;
  AutocastState autocast;
};

struct Recompute : torch::autograd::Function<Recompute> {
  static at::Tensor forward(AutogradContext* context, const c10::intrusive_ptr<Recipe>& recipe,
                            const at::Tensor& x, const at::Tensor& condition) {
    context->saved_data["recipe"] = c10::IValue::make_capsule(recipe);
    context->save_for_backward({x, condition});
    const at::Tensor output = recipe->segment(x, condition);
    // Other segments have other weights, so the narrowed copies of these are not needed again.
    forget_cast_weights();
    return output;
  }

  static variable_list backward(AutogradContext* context, variable_list output_gradients) {
    const auto capsule = context->saved_data["recipe"].toCapsule();
    const auto* recipe = static_cast<const Recipe*>(capsule.get());
    const variable_list saved = context->get_saved_variables();
    const auto leaf_of = [](const at::Tensor& input) {
      return input.detach().set_requires_grad(input.requires_grad());
    };
    const at::Tensor x = leaf_of(saved[0]), condition = leaf_of(saved[1]);
    at::Tensor output;
    {
      const c10::AutoGradMode gradients(true);
      const AutocastScope autocast(recipe->autocast);
      output = recipe->segment(x, condition);
    }
    // Parameters of the segment are leaves of this inner graph; their gradients accumulate here.
    torch::autograd::backward({output}, {output_gradients[0]});
    return {at::Tensor(), x.grad(), condition.grad()};
  }
};

}  // namespace

GradientCheckpointingScope::GradientCheckpointingScope(bool on) : before_(std::exchange(enabled, on)) {}
GradientCheckpointingScope::~GradientCheckpointingScope() {
  enabled = before_;
}

at::Tensor recomputed(const Segment& segment, const at::Tensor& x, const at::Tensor& condition) {
  if (!enabled || !c10::GradMode::is_enabled()) return segment(x, condition);
  // The result has a history only if an input has one. Where all weights before the segment are frozen none
  // has, but the segment may hold adapters.
  const bool has_history = x.requires_grad() || condition.requires_grad();
  return Recompute::apply(c10::make_intrusive<Recipe>(segment, AutocastState::current(x.device().type())),
                          has_history ? x : x.detach().set_requires_grad(true), condition);
}

}  // namespace ip2p
