#include <ATen/ops/tensor.h>

#include "bindings/conditions.h"
#include "bindings/convert.h"
#include "bindings/objects.h"
#include "bindings/register.h"
#include "models/clip_vision_model.h"
#include "models/prior_transformer.h"
#include "models/safety_checker.h"
#include "models/vq_model.h"

namespace ip2p {
namespace {

using Info = Napi::CallbackInfo;

void require_axis(const at::Tensor& x, int64_t axis, int64_t size, const char* name, const char* what) {
  if (x.size(axis) != size)
    throw Error("ERR_INVALID_ARGUMENT", std::string(name) + " needs " + std::to_string(size) + " " + what +
                                            ", has " + std::to_string(x.size(axis)));
}

void require_rows(const at::Tensor& x, int64_t rows, const char* name) {
  if (x.size(0) != rows && x.size(0) != 1)
    throw Error("ERR_INVALID_ARGUMENT", std::string(name) + " has " + std::to_string(x.size(0)) +
                                            " rows for a batch of " + std::to_string(rows));
}

at::Tensor expanded(const at::Tensor& x, int64_t rows) {
  std::vector<int64_t> shape(static_cast<size_t>(x.dim()), -1);
  shape[0] = rows;
  return x.expand(shape);
}

/// vqEncode(model, x, cancel): [B,C,h,w]
Napi::Value vq_encode(const Info& info) {
  const auto model = model_argument<VQModel>(info[0], "VQModel");
  const at::Tensor x = TensorObject::get(info[1]);
  return submit_with(info.Env(), model, tensor_work([=] {
                       require_dims(x, 4, "the image", "[B,C,H,W]");
                       return rounded(model->encode(prepared(x, *model)), *model);
                     }),
                     CancelObject::get_optional(info[2]));
}

/// vqDecode(model, z, quantize, cancel)
Napi::Value vq_decode(const Info& info) {
  const auto model = model_argument<VQModel>(info[0], "VQModel");
  const at::Tensor z = TensorObject::get(info[1]);
  const bool quantize = bool_argument(info[2], "quantize");
  return submit_with(info.Env(), model, tensor_work([=] {
                       require_dims(z, 4, "the latents", "[B,C,h,w]");
                       return rounded(model->decode(prepared(z, *model), quantize), *model);
                     }),
                     CancelObject::get_optional(info[3]));
}

/// The pixels that an image encoder takes.
void require_pixels(const at::Tensor& pixels, const CLIPVisionConfig& config) {
  require_dims(pixels, 4, "pixelValues", "[B,C,H,W]");
  require_axis(pixels, 1, config.num_channels, "pixelValues", "channels");
  require_axis(pixels, 2, config.image_size, "pixelValues", "rows of pixels");
  require_axis(pixels, 3, config.image_size, "pixelValues", "columns of pixels");
}

/// clipVisionForward(model, pixelValues, cancel): { lastHiddenState, pooled, imageEmbeds }
Napi::Value clip_vision_forward(const Info& info) {
  const auto model = model_argument<CLIPVisionModelWithProjection>(info[0], "CLIPVisionModelWithProjection");
  const at::Tensor pixels = TensorObject::get(info[1]);
  return submit_with(
      info.Env(), model,
      [=]() -> Finish {
        require_pixels(pixels, model->config());
        CLIPVisionOutput output = model->forward(prepared(pixels, *model));
        for (at::Tensor* const x : {&output.last_hidden_state, &output.pooled, &output.image_embeds})
          *x = rounded(*x, *model);
        return [output](Napi::Env js) -> Napi::Value {
          Napi::Object result = Napi::Object::New(js);
          result.Set("lastHiddenState", TensorObject::make(js, output.last_hidden_state));
          result.Set("pooled", TensorObject::make(js, output.pooled));
          result.Set("imageEmbeds", TensorObject::make(js, output.image_embeds));
          return result;
        };
      },
      CancelObject::get_optional(info[2]));
}

/// safetyCheckerForward(model, pixelValues, cancel):
/// { specialCare, concepts, specialCareThresholds, conceptThresholds }
Napi::Value safety_checker_forward(const Info& info) {
  const auto model = model_argument<StableDiffusionSafetyChecker>(info[0], "StableDiffusionSafetyChecker");
  const at::Tensor pixels = TensorObject::get(info[1]);
  return submit_with(
      info.Env(), model,
      [=]() -> Finish {
        require_pixels(pixels, model->config());
        const SafetyScores scores = model->forward(prepared(pixels, *model));
        return [scores](Napi::Env js) -> Napi::Value {
          Napi::Object result = Napi::Object::New(js);
          result.Set("specialCare", TensorObject::make(js, scores.special_care));
          result.Set("concepts", TensorObject::make(js, scores.concepts));
          result.Set("specialCareThresholds", TensorObject::make(js, scores.special_care_thresholds));
          result.Set("conceptThresholds", TensorObject::make(js, scores.concept_thresholds));
          return result;
        };
      },
      CancelObject::get_optional(info[2]));
}

/// priorForward(model, sample, timesteps, textEmbeds, textStates or null, mask or null, cancel): [B,E]
Napi::Value prior_forward(const Info& info) {
  const auto model = model_argument<PriorTransformer>(info[0], "PriorTransformer");
  const at::Tensor sample = TensorObject::get(info[1]);
  const at::Tensor timesteps = at::tensor(numbers_argument(info[2], "timesteps"), at::kDouble);
  const at::Tensor text_embeds = TensorObject::get(info[3]);
  const at::Tensor text_states = info[4].IsNull() ? at::Tensor() : TensorObject::get(info[4]);
  const at::Tensor mask = info[5].IsNull() ? at::Tensor() : TensorObject::get(info[5]);
  return submit_with(
      info.Env(), model, tensor_work([=] {
        const PriorTransformerConfig& config = model->config();
        require_dims(sample, 2, "sample", "[B,E]");
        require_axis(sample, 1, config.embedding_dim, "sample", "features");
        const int64_t rows = sample.size(0);
        if (timesteps.numel() != 1 && timesteps.numel() != rows)
          throw Error("ERR_INVALID_ARGUMENT", "there are " + std::to_string(timesteps.numel()) +
                                                  " timesteps for a batch of " + std::to_string(rows));
        require_dims(text_embeds, 2, "projEmbedding", "[B,E]");
        require_axis(text_embeds, 1, config.embedding_proj_dim, "projEmbedding", "features");
        require_rows(text_embeds, rows, "projEmbedding");
        if (config.encoder_hid_proj != text_states.defined() && config.encoder_hid_proj)
          throw Error("ERR_INVALID_ARGUMENT",
                      "encoderHiddenStates is missing: this model needs it (encoder_hid_proj_type)");
        at::Tensor states;
        if (text_states.defined()) {
          require_dims(text_states, 3, "encoderHiddenStates", "[B,T,D]");
          require_axis(text_states, 2, config.encoder_hid_proj ? config.embedding_dim : config.inner_dim(),
                       "encoderHiddenStates", "features");
          require_rows(text_states, rows, "encoderHiddenStates");
          states = expanded(prepared(text_states, *model), rows);
        }
        at::Tensor seen;
        if (mask.defined()) {
          require_dims(mask, 2, "attentionMask", "[B,T]");
          require_axis(mask, 1, config.num_embeddings, "attentionMask", "entries a row");
          require_rows(mask, rows, "attentionMask");
          seen = expanded(mask.to(model->device()), rows);
        }
        return rounded(model->forward(prepared(sample, *model), timesteps,
                                      expanded(prepared(text_embeds, *model), rows), states, seen),
                       *model);
      }),
      CancelObject::get_optional(info[6]));
}

/// priorPostProcess(model, embeddings): [B,E]
Napi::Value prior_post_process(const Info& info) {
  const auto model = model_argument<PriorTransformer>(info[0], "PriorTransformer");
  const at::Tensor embeddings = TensorObject::get(info[1]);
  return submit_with(info.Env(), model, tensor_work([=] {
                       require_dims(embeddings, 2, "embeddings", "[B,E]");
                       require_axis(embeddings, 1, model->config().clip_embed_dim, "embeddings", "features");
                       return rounded(model->post_process(prepared(embeddings, *model)), *model);
                     }));
}

}  // namespace

void register_image_models(Napi::Env env, Napi::Object exports) {
  export_function<vq_encode>(env, exports, "vqEncode");
  export_function<vq_decode>(env, exports, "vqDecode");
  export_function<clip_vision_forward>(env, exports, "clipVisionForward");
  export_function<safety_checker_forward>(env, exports, "safetyCheckerForward");
  export_function<prior_forward>(env, exports, "priorForward");
  export_function<prior_post_process>(env, exports, "priorPostProcess");
}

}  // namespace ip2p
