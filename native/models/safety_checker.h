#pragma once

#include <string>

#include "models/clip_vision_model.h"

namespace ip2p {

/// How near images are to concepts, and how near is too near.
struct SafetyScores {
  at::Tensor special_care;             ///< [B,3], cosines, float32
  at::Tensor concepts;                 ///< [B,17], cosines, float32
  at::Tensor special_care_thresholds;  ///< [3]
  at::Tensor concept_thresholds;       ///< [17]
};

/// Compares an image's embedding with those of concepts: the safety checker of Stable Diffusion.
class StableDiffusionSafetyChecker : public Model {
 public:
  explicit StableDiffusionSafetyChecker(const CLIPVisionConfig& config);

  std::string canonical_name(const std::string& name) const override;

  /// pixels: [B,num_channels,image_size,image_size], normalised
  SafetyScores forward(const at::Tensor& pixels) const;

  const CLIPVisionConfig& config() const { return config_; }

 private:
  /// The published files have the transformer at this depth.
  struct Vision : public Module {
    explicit Vision(const CLIPVisionConfig& config) : vision_model(config) {
      add_child("vision_model", vision_model);
    }
    CLIPVisionTower vision_model;
  };

  CLIPVisionConfig config_;
  Vision vision_model_;
  Linear visual_projection_;
  Parameter concept_embeds_, special_care_embeds_;
  Parameter concept_embeds_weights_, special_care_embeds_weights_;
};

}  // namespace ip2p
