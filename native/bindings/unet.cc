#include <ATen/ops/tensor.h>

#include <unordered_map>

#include "bindings/conditions.h"
#include "bindings/convert.h"
#include "bindings/register.h"
#include "models/controlnet.h"
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

/// The arguments of a pass, as JavaScript gave them.
struct GivenPass {
  at::Tensor sample, timesteps;
  GivenConditions conditions;
};

/// The same, on the model's device, once they fit together.
struct ReadyPass {
  at::Tensor x, timesteps;
  Conditions conditions;
  /// For each row of x its row of the sample that was given; undefined: one to one.
  at::Tensor rows;
};

/// (sample, timesteps, conditions) from this argument on
GivenPass pass_arguments(const Info& info, size_t first, const std::shared_ptr<Model>& model) {
  GivenPass pass{TensorObject::get(info[first]), timesteps_argument(info[first + 1]),
                 conditions_argument(info[first + 2])};
  const GivenConditions& given = pass.conditions;
  const bool conditioned = given.conditions.embeddings.defined() || given.conditions.image_embeds.defined();
  if (!conditioned || !given.input_ids.empty())
    throw Error("ERR_INVALID_ARGUMENT",
                "a pass needs text or image embeddings, and takes no token ids (inputIds)");
  if (given.cache && !given.cache->belongs_to(model))
    throw Error("ERR_INVALID_ARGUMENT",
                "this UNetCache belongs to another model: create one cache per model");
  return pass;
}

/// Whether rows of the text that share a row of the sample have the same timestep. `timesteps`: float64.
bool same_timesteps(const at::Tensor& timesteps, const std::vector<int64_t>& sample_rows) {
  if (timesteps.numel() == 1) return true;
  if (timesteps.numel() != static_cast<int64_t>(sample_rows.size())) return false;
  const at::Tensor list = timesteps.contiguous();
  const double* const values = list.const_data_ptr<double>();
  std::unordered_map<int64_t, double> of_row;
  for (size_t i = 0; i < sample_rows.size(); ++i)
    if (of_row.try_emplace(sample_rows[i], values[i]).first->second != values[i]) return false;
  return true;
}

/// Whether rows of the text that share a row of the sample have the same adapters.
bool same_adapters(const std::vector<AdapterWeights>& adapters, const std::vector<int64_t>& sample_rows) {
  for (const AdapterWeights& each : adapters) {
    if (each.rows.size() != sample_rows.size()) continue;
    std::unordered_map<int64_t, double> of_row;
    for (size_t i = 0; i < sample_rows.size(); ++i)
      if (of_row.try_emplace(sample_rows[i], each.rows[i]).first->second != each.rows[i]) return false;
  }
  return true;
}

ReadyPass ready(const GivenPass& given, const Model& model) {
  require_dims(given.sample, 4, "sample", "[B,C,H,W]");
  ReadyPass pass{
      prepared(given.sample, model), given.timesteps.to(at::kCPU, at::kDouble).reshape({-1}), {}, {}};
  pass.conditions = given.conditions.prepared(model, pass.x.size(0));
  std::vector<int64_t>& sample_rows = pass.conditions.sample_rows;
  const int64_t batch = pass.conditions.rows(), count = pass.timesteps.numel();
  // Rows are not shared where that saves nothing or where they differ in their timesteps or adapters.
  if (!sample_rows.empty() && (pass.x.size(0) >= batch || !same_timesteps(pass.timesteps, sample_rows) ||
                               !same_adapters(pass.conditions.adapters, sample_rows))) {
    pass.rows = at::tensor(sample_rows, at::TensorOptions().dtype(at::kLong)).to(pass.x.device());
    pass.x = pass.x.index_select(0, pass.rows);
    sample_rows.clear();
  }
  if (count != 1 && count != batch)
    throw Error("ERR_INVALID_ARGUMENT",
                "there are " + std::to_string(count) + " timesteps for a batch of " + std::to_string(batch));
  return pass;
}

