#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>

#include "bindings/conditions.h"
#include "bindings/convert.h"
#include "bindings/objects.h"
#include "bindings/register.h"
#include "core/dtype.h"
#include "core/error.h"
#include "models/low_rank.h"
#include "training/autoencoder_trainer.h"
#include "training/trainer.h"

namespace ip2p {
namespace {

using Info = Napi::CallbackInfo;

BFloat16Rounding parse_rounding(const std::string& name) {
  if (name == "stochastic") return BFloat16Rounding::Stochastic;
  if (name == "compensated") return BFloat16Rounding::Compensated;
  throw Error("ERR_INVALID_ARGUMENT", "unknown rounding \"" + name + "\"");
}

OptimizerKind parse_optimizer(const std::string& name) {
  if (name == "adamw") return OptimizerKind::AdamW;
  if (name == "adamw_8bit") return OptimizerKind::AdamW8bit;
  if (name == "lion_8bit") return OptimizerKind::Lion8bit;
  if (name == "prodigy") return OptimizerKind::Prodigy;
  throw Error("ERR_INVALID_ARGUMENT", "unknown optimizer \"" + name + "\"");
}

TrainerOptions options_argument(const Napi::Value& value) {
  const ConfigValue config = config_argument(value);
  TrainerOptions options;
  options.adamw = {config.number("adamBeta1"), config.number("adamBeta2"), config.number("adamEpsilon"),
                   config.number("adamWeightDecay")};
  if (config.boolean("bfloat16Weights"))
    options.bfloat16 = {parse_rounding(config.string("weightsRounding")),
                        static_cast<uint64_t>(config.integer("roundingSeed"))};
  options.optimizer = parse_optimizer(config.string("optimizer"));
  options.use_ema = config.boolean("useEma");
  options.offload_ema = config.boolean("offloadEma");
  const auto traces = config.integer("traces");
  if (traces < 0 || traces > 8) throw Error("ERR_INVALID_ARGUMENT", "a trainer keeps up to 8 traces");
  options.traces = static_cast<int>(traces);
  const auto processes = config.integer("shardCount"), rank = config.integer("shardRank");
  if (processes < 1 || processes > (1 << 16) || rank < 0 || rank >= processes)
    throw Error("ERR_INVALID_ARGUMENT", "there is no such part of a trainer");
  if (processes > 1) options.shard = Shard{static_cast<int>(rank), static_cast<int>(processes)};
  options.dropout_seed = static_cast<uint64_t>(config.integer("dropoutSeed"));
  options.gradient_checkpointing = config.boolean("gradientCheckpointing");
  options.release_gradients = config.boolean("releaseGradients");
  options.shadow_weights = config.boolean("shadowWeights");
  if (!config.null("mixedPrecision")) options.mixed_precision = parse_dtype(config.string("mixedPrecision"));
  return options;
}

int64_t bytes_of(const NamedTensors& tensors) {
  int64_t bytes = 0;
  for (const auto& [name, tensor] : tensors) bytes += static_cast<int64_t>(tensor.nbytes());
  return bytes;
}

template <class Made>
Napi::Value submit_trainer(const Info& info, const std::shared_ptr<Model>& model, Made make) {
  return submit_with(info.Env(), model, [make]() -> Finish {
    const std::shared_ptr<ParameterTrainer> trainer = make();
    const int64_t bytes = bytes_of(trainer->optimizer_state()) + bytes_of(trainer->ema_state()) +
                          bytes_of(trainer->traces_state());
    return [trainer, bytes](Napi::Env js) { return TrainerObject::make(js, trainer, bytes); };
  });
}

template <class Model>
std::shared_ptr<Model> trained_model(const Napi::Value& value, const char* kind) {
  auto model = std::dynamic_pointer_cast<Model>(ModelObject::get(value));
  if (!model) throw Error("ERR_INVALID_ARGUMENT", std::string("this trainer needs a ") + kind);
  return model;
}

template <class Kind>
std::shared_ptr<Kind> trainer_of(const Napi::Value& value) {
  auto trainer = std::dynamic_pointer_cast<Kind>(TrainerObject::get(value));
  if (!trainer) throw Error("ERR_INVALID_ARGUMENT", "this trainer trains another kind of model");
  return trainer;
}

/// createTrainer(unet, textEncoders, options)
Napi::Value create_trainer(const Info& info) {
  const auto unet = trained_model<UNet2DConditionModel>(info[0], "UNet2DConditionModel");
  if (!info[1].IsArray()) throw Error("ERR_INVALID_ARGUMENT", "textEncoders must be a list of models");
  const Napi::Array given = info[1].As<Napi::Array>();
  std::vector<std::shared_ptr<CLIPTextModel>> text_encoders;
  for (uint32_t i = 0; i < given.Length(); ++i)
    text_encoders.push_back(trained_model<CLIPTextModel>(given.Get(i), "CLIPTextModel"));
  const TrainerOptions options = options_argument(info[2]);
  return submit_trainer(info, unet, [=] {
    for (const auto& text_encoder : text_encoders)
      if (text_encoder->device() != unet->device())
        throw Error("ERR_INVALID_ARGUMENT", "the UNet and the text encoder are on different devices");
    return std::make_shared<DenoisingTrainer>(unet, text_encoders, options);
  });
}

/// addTrainableAdapter(model, { name, layers, rank, alpha, dropout, inFull }, generator or null)
Napi::Value add_trainable_adapter(const Info& info) {
  const auto model = ModelObject::get(info[0]);
  const Napi::Object object = object_argument(info[1], "adapter");
  NewAdapter adapter;
  adapter.name = string_argument(object.Get("name"), "name");
  adapter.layers = strings_argument(object.Get("layers"), "layers");
  adapter.rank = integer_argument(object.Get("rank"), "rank");
  adapter.alpha = number_argument(object.Get("alpha"), "alpha");
  adapter.dropout = number_argument(object.Get("dropout"), "dropout");
  adapter.in_full = strings_argument(object.Get("inFull"), "inFull");
  adapter.like_peft = bool_argument(object.Get("likePeft"), "likePeft");
  if (!(adapter.dropout >= 0 && adapter.dropout < 1))
    throw Error("ERR_INVALID_ARGUMENT", "dropout is a probability below 1");
  const auto generator = GeneratorObject::get_optional(info[2]);
  return submit_with(info.Env(), model, void_work([=] { add_adapter(*model, adapter, generator); }));
}

/// createAutoencoderTrainer(vae, options)
Napi::Value create_autoencoder_trainer(const Info& info) {
  const auto vae = trained_model<AutoencoderKL>(info[0], "AutoencoderKL");
  const TrainerOptions options = options_argument(info[1]);
  return submit_trainer(info, vae, [=] { return std::make_shared<AutoencoderTrainer>(vae, options); });
}

at::Tensor optional_tensor(const Napi::Value& value) {
  return value.IsNull() || value.IsUndefined() ? at::Tensor() : TensorObject::get(value);
}

/// { kind, deltas: Tensor | null, weights: Tensor | null }
Loss loss_argument(const Napi::Value& value) {
  const Napi::Object object = object_argument(value, "loss");
  const std::string kind = string_argument(object.Get("kind"), "kind");
  Loss loss;
  if (kind == "huber")
    loss.kind = LossKind::Huber;
  else if (kind == "smooth_l1")
    loss.kind = LossKind::SmoothL1;
  else if (kind != "l2")
    throw Error("ERR_INVALID_ARGUMENT", "unknown loss \"" + kind + "\"");
  loss.deltas = optional_tensor(object.Get("deltas"));
  loss.weights = optional_tensor(object.Get("weights"));
  if (loss.kind != LossKind::Squared && !loss.deltas.defined())
    throw Error("ERR_INVALID_ARGUMENT", "the loss \"" + kind + "\" needs deltas");
  return loss;
}

std::optional<double> optional_number(const Napi::Value& value, const char* name) {
  return value.IsNull() || value.IsUndefined() ? std::nullopt
                                               : std::optional<double>(number_argument(value, name));
}

/// { learningRate, maxGradNorm, emaDecay }, or null
std::optional<ReleasedStep> released_argument(const Napi::Value& value) {
  if (value.IsNull()) return std::nullopt;
  const Napi::Object object = object_argument(value, "update");
  return ReleasedStep{number_argument(object.Get("learningRate"), "learningRate"),
                      number_argument(object.Get("maxGradNorm"), "maxGradNorm"),
                      optional_number(object.Get("emaDecay"), "emaDecay")};
}

/// trainerMicroStep(trainer, sample, timesteps, conditions, target, loss, factor, reduces, update, cancel):
/// the loss, one element
Napi::Value micro_step(const Info& info) {
  const auto trainer = trainer_of<DenoisingTrainer>(info[0]);
  const at::Tensor sample = TensorObject::get(info[1]), timesteps = TensorObject::get(info[2]);
  const GivenConditions given = conditions_argument(info[3]);
  if (given.cache || !given.conditions.sample_rows.empty())
    throw Error("ERR_INVALID_ARGUMENT", "training takes neither a cache nor sampleRows");
  const at::Tensor target = TensorObject::get(info[4]);
  const Loss loss = loss_argument(info[5]);
  const double factor = number_argument(info[6], "factor");
  const bool reduces = bool_argument(info[7], "reduces");
  const std::optional<ReleasedStep> released = released_argument(info[8]);
  const c10::Device device = trainer->device();
  return submit_tensor(
      info.Env(), device,
      [=] {
        require_dims(sample, 4, "sample", "[B,C,H,W]");
        const Conditions conditions = given.prepared(trainer->unet(), sample.size(0));
        std::vector<at::Tensor> ids;
        for (const at::Tensor& each : given.input_ids) {
          require_dims(each, 2, "inputIds", "[B,T]");
          if (each.size(0) != sample.size(0))
            throw Error("ERR_INVALID_ARGUMENT", "inputIds and the sample differ in their number of rows");
          ids.push_back(each.to(device));
        }
        return trainer->micro_step(sample.to(device), timesteps.to(device), conditions, ids,
                                   target.to(device), loss, factor, reduces, released);
      },
      CancelObject::get_optional(info[9]));
}

/// trainerAutoencoderStep(trainer, x, noise, klWeight, factor, cancel): the loss, one element
Napi::Value autoencoder_step(const Info& info) {
  const auto trainer = trainer_of<AutoencoderTrainer>(info[0]);
  const at::Tensor x = TensorObject::get(info[1]), noise = TensorObject::get(info[2]);
  const double kl_weight = number_argument(info[3], "klWeight");
  const double factor = number_argument(info[4], "factor");
  const c10::Device device = trainer->device();
  return submit_tensor(
      info.Env(), device,
      [=] { return trainer->micro_step(x.to(device), noise.to(device), kl_weight, factor); },
      CancelObject::get_optional(info[5]));
}

/// trainerStep(trainer, learningRate, maxGradNorm, lossScale, emaDecay | null, cancel): { gradNorm, skipped }
Napi::Value step(const Info& info) {
  const auto trainer = TrainerObject::get(info[0]);
  const double learning_rate = number_argument(info[1], "learningRate");
  const double max_grad_norm = number_argument(info[2], "maxGradNorm");
  const double loss_scale = number_argument(info[3], "lossScale");
  const std::optional<double> ema_decay = optional_number(info[4], "emaDecay");
  return submit(
      info.Env(), trainer->device(),
      [=]() -> Finish {
        const StepReport report = trainer->step(learning_rate, max_grad_norm, loss_scale, ema_decay);
        // One transfer, and the only place where the host waits for the device.
        const at::Tensor numbers = at::stack({report.gradient_norm, report.skipped}).to(at::kCPU);
        const double norm = numbers[0].item<double>();
        const bool skipped = numbers[1].item<double>() != 0;
        return [norm, skipped](Napi::Env js) -> Napi::Value {
          Napi::Object result = Napi::Object::New(js);
          result.Set("gradNorm", Napi::Number::New(js, norm));
          result.Set("skipped", Napi::Boolean::New(js, skipped));
          return result;
        };
      },
      CancelObject::get_optional(info[5]));
}

/// trainerDistribute(trainer, group, dtype or null): weights and EMA weights become rank 0's, micro-steps can
/// reduce, in that type
Napi::Value distribute(const Info& info) {
  const auto trainer = TrainerObject::get(info[0]);
  const auto group = ProcessGroupObject::get(info[1]);
  std::optional<c10::ScalarType> exchanged_as;
  if (!info[2].IsNull()) exchanged_as = parse_dtype(string_argument(info[2], "dtype"));
  return submit_void(info.Env(), trainer->device(), [=] { trainer->distribute(group, exchanged_as); });
}

/// trainerBorrowEma(trainer, { name: Tensor } or null): takes the averages of other processes, or gives them
/// back
Napi::Value borrow_ema(const Info& info) {
  const auto trainer = TrainerObject::get(info[0]);
  if (info[1].IsNull()) return submit_void(info.Env(), trainer->device(), [=] { trainer->give_ema_back(); });
  if (!info[1].IsObject()) throw Error("ERR_INVALID_ARGUMENT", "the averages must be a record of tensors");
  NamedTensors others;
  const Napi::Object record = info[1].As<Napi::Object>();
  const Napi::Array names = record.GetPropertyNames();
  for (uint32_t i = 0; i < names.Length(); ++i) {
    const std::string name = string_argument(names.Get(i), "name");
    others.emplace_back(name, TensorObject::get(record.Get(name)));
  }
  return submit_void(info.Env(), trainer->device(), [=] { trainer->borrow_ema(others); });
}

/// trainerReduce(trainer): averages the gradients over all processes
Napi::Value reduce(const Info& info) {
  const auto trainer = TrainerObject::get(info[0]);
  return submit_void(info.Env(), trainer->device(), [=] { trainer->reduce_gradients(); });
}

/// trainerUpdateEma(trainer, decay)
Napi::Value update_ema(const Info& info) {
  const auto trainer = TrainerObject::get(info[0]);
  const double decay = number_argument(info[1], "decay");
  return submit_void(info.Env(), trainer->device(), [=] { trainer->update_ema(decay); });
}

/// trainerUpdateTraces(trainer, decays): one for each trace
Napi::Value update_traces(const Info& info) {
  const auto trainer = TrainerObject::get(info[0]);
  const auto decays = numbers_argument(info[1], "decays");
  return submit_void(info.Env(), trainer->device(), [=] { trainer->update_traces(decays); });
}

/// trainerSwapEma(trainer)
Napi::Value swap_ema(const Info& info) {
  const auto trainer = TrainerObject::get(info[0]);
  return submit_void(info.Env(), trainer->device(), [=] { trainer->swap_ema(); });
}

/// trainerForgetGradients(trainer)
Napi::Value forget_gradients(const Info& info) {
  const auto trainer = TrainerObject::get(info[0]);
  return submit_void(info.Env(), trainer->device(), [=] { trainer->forget_gradients(); });
}

/// trainerState(trainer, "optimizer" | "ema" | "traces" | "gradients" | "weights"): name → Tensor, the
/// tensors themselves
Napi::Value state(const Info& info) {
  const auto trainer = TrainerObject::get(info[0]);
  const std::string which = string_argument(info[1], "which");
  if (which != "optimizer" && which != "ema" && which != "traces" && which != "gradients" &&
      which != "weights")
    throw Error("ERR_INVALID_ARGUMENT", "unknown trainer state \"" + which + "\"");
  return submit(info.Env(), trainer->device(), [=]() -> Finish {
    NamedTensors tensors;
    if (which == "optimizer") {
      tensors = trainer->optimizer_state();
    } else if (which == "ema") {
      tensors = trainer->ema_state();
    } else if (which == "traces") {
      tensors = trainer->traces_state();
    } else if (which == "weights") {
      tensors = trainer->weights();
    } else {
      for (const auto& [name, parameter] : trainer->parameters())
        if (parameter->value.grad().defined()) tensors.emplace_back(name, parameter->value.grad());
    }
    return [tensors](Napi::Env js) -> Napi::Value {
      Napi::Object result = Napi::Object::New(js);
      for (const auto& [name, tensor] : tensors) result.Set(name, TensorObject::make(js, tensor));
      return result;
    };
  });
}

/// copyTensors(targets, sources): overwrites each target with the source of the same place; for restoring
/// state
Napi::Value copy_tensors(const Info& info) {
  const auto targets = tensors_argument(info[0], "targets"), sources = tensors_argument(info[1], "sources");
  if (targets.size() != sources.size())
    throw Error("ERR_INVALID_ARGUMENT", "targets and sources differ in number");
  const c10::Device device = targets.empty() ? c10::Device(c10::kCPU) : targets[0].device();
  return submit_void(info.Env(), device, [=] {
    for (size_t i = 0; i < targets.size(); ++i) {
      if (!targets[i].sizes().equals(sources[i].sizes()) ||
          targets[i].scalar_type() != sources[i].scalar_type())
        throw Error("ERR_STATE_DICT",
                    "tensor " + std::to_string(i) + " to be restored has another shape or type");
      targets[i].detach().copy_(sources[i]);
    }
  });
}

/// selectRows(flags, a, b): row i of a where flags[i], of b otherwise; a may have one row for all
Napi::Value select_rows(const Info& info) {
  const auto flags = numbers_argument(info[0], "flags");
  const at::Tensor a = TensorObject::get(info[1]), b = TensorObject::get(info[2]);
  return submit_tensor(info.Env(), b.device(), [=] {
    if (b.dim() == 0 || static_cast<int64_t>(flags.size()) != b.size(0))
      throw Error("ERR_INVALID_ARGUMENT", "there must be one flag for each row");
    std::vector<int64_t> shape(b.dim(), 1);
    shape[0] = b.size(0);
    return at::where(at::tensor(flags).to(b.device()).view(shape).ne(0), a, b);
  });
}

}  // namespace

void register_training(Napi::Env env, Napi::Object exports) {
  export_function<create_trainer>(env, exports, "createTrainer");
  export_function<add_trainable_adapter>(env, exports, "addTrainableAdapter");
  export_function<create_autoencoder_trainer>(env, exports, "createAutoencoderTrainer");
  export_function<autoencoder_step>(env, exports, "trainerAutoencoderStep");
  export_function<micro_step>(env, exports, "trainerMicroStep");
  export_function<step>(env, exports, "trainerStep");
  export_function<distribute>(env, exports, "trainerDistribute");
  export_function<borrow_ema>(env, exports, "trainerBorrowEma");
  export_function<reduce>(env, exports, "trainerReduce");
  export_function<update_ema>(env, exports, "trainerUpdateEma");
  export_function<update_traces>(env, exports, "trainerUpdateTraces");
  export_function<swap_ema>(env, exports, "trainerSwapEma");
  export_function<forget_gradients>(env, exports, "trainerForgetGradients");
  export_function<state>(env, exports, "trainerState");
  export_function<copy_tensors>(env, exports, "copyTensors");
  export_function<select_rows>(env, exports, "selectRows");
}

}  // namespace ip2p
