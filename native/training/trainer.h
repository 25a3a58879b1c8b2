#pragma once

#include "models/clip_text_model.h"
#include "models/unet_2d_condition.h"
#include "training/parameter_trainer.h"

namespace ip2p {

/// What is minimised of the difference d between prediction and target, as a mean over all elements.
enum class LossKind {
  /// d²
  Squared,
  /// 2·δ·(√(d² + δ²) − δ): quadratic near 0, linear far from it ("pseudo-Huber", Charbonnier et al. 1994)
  Huber,
  /// 2·(√(d² + δ²) − δ)
  SmoothL1,
};

struct Loss {
  LossKind kind = LossKind::Squared;
  /// δ of each row: float32 [B]; only of the last two kinds.
  at::Tensor deltas;
  /// What the loss of each row counts: float32 [B]; undefined: all the same.
  at::Tensor weights;
};

/// Trains a UNet to denoise and, if they are given, the text encoders along with it: their names begin with
/// "text_encoder." and "text_encoder_2.".
class DenoisingTrainer : public ParameterTrainer {
 public:
  /// @param text_encoders none; one, whose last hidden states condition the UNet; or Stable Diffusion XL's
  /// two, whose
  ///   penultimate ones do, one behind the other, with the projection of the second
  DenoisingTrainer(std::shared_ptr<UNet2DConditionModel> unet,
                   std::vector<std::shared_ptr<CLIPTextModel>> text_encoders, const TrainerOptions& options);

  const UNet2DConditionModel& unet() const { return *unet_; }
  const std::vector<std::shared_ptr<CLIPTextModel>>& text_encoders() const { return text_encoders_; }

  /// Forward, loss in float32, backward. sample: [B,in,h,w]; timesteps: [B]; target: [B,out,h,w].
  /// @param input_ids int64 [B,T] for each text encoder that is trained; then the conditions hold nothing
  /// that they compute
  /// @param reduces as accumulate
  at::Tensor micro_step(const at::Tensor& sample, const at::Tensor& timesteps, const Conditions& conditions,
                        const std::vector<at::Tensor>& input_ids, const at::Tensor& target, const Loss& loss,
                        double factor, bool reduces, const std::optional<ReleasedStep>& released);

 private:
  void encode_text(const std::vector<at::Tensor>& input_ids, Conditions& conditions) const;

  std::shared_ptr<UNet2DConditionModel> unet_;
  std::vector<std::shared_ptr<CLIPTextModel>> text_encoders_;
};

}  // namespace ip2p
