#pragma once

#include "models/clip_text_model.h"
#include "models/unet_2d_condition.h"
#include "training/parameter_trainer.h"

namespace ip2p {

/// Trains a UNet to denoise and, if one is given, the text encoder along with it ("text_encoder." names).
class DenoisingTrainer : public ParameterTrainer {
 public:
  DenoisingTrainer(std::shared_ptr<UNet2DConditionModel> unet, std::shared_ptr<CLIPTextModel> text_encoder,
                   const TrainerOptions& options);

  const UNet2DConditionModel& unet() const { return *unet_; }

  /// Forward, mean squared error in float32, backward. sample: [B,in,h,w]; timesteps: [B]; target:
  /// [B,out,h,w].
  /// @param input_ids int64 [B,T] where the text encoder is trained; then the conditions hold no embeddings
  /// @param reduces as accumulate
  at::Tensor micro_step(const at::Tensor& sample, const at::Tensor& timesteps, const Conditions& conditions,
                        const at::Tensor& input_ids, const at::Tensor& target, double factor, bool reduces);

 private:
  std::shared_ptr<UNet2DConditionModel> unet_;
  std::shared_ptr<CLIPTextModel> text_encoder_;
};

}  // namespace ip2p
