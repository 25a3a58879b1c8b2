#include "models/clip_vision_model.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/conv2d.h>

#include "core/cancel.h"

namespace ip2p {

CLIPVisionConfig::CLIPVisionConfig(const ConfigValue& config, AttentionBackend attention)
    : CLIPEncoderOptions(config, false, attention),
      image_size(config.integer("image_size")),
      patch_size(config.integer("patch_size")),
      num_channels(config.integer("num_channels")),
      projection_dim(config.integer("projection_dim")) {
  if (patch_size <= 0 || image_size < patch_size)
    throw Error("ERR_CONFIG", "image_size " + std::to_string(image_size) + " is less than patch_size " +
                                  std::to_string(patch_size));
}

CLIPVisionTower::Embeddings::Embeddings(const CLIPVisionConfig& config)
    : patch_embedding_(config.hidden_size, config.num_channels, config.patch_size),
      position_embedding_(1 + config.patches(), config.hidden_size),
      patch_size_(config.patch_size),
      tokens_(1 + config.patches()) {
  add_parameter("class_embedding", class_embedding_, {config.hidden_size});
  add_child("patch_embedding", patch_embedding_);
  add_child("position_embedding", position_embedding_);
}

at::Tensor CLIPVisionTower::Embeddings::forward(const at::Tensor& pixels) const {
  const at::Tensor patches =
      at::conv2d(pixels, (*patch_embedding_.weight).to(pixels.scalar_type()), {}, patch_size_);
  const at::Tensor first = (*class_embedding_).expand({pixels.size(0), 1, -1});
  const at::Tensor places = at::arange(tokens_, at::TensorOptions().dtype(at::kLong).device(pixels.device()));
  return at::cat({first, patches.flatten(2).transpose(1, 2)}, 1) +
         position_embedding_.forward(places).unsqueeze(0);
}

CLIPVisionTower::CLIPVisionTower(const CLIPVisionConfig& config)
    : embeddings_(config),
      pre_layrnorm_(config.hidden_size, config.layer_norm_eps),
      encoder_(config),
      post_layernorm_(config.hidden_size, config.layer_norm_eps) {
  add_child("embeddings", embeddings_);
  add_child("pre_layrnorm", pre_layrnorm_);
  add_child("encoder", encoder_);
  add_child("post_layernorm", post_layernorm_);
}

CLIPVisionOutput CLIPVisionTower::forward(const at::Tensor& pixels) const {
  at::Tensor x = pre_layrnorm_.forward(embeddings_.forward(pixels));
  const auto& layers = encoder_.layers;
  for (size_t i = 0; i < layers.size(); ++i) {
    check_cancelled();
    x = layers[i].forward(x, {});
  }
  return {x, post_layernorm_.forward(x.select(1, 0)), {}};
}

CLIPVisionModelWithProjection::CLIPVisionModelWithProjection(const CLIPVisionConfig& config)
    : config_(config),
      vision_model_(config),
      visual_projection_(config.hidden_size, config.projection_dim, false) {
  add_child("vision_model", vision_model_);
  add_child("visual_projection", visual_projection_);
}

// Old files also hold the position indices 0, 1, 2, ..., and those of a whole CLIP its text encoder.
std::string CLIPVisionModelWithProjection::canonical_name(const std::string& name) const {
  if (name == "vision_model.embeddings.position_ids" || name == "logit_scale") return "";
  return name.rfind("text_model.", 0) == 0 || name == "text_projection.weight" ? "" : name;
}

CLIPVisionOutput CLIPVisionModelWithProjection::forward(const at::Tensor& pixels) const {
  CLIPVisionOutput output = vision_model_.forward(pixels);
  output.image_embeds = visual_projection_.forward(output.pooled);
  return output;
}

}  // namespace ip2p
