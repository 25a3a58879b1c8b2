#include "training/trainer.h"

#include <ATen/ops/mse_loss.h>

#include "core/cancel.h"
#include "core/error.h"

namespace ip2p {
namespace {

std::vector<NamedParameter> parameters_of(UNet2DConditionModel& unet, CLIPTextModel* text_encoder) {
  std::vector<NamedParameter> all = all_parameters(unet);
  if (text_encoder)
    for (NamedParameter& entry : all_parameters(*text_encoder, "text_encoder."))
      all.push_back(std::move(entry));
  return all;
}

}  // namespace

DenoisingTrainer::DenoisingTrainer(std::shared_ptr<UNet2DConditionModel> unet,
                                   std::shared_ptr<CLIPTextModel> text_encoder, const TrainerOptions& options)
    : ParameterTrainer(unet->device(), parameters_of(*unet, text_encoder.get()), options),
      unet_(std::move(unet)),
      text_encoder_(std::move(text_encoder)) {}

at::Tensor DenoisingTrainer::micro_step(const at::Tensor& sample, const at::Tensor& timesteps,
                                        const Conditions& conditions, const at::Tensor& input_ids,
                                        const at::Tensor& target, double factor, bool reduces) {
  if (text_encoder_ && (!input_ids.defined() || conditions.embeddings.defined()))
    throw Error("ERR_INVALID_ARGUMENT",
                "the text encoder is trained, so this needs token ids (inputIds) and no embeddings");
  if (!text_encoder_ && (input_ids.defined() || !conditions.embeddings.defined()))
    throw Error("ERR_INVALID_ARGUMENT",
                "the text encoder is not trained, so this needs embeddings and no token ids (inputIds)");
  return accumulate(
      [&] {
        Conditions complete = conditions;
        if (text_encoder_) complete.embeddings = text_encoder_->forward(input_ids, false).last_hidden_state;
        const at::Tensor prediction = unet_->forward(sample, timesteps, complete);
        check_cancelled();
        // Broadcasting would give a meaningless loss.
        if (!prediction.sizes().equals(target.sizes()))
          throw Error("ERR_INVALID_ARGUMENT", "the target differs in shape from what the model predicts");
        return at::mse_loss(prediction.to(at::kFloat), target.to(at::kFloat));
      },
      factor, reduces);
}

}  // namespace ip2p
