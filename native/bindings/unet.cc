#include <ATen/ops/tensor.h>

#include "bindings/conditions.h"
#include "bindings/convert.h"
#include "bindings/register.h"
#include "models/unet_2d_condition.h"

namespace ip2p {
namespace {

using Info = Napi::CallbackInfo;

/// One timestep for all rows or one for each: a list of numbers, or a tensor of them, [] or [N].
at::Tensor timesteps_argument(const Napi::Value& value) {
  if (value.IsArray())
    return at::tensor(numbers_argument(value, "timesteps"), at::TensorOptions().dtype(at::kDouble));
  const at::Tensor given = TensorObject::get(value);
  if (given.dim() > 1 || given.numel() == 0 || given.scalar_type() == at::kBool)
    throw Error("ERR_INVALID_ARGUMENT",
                "timesteps must be a number, a list of numbers, or a Tensor of numbers, [] or [B]");
  return given;
}

/// unetForward(model, sample, timesteps, conditions, cancel): [B,C,H,W]
Napi::Value unet_forward(const Info& info) {
  const auto model = model_argument<UNet2DConditionModel>(info[0], "UNet2DConditionModel");
  const at::Tensor sample = TensorObject::get(info[1]);
  const at::Tensor given_timesteps = timesteps_argument(info[2]);
  const GivenConditions given = conditions_argument(info[3]);
  const bool conditioned = given.conditions.embeddings.defined() || given.conditions.image_embeds.defined();
  if (!conditioned || given.input_ids.defined())
    throw Error("ERR_INVALID_ARGUMENT",
                "a pass needs text or image embeddings, and takes no token ids (inputIds)");
  if (given.cache && !given.cache->belongs_to(model))
    throw Error("ERR_INVALID_ARGUMENT",
                "this UNetCache belongs to another model: create one cache per model");
  return submit_with(
      info.Env(), model,
      [=]() -> Finish {
        require_dims(sample, 4, "sample", "[B,C,H,W]");
        at::Tensor x = prepared(sample, *model);
        const at::Tensor timesteps = given_timesteps.to(at::kCPU, at::kDouble).reshape({-1});
        Conditions conditions = given.prepared(*model, x.size(0));
        const int64_t batch = conditions.rows();
        // Rows are not shared where that saves nothing or where each row has its own timestep.
        if (!conditions.sample_rows.empty() && (x.size(0) >= batch || timesteps.numel() != 1)) {
          const auto rows = at::tensor(conditions.sample_rows, at::TensorOptions().dtype(at::kLong));
          x = x.index_select(0, rows.to(x.device()));
          conditions.sample_rows.clear();
        }
        const int64_t count = timesteps.numel();
        if (count != 1 && count != batch)
          throw Error("ERR_INVALID_ARGUMENT", "there are " + std::to_string(count) +
                                                  " timesteps for a batch of " + std::to_string(batch));
        if (given.cache) given.cache->begin_pass(model->device());
        const at::Tensor result = model->forward(x, timesteps, conditions);
        if (given.cache) given.cache->end_pass();
        return [result, counted = given.counted, cache = given.cache](Napi::Env js) {
          if (cache) counted->recount(cache->bytes());
          return TensorObject::make(js, result);
        };
      },
      CancelObject::get_optional(info[4]));
}

}  // namespace

void register_unet(Napi::Env env, Napi::Object exports) {
  export_function<unet_forward>(env, exports, "unetForward");
}

}  // namespace ip2p
