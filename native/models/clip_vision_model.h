#pragma once

#include <string>
#include <vector>

#include "models/clip_encoder.h"
#include "models/model.h"

namespace ip2p {

/// The keys of a CLIP image encoder's config.json that shape it (lib/models/clip_vision_model.ts fills in
/// defaults).
struct CLIPVisionConfig : CLIPEncoderOptions {
  CLIPVisionConfig(const ConfigValue& config, AttentionBackend attention);

  int64_t image_size;
  int64_t patch_size;
  int64_t num_channels;
  int64_t projection_dim;

  int64_t patches() const { return (image_size / patch_size) * (image_size / patch_size); }
};

struct CLIPVisionOutput {
  at::Tensor last_hidden_state;  ///< [B,1+patches,hidden_size], not normalised
  at::Tensor pooled;             ///< [B,hidden_size], that of the class token behind the layer norm
  at::Tensor image_embeds;       ///< [B,projection_dim]
};

/// CLIP's image transformer (Radford et al. 2021), without a projection.
class CLIPVisionTower : public Module {
 public:
  explicit CLIPVisionTower(const CLIPVisionConfig& config);

  /// pixels: [B,num_channels,image_size,image_size], normalised. No embeddings in the output.
  CLIPVisionOutput forward(const at::Tensor& pixels) const;

 private:
  /// The patches of an image as tokens behind a learned one, with their positions added.
  class Embeddings : public Module {
   public:
    explicit Embeddings(const CLIPVisionConfig& config);
    at::Tensor forward(const at::Tensor& pixels) const;

   private:
    struct Patch : public Module {
      Patch(int64_t features, int64_t channels, int64_t size) {
        add_parameter("weight", weight, {features, channels, size, size});
      }
      Parameter weight;
    };
    Parameter class_embedding_;
    Patch patch_embedding_;
    Embedding position_embedding_;
    int64_t patch_size_, tokens_;
  };

  Embeddings embeddings_;
  LayerNorm pre_layrnorm_;  // the file format's spelling
  CLIPEncoder encoder_;
  LayerNorm post_layernorm_;
};

/// The image transformer with its projection to the space that texts and images share.
class CLIPVisionModelWithProjection : public Model {
 public:
  explicit CLIPVisionModelWithProjection(const CLIPVisionConfig& config);

  std::string canonical_name(const std::string& name) const override;

  /// pixels: [B,num_channels,image_size,image_size], normalised
  CLIPVisionOutput forward(const at::Tensor& pixels) const;

  const CLIPVisionConfig& config() const { return config_; }

 private:
  CLIPVisionConfig config_;
  CLIPVisionTower vision_model_;
  Linear visual_projection_;
};

}  // namespace ip2p
