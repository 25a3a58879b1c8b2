#pragma once

#include <string>
#include <vector>

#include "models/clip_encoder.h"
#include "models/model.h"

namespace ip2p {

/// The keys of a CLIP text encoder's config.json that shape this model (lib/models/clip_text_model.ts fills
/// in defaults).
struct CLIPTextConfig : CLIPEncoderOptions {
  CLIPTextConfig(const ConfigValue& config, AttentionBackend attention);

  int64_t vocab_size;
  int64_t max_position_embeddings;
  int64_t eos_token_id;
  int64_t projection_dim;  ///< of CLIPTextModelWithProjection; 0: no projection
};

struct CLIPTextOutput {
  at::Tensor last_hidden_state;  ///< [B,T,hidden_size], behind the final layer norm
  at::Tensor pooled;             ///< [B,hidden_size], the last hidden state at the end-of-text token
  at::Tensor text_embeds;  ///< [B,projection_dim], the pooled state projected; undefined without projection
  std::vector<at::Tensor>
      hidden_states;  ///< on request: the embeddings, then each layer's output, not normalised
};

/// CLIP's text transformer (Radford et al. 2021), with its projection to the space shared with images if
/// the configuration has one.
class CLIPTextModel : public Model {
 public:
  explicit CLIPTextModel(const CLIPTextConfig& config);

  /// Token ids lie in 0..vocabulary()-1.
  int64_t vocabulary() const { return config_.vocab_size; }

  std::string canonical_name(const std::string& name) const override;

  /// input_ids: int64 [B,T], T ≤ max_position_embeddings. Attention is causal.
  /// @param attention_mask [B,T], 0 for tokens that no other one attends to; undefined for none of them, as
  ///   Stable Diffusion encodes prompts with their padding
  /// @param skipped_layers the last layers left out; the final layer norm stays
  CLIPTextOutput forward(const at::Tensor& input_ids, bool hidden_states,
                         const at::Tensor& attention_mask = {}, int64_t skipped_layers = 0) const;

 private:
  struct Embeddings : public Module {
    Embeddings(int64_t vocabulary, int64_t positions, int64_t features);
    Embedding token_embedding, position_embedding;
  };

  CLIPTextConfig config_;
  Embeddings embeddings_;
  CLIPEncoder encoder_;
  LayerNorm final_layer_norm_;
  std::unique_ptr<Linear> text_projection_;
};

}  // namespace ip2p
