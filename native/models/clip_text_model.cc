#include "models/clip_text_model.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/full.h>
#include <ATen/ops/triu.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <limits>

#include "core/cancel.h"
#include "core/error.h"

namespace ip2p {

CLIPTextConfig::CLIPTextConfig(const ConfigValue& config, AttentionBackend attention)
    : CLIPEncoderOptions(config, true, attention),
      vocab_size(config.integer("vocab_size")),
      max_position_embeddings(config.integer("max_position_embeddings")),
      eos_token_id(config.integer("eos_token_id")),
      projection_dim(config.integer("projection_dim")) {}

CLIPTextModel::Embeddings::Embeddings(int64_t vocabulary, int64_t positions, int64_t features)
    : token_embedding(vocabulary, features), position_embedding(positions, features) {
  add_child("token_embedding", token_embedding);
  add_child("position_embedding", position_embedding);
}

CLIPTextModel::CLIPTextModel(const CLIPTextConfig& config)
    : config_(config),
      embeddings_(config.vocab_size, config.max_position_embeddings, config.hidden_size),
      encoder_(config),
      final_layer_norm_(config.hidden_size, config.layer_norm_eps) {
  add_child("embeddings", embeddings_);
  add_child("encoder", encoder_);
  add_child("final_layer_norm", final_layer_norm_);
  if (config.projection_dim > 0) {
    text_projection_ = std::make_unique<Linear>(config.hidden_size, config.projection_dim, false);
    add_child("text_projection", *text_projection_);
  }
}

// Files carry a "text_model." prefix or not, depending on the version that wrote them, old ones also hold
// the position indices 0, 1, 2, ..., and those of a whole CLIP its image encoder.
std::string CLIPTextModel::canonical_name(const std::string& name) const {
  if (name.rfind("vision_model.", 0) == 0 || name == "visual_projection.weight" || name == "logit_scale")
    return "";
  static const std::string prefix = "text_model.";
  const std::string bare = name.rfind(prefix, 0) == 0 ? name.substr(prefix.size()) : name;
  return bare == "embeddings.position_ids" ? "" : bare;
}

namespace {

/// What is added to the scores: 0 where a token may attend, the lowest float where not. A row without any key
/// left then attends to all alike, where infinities would give NaN.
at::Tensor additive_mask(const at::Tensor& attention_mask, const at::Tensor& x) {
  const int64_t B = x.size(0), T = x.size(1);
  const double lowest = x.scalar_type() == at::kHalf ? -65504.0 : -std::numeric_limits<float>::max();
  const at::Tensor behind = at::triu(at::full({T, T}, true, x.options().dtype(at::kBool)), 1);
  const at::Tensor hidden = behind.logical_or(attention_mask.eq(0).view({B, 1, 1, T}));
  return at::where(hidden, at::full({}, lowest, x.options()), at::zeros({}, x.options()));
}

}  // namespace

CLIPTextOutput CLIPTextModel::forward(const at::Tensor& input_ids, bool hidden_states,
                                      const at::Tensor& attention_mask, int64_t skipped_layers) const {
  const int64_t B = input_ids.size(0), T = input_ids.size(1);
  if (skipped_layers < 0 || skipped_layers > config_.num_hidden_layers)
    throw Error("ERR_INVALID_ARGUMENT", std::to_string(skipped_layers) +
                                            " layers cannot be skipped: the text encoder has " +
                                            std::to_string(config_.num_hidden_layers));
  if (T > config_.max_position_embeddings)
    throw Error("ERR_INVALID_ARGUMENT", std::to_string(T) +
                                            " tokens do not fit: the text encoder takes at most " +
                                            std::to_string(config_.max_position_embeddings));
  const auto int64 = at::TensorOptions().dtype(at::kLong).device(input_ids.device());
  CLIPTextOutput output;
  at::Tensor x = embeddings_.token_embedding.forward(input_ids) +
                 embeddings_.position_embedding.forward(at::arange(T, int64)).unsqueeze(0);
  const at::Tensor mask = attention_mask.defined() ? additive_mask(attention_mask, x) : at::Tensor();
  if (hidden_states) output.hidden_states.push_back(x);
  for (size_t i = 0; i + skipped_layers < encoder_.layers.size(); ++i) {
    check_cancelled();
    x = encoder_.layers[i].forward(x, mask);
    if (hidden_states) output.hidden_states.push_back(x);
  }
  output.last_hidden_state = final_layer_norm_.forward(x);
  // Configurations of the first models say 2 by mistake; there the end of the text is the highest id.
  const at::Tensor end = config_.eos_token_id == 2
                             ? input_ids.argmax(-1)
                             : input_ids.eq(config_.eos_token_id).to(at::kInt).argmax(-1);
  output.pooled = output.last_hidden_state.index({at::arange(B, int64), end});
  if (text_projection_) output.text_embeds = text_projection_->forward(output.pooled);
  return output;
}

}  // namespace ip2p
