#include "training/trainer.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/mse_loss.h>

#include "core/cancel.h"
#include "core/error.h"

namespace ip2p {
namespace {

constexpr const char* kTextPrefixes[] = {"text_encoder.", "text_encoder_2."};

std::vector<std::pair<std::string, Model*>> models_of(
    UNet2DConditionModel& unet, const std::vector<std::shared_ptr<CLIPTextModel>>& text_encoders) {
  if (text_encoders.size() > std::size(kTextPrefixes))
    throw Error("ERR_INVALID_ARGUMENT", "there are at most two text encoders");
  std::vector<std::pair<std::string, Model*>> models{{"", &unet}};
  for (size_t i = 0; i < text_encoders.size(); ++i)
    models.emplace_back(kTextPrefixes[i], text_encoders[i].get());
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
                                   std::vector<std::shared_ptr<CLIPTextModel>> text_encoders,
                                   const TrainerOptions& options)
    : ParameterTrainer(models_of(*unet, text_encoders), options),
      unet_(std::move(unet)),
      text_encoders_(std::move(text_encoders)) {}

void DenoisingTrainer::encode_text(const std::vector<at::Tensor>& input_ids, Conditions& conditions) const {
  if (text_encoders_.size() == 1) {
    conditions.embeddings = text_encoders_[0]->forward(input_ids[0], false).last_hidden_state;
    return;
  }
  std::vector<at::Tensor> states;
  for (size_t i = 0; i < text_encoders_.size(); ++i) {
    const CLIPTextOutput encoded = text_encoders_[i]->forward(input_ids[i], true);
    states.push_back(encoded.hidden_states[encoded.hidden_states.size() - 2]);
    // Without a projection the second encoder is none of Stable Diffusion XL's.
    if (i == 1 && !encoded.text_embeds.defined())
      throw Error("ERR_INVALID_ARGUMENT", "the second text encoder has no projection");
    conditions.text_embeds = encoded.text_embeds;
  }
  conditions.embeddings = at::cat(states, 2);
}

at::Tensor DenoisingTrainer::micro_step(const at::Tensor& sample, const at::Tensor& timesteps,
                                        const Conditions& conditions,
                                        const std::vector<at::Tensor>& input_ids, const at::Tensor& target,
                                        const Loss& loss, double factor, bool reduces,
                                        const std::optional<ReleasedStep>& released) {
  const bool trains_text = !text_encoders_.empty();
  if (trains_text && (input_ids.size() != text_encoders_.size() || conditions.embeddings.defined()))
    throw Error("ERR_INVALID_ARGUMENT",
                "the text encoder is trained, so this needs token ids (inputIds) and no embeddings");
  if (!trains_text && (!input_ids.empty() || !conditions.embeddings.defined()))
    throw Error("ERR_INVALID_ARGUMENT",
                "the text encoder is not trained, so this needs embeddings and no token ids (inputIds)");
  return accumulate(
      [&] {
        Conditions complete = conditions;
        if (trains_text) encode_text(input_ids, complete);
        const at::Tensor prediction = unet_->forward(sample, timesteps, complete);
        check_cancelled();
        // Broadcasting would give a meaningless loss.
        if (!prediction.sizes().equals(target.sizes()))
          throw Error("ERR_INVALID_ARGUMENT", "the target differs in shape from what the model predicts");
        return loss_of(loss, prediction.to(at::kFloat), target.to(at::kFloat));
      },
      factor, reduces, released);
}

}  // namespace ip2p