/// Runs a pass within the scope of its cache.
template <class Run>
auto with_cache(const GivenConditions& given, const Model& model, Run run) {
  if (given.cache) given.cache->begin_pass(model.device(), description(given.conditions.adapters));
  auto result = run();
  if (given.cache) given.cache->end_pass();
  return result;
}

void recount(const GivenConditions& given) {
  if (given.cache) given.counted->recount(given.cache->bytes());
}

/// unetForward(model, sample, timesteps, conditions, cancel): [B,C,H,W]
Napi::Value unet_forward(const Info& info) {
  const auto model = model_argument<UNet2DConditionModel>(info[0], "UNet2DConditionModel");
  const GivenPass given = pass_arguments(info, 1, model);
  return submit_with(
      info.Env(), model,
      [=]() -> Finish {
        const ReadyPass pass = ready(given, *model);
        const at::Tensor result = with_cache(given.conditions, *model, [&] {
          return rounded(model->forward(pass.x, pass.timesteps, pass.conditions), *model);
        });
        return [result, conditions = given.conditions](Napi::Env js) {
          recount(conditions);
          return TensorObject::make(js, result);
        };
      },
      CancelObject::get_optional(info[4]));
}

/// { image, scale, guessMode, zeroRowsBefore, zeroRowsBehind }
ControlInput control_argument(const Napi::Value& value) {
  const Napi::Object object = object_argument(value, "control");
  const ControlInput control{TensorObject::get(object.Get("picture")),
                             number_argument(object.Get("scale"), "conditioningScale"),
                             bool_argument(object.Get("guessMode"), "guessMode"),
                             integer_argument(object.Get("zeroRowsBefore"), "zeroRowsBefore"),
                             integer_argument(object.Get("zeroRowsBehind"), "zeroRowsBehind")};
  if (control.zero_rows_before < 0 || control.zero_rows_behind < 0)
    throw Error("ERR_INVALID_ARGUMENT", "there cannot be fewer than 0 rows of zeros");
  return control;
}

/// controlNetForward(model, sample, timesteps, conditions, control, cancel): { down, mid }
Napi::Value controlnet_forward(const Info& info) {
  const auto model = model_argument<ControlNetModel>(info[0], "ControlNetModel");
  const GivenPass given = pass_arguments(info, 1, model);
  const ControlInput given_control = control_argument(info[4]);
  return submit_with(
      info.Env(), model,
      [=]() -> Finish {
        require_dims(given_control.picture, 4, "controlnetCond", "[B,C,H,W]");
        const ReadyPass pass = ready(given, *model);
        ControlInput control = given_control;
        control.picture = prepared(control.picture, *model);
        if (pass.rows.defined() && control.picture.size(0) == given.sample.size(0))
          control.picture = control.picture.index_select(0, pass.rows);
        Residuals result = with_cache(given.conditions, *model, [&] {
          return model->forward(pass.x, pass.timesteps, pass.conditions, control);
        });
        for (at::Tensor& residual : result.down) residual = rounded(residual, *model);
        result.mid = rounded(result.mid, *model);
        return [result, conditions = given.conditions](Napi::Env js) {
          recount(conditions);
          Napi::Array down = Napi::Array::New(js, result.down.size());
          for (size_t i = 0; i < result.down.size(); ++i)
            down.Set(static_cast<uint32_t>(i), TensorObject::make(js, result.down[i]));
          Napi::Object object = Napi::Object::New(js);
          object.Set("down", down);
          object.Set("mid", TensorObject::make(js, result.mid));
          return object;
        };
      },
      CancelObject::get_optional(info[5]));
}

}  // namespace

void register_unet(Napi::Env env, Napi::Object exports) {
  export_function<unet_forward>(env, exports, "unetForward");
  export_function<controlnet_forward>(env, exports, "controlNetForward");
}

}  // namespace ip2p
