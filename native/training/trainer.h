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

/// Trains a UNet to denoise and, if one is given, the text encoder along with it ("text_encoder." names).
class DenoisingTrainer : public ParameterTrainer {
 public:
  DenoisingTrainer(std::shared_ptr<UNet2DConditionModel> unet, std::shared_ptr<CLIPTextModel> text_encoder,
                   const TrainerOptions& options);

  const UNet2DConditionModel& unet() const { return *unet_; }

  /// Forward, loss in float32, backward. sample: [B,in,h,w]; timesteps: [B]; target: [B,out,h,w].
  /// @param input_ids int64 [B,T] where the text encoder is trained; then the conditions hold no embeddings
  /// @param reduces as accumulate
  at::Tensor micro_step(const at::Tensor& sample, const at::Tensor& timesteps, const Conditions& conditions,
                        const at::Tensor& input_ids, const at::Tensor& target, const Loss& loss,
                        double factor, bool reduces);

 private:
  std::shared_ptr<UNet2DConditionModel> unet_;
  std::shared_ptr<CLIPTextModel> text_encoder_;
};

}  // namespace ip2p
