#include "training/trainer.h"

#include <ATen/ops/mse_loss.h>

#include "core/cancel.h"
#include "core/error.h"

namespace ip2p {
namespace {

std::vector<std::pair<std::string, Model*>> models_of(UNet2DConditionModel& unet,
                                                      CLIPTextModel* text_encoder) {
  std::vector<std::pair<std::string, Model*>> models{{"", &unet}};
  if (text_encoder) models.emplace_back("text_encoder.", text_encoder);
  return models;
}

/// [B] → [B,1,1,1]
at::Tensor per_row(const at::Tensor& values, const at::Tensor& rows, const char* name) {
  if (values.dim() != 1 || values.size(0) != rows.size(0))
    throw Error("ERR_INVALID_ARGUMENT", std::string("the loss needs one of its ") + name + " for each row");
  return values.to(rows.device(), at::kFloat).view({-1, 1, 1, 1});
}

at::Tensor loss_of(const Loss& loss, const at::Tensor& prediction, const at::Tensor& target) {
  if (loss.kind == LossKind::Squared && !loss.weights.defined()) return at::mse_loss(prediction, target);
  at::Tensor elements = (prediction - target).square();
  if (loss.kind != LossKind::Squared) {
    const at::Tensor delta = per_row(loss.deltas, prediction, "deltas");
    elements = 2 * ((elements + delta.square()).sqrt() - delta);
    if (loss.kind == LossKind::Huber) elements = elements * delta;
  }
  if (loss.weights.defined()) elements = elements * per_row(loss.weights, prediction, "weights");
  return elements.mean();
}

}  // namespace

DenoisingTrainer::DenoisingTrainer(std::shared_ptr<UNet2DConditionModel> unet,
                                   std::shared_ptr<CLIPTextModel> text_encoder, const TrainerOptions& options)
    : ParameterTrainer(models_of(*unet, text_encoder.get()), options),
      unet_(std::move(unet)),
      text_encoder_(std::move(text_encoder)) {}

at::Tensor DenoisingTrainer::micro_step(const at::Tensor& sample, const at::Tensor& timesteps,
                                        const Conditions& conditions, const at::Tensor& input_ids,
                                        const at::Tensor& target, const Loss& loss, double factor,
                                        bool reduces) {
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
        return loss_of(loss, prediction.to(at::kFloat), target.to(at::kFloat));
      },
      factor, reduces);
}

}  // namespace ip2p
