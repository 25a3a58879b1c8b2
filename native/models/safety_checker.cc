#include "models/safety_checker.h"

#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/mm.h>

namespace ip2p {
namespace {

constexpr int64_t kConcepts = 17;
constexpr int64_t kSpecialCare = 3;

at::Tensor normalized(const at::Tensor& rows) {
  return rows / at::linalg_vector_norm(rows, 2, at::IntArrayRef{1}, true).clamp_min(1e-12);
}

at::Tensor cosines(const at::Tensor& images, const at::Tensor& concepts) {
  return at::mm(normalized(images), normalized(concepts).t()).to(at::kFloat);
}

}  // namespace

StableDiffusionSafetyChecker::StableDiffusionSafetyChecker(const CLIPVisionConfig& config)
    : config_(config),
      vision_model_(config),
      visual_projection_(config.hidden_size, config.projection_dim, false) {
  add_child("vision_model", vision_model_);
  add_child("visual_projection", visual_projection_);
  add_parameter("concept_embeds", concept_embeds_, {kConcepts, config.projection_dim});
  add_parameter("special_care_embeds", special_care_embeds_, {kSpecialCare, config.projection_dim});
  add_parameter("concept_embeds_weights", concept_embeds_weights_, {kConcepts});
  add_parameter("special_care_embeds_weights", special_care_embeds_weights_, {kSpecialCare});
}

// Newer versions write the transformer one level higher; old files also hold the position indices 0, 1, 2,
// ...
std::string StableDiffusionSafetyChecker::canonical_name(const std::string& name) const {
  static const std::string level = "vision_model.";
  const bool one_level = name.rfind(level, 0) == 0 && name.rfind(level + level, 0) != 0;
  const std::string nested = one_level ? level + name : name;
  return nested == level + level + "embeddings.position_ids" ? "" : nested;
}

SafetyScores StableDiffusionSafetyChecker::forward(const at::Tensor& pixels) const {
  const at::Tensor images = visual_projection_.forward(vision_model_.vision_model.forward(pixels).pooled);
  const auto alike = [&](const Parameter& embeds) { return (*embeds).to(images.scalar_type()); };
  return {cosines(images, alike(special_care_embeds_)), cosines(images, alike(concept_embeds_)),
          (*special_care_embeds_weights_).to(at::kFloat), (*concept_embeds_weights_).to(at::kFloat)};
}

}  // namespace ip2p
