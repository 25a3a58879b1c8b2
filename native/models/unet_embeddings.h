#pragma once

#include <memory>
#include <string>

#include "models/unet_config.h"
#include "nn/conditions.h"
#include "nn/embeddings.h"
#include "nn/image_embeddings.h"

namespace ip2p {

/// The embedding of the timestep and of what is added to it: a class, sizes and pooled text (SDXL, Podell et
/// al. 2023), an image (Kandinsky 2.2); and what cross-attention looks at. One child each: "time_embedding",
/// "encoder_hid_proj", "class_embedding", "add_embedding"; and "time_proj" with random frequencies.
class UNetEmbeddings : public Module {
 public:
  explicit UNetEmbeddings(const UNetEncoderConfig& config);

  /// ERR_INVALID_ARGUMENT for a condition that is missing, not used by this model, or of the wrong shape for
  /// a batch of `rows`.
  void check(const Conditions& conditions, int64_t rows) const;

  /// @param timesteps [R] or [1]; the latter on the CPU with a cache
  /// @param sample decides device and type
  TimeCondition forward(const at::Tensor& timesteps, const at::Tensor& sample,
                        const Conditions& conditions) const;

  /// What cross-attention looks at, [R,T,D]: the text, or the image embeddings as tokens.
  at::Tensor context(const Conditions& conditions) const;

 private:
  at::Tensor sinusoid(const at::Tensor& numbers, int64_t channels) const;
  /// What `time_embedding` takes: of timesteps, or of labels where these are embedded alike.
  at::Tensor projected(const at::Tensor& numbers) const;
  TimeCondition of_timesteps(const at::Tensor& timesteps, const at::Tensor& sample,
                             const Conditions& conditions) const;
  at::Tensor of_class(const at::Tensor& labels, c10::ScalarType dtype) const;
  at::Tensor of_text_and_time(const at::Tensor& text_embeds, const at::Tensor& time_ids,
                              c10::ScalarType dtype) const;
  void check_class(const at::Tensor& labels, int64_t rows) const;

  int64_t channels_;  ///< that `time_embedding` takes
  int64_t dim_;
  bool flip_sin_to_cos_;
  double freq_shift_;
  std::string class_type_, addition_type_;
  int64_t classes_, condition_dim_, image_dim_, addition_time_dim_, projection_dim_;
  std::unique_ptr<FourierProjection> time_proj_;
  TimestepEmbedding time_embedding_;
  std::unique_ptr<Embedding> class_table_;
  std::unique_ptr<TimestepEmbedding> class_layers_;
  std::unique_ptr<Linear> class_projection_;
  std::unique_ptr<TimestepEmbedding> add_embedding_;
  std::unique_ptr<ImageTimeEmbedding> add_image_;
  std::unique_ptr<ImageProjection> image_projection_;
};

}  // namespace ip2p
