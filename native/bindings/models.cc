#include "bindings/convert.h"
#include "bindings/objects.h"
#include "bindings/register.h"
#include "core/device.h"
#include "core/dtype.h"
#include "core/error.h"
#include "kernels/int8.h"
#include "models/autoencoder_kl.h"
#include "models/clip_text_model.h"
#include "models/unet_2d_condition.h"

#include <ATen/ops/tensor.h>

namespace ip2p {

Napi::Value submit_with(Napi::Env env, const std::shared_ptr<Model>& model, Work work,
                        std::shared_ptr<CancelFlag> cancel) {
  const c10::Device device = model->device();
  return submit(
      env, device,
      [model, device, work = std::move(work)]() -> Finish {
        if (model->device() != device)
          throw Error("ERR_INVALID_ARGUMENT",
                      "the model was moved to another device while this was queued: wait "
                      "for to() to resolve");
        return work();
      },
      std::move(cancel));
}

namespace {

using Info = Napi::CallbackInfo;

AttentionBackend attention_argument(const Napi::Value& value) {
  const std::string name = string_argument(value, "attention");
  if (name == "auto") return AttentionBackend::Auto;
  if (name == "math") return AttentionBackend::Math;
  throw Error("ERR_INVALID_ARGUMENT",
              "unknown attention backend \"" + name + "\": expected \"auto\" or \"math\"");
}

template <class T>
std::shared_ptr<T> model_argument(const Napi::Value& value, const char* kind) {
  auto model = std::dynamic_pointer_cast<T>(ModelObject::get(value));
  if (!model) throw Error("ERR_INVALID_ARGUMENT", std::string("expected a ") + kind);
  return model;
}

/// Inputs are brought to the model's device and, if they are floating point, to its type.
at::Tensor prepared(const at::Tensor& x, const Model& model) {
  return x.is_floating_point() ? x.to(model.device(), model.dtype()) : x.to(model.device());
}

void require_dims(const at::Tensor& x, int64_t dims, const char* name, const char* shape) {
  if (x.dim() != dims)
    throw Error("ERR_INVALID_ARGUMENT", std::string(name) + " must be " + shape + ", not of " +
                                            std::to_string(x.dim()) + " dimensions");
  if (x.numel() == 0) throw Error("ERR_INVALID_ARGUMENT", std::string(name) + " is empty");
}

/// Expands a single row of text embeddings to the batch.
at::Tensor context_for(const at::Tensor& context, int64_t rows) {
  require_dims(context, 3, "encoderHiddenStates", "[B,T,D]");
  if (context.size(0) == rows) return context;
  if (context.size(0) != 1)
    throw Error("ERR_INVALID_ARGUMENT", "encoderHiddenStates has " + std::to_string(context.size(0)) +
                                            " rows for a batch of " + std::to_string(rows));
  return context.expand({rows, -1, -1});
}

/// The row of the sample for each row of text; undefined if they correspond one to one.
at::Tensor sample_rows(const std::vector<int64_t>& rows, const at::Tensor& sample,
                       const at::Tensor& context) {
  if (static_cast<int64_t>(rows.size()) != context.size(0))
    throw Error("ERR_INVALID_ARGUMENT", "sampleRows has " + std::to_string(rows.size()) + " entries for " +
                                            std::to_string(context.size(0)) + " rows of text");
  for (const int64_t row : rows)
    if (row < 0 || row >= sample.size(0))
      throw Error("ERR_INVALID_ARGUMENT", "sampleRows holds " + std::to_string(row) + " for a sample of " +
                                              std::to_string(sample.size(0)) + " rows");
  return at::tensor(rows, at::TensorOptions().dtype(at::kLong)).to(sample.device());
}

/// On a CUDA device an index out of range would take the whole context down with it.
void require_ids(const at::Tensor& ids, int64_t vocabulary) {
  require_dims(ids, 2, "inputIds", "[B,T]");
  if (ids.scalar_type() != at::kLong)
    throw Error("ERR_INVALID_ARGUMENT",
                std::string("inputIds must be int64, not ") + dtype_name(ids.scalar_type()));
  const auto low = ids.min().item<int64_t>(), high = ids.max().item<int64_t>();
  if (low >= 0 && high < vocabulary) return;
  throw Error("ERR_INVALID_ARGUMENT", "inputIds holds " + std::to_string(low < 0 ? low : high) +
                                          ", which is not in 0.." + std::to_string(vocabulary - 1));
}

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

/// Applies the quantization option.
void quantize_for(const std::string& quantization, Model& model, c10::ScalarType dtype, c10::Device device) {
  if (quantization == "none") return;
  if (quantization != "int8")
    throw Error("ERR_INVALID_ARGUMENT", "unknown quantization \"" + quantization + "\"");
  if (!device.is_cpu() || (dtype != at::kFloat && dtype != at::kBFloat16))
    throw Error("ERR_INVALID_ARGUMENT", "quantization \"int8\" is for the CPU in float32 or bfloat16");
  if (!has_int8())
    throw Error("ERR_INVALID_ARGUMENT",
                "quantization \"int8\" needs a processor with AVX2 and a libtorch with oneDNN");
  model.quantize();
}

/// [{ source, name, shape, first, transposed }], or null
std::optional<std::vector<TensorView>> views_argument(const Napi::Value& value) {
  if (value.IsNull() || value.IsUndefined()) return std::nullopt;
  if (!value.IsArray()) throw Error("ERR_INVALID_ARGUMENT", "views must be a list");
  const auto list = value.As<Napi::Array>();
  std::vector<TensorView> views;
  for (uint32_t i = 0; i < list.Length(); ++i) {
    const Napi::Object view = object_argument(list.Get(i), "views");
    views.push_back({string_argument(view.Get("source"), "source"), string_argument(view.Get("name"), "name"),
                     integers_argument(view.Get("shape"), "shape"),
                     integer_argument(view.Get("first"), "first"),
                     bool_argument(view.Get("transposed"), "transposed")});
  }
  return views;
}

/// loadModel(kind, config, files, { dtype, device, attention, quantization, allowNonFinite, views }, cancel)
Napi::Value load_model(const Info& info) {
  const std::string kind = string_argument(info[0], "kind");
  const ConfigValue config = config_argument(info[1]);
  const auto files = strings_argument(info[2], "files");
  const Napi::Object options = object_argument(info[3], "options");
  const auto dtype = parse_model_dtype(string_argument(options.Get("dtype"), "dtype"));
  const c10::Device device = parse_device(string_argument(options.Get("device"), "device"));
  const AttentionBackend attention = attention_argument(options.Get("attention"));
  const std::string quantization = string_argument(options.Get("quantization"), "quantization");
  const bool allow_not_finite = bool_argument(options.Get("allowNonFinite"), "allowNonFinite");
  const auto views = views_argument(options.Get("views"));
  return submit(
      info.Env(), device,
      [=]() -> Finish {
        auto model = Model::create(kind, config, attention);
        quantize_for(quantization, *model, dtype, device);
        model->load(files, views, dtype, device, allow_not_finite);
        return [model](Napi::Env js) { return ModelObject::make(js, model); };
      },
      CancelObject::get_optional(info[4]));
}

/// createModel(kind, config, { device, attention }, generator or null)
Napi::Value create_model(const Info& info) {
  const std::string kind = string_argument(info[0], "kind");
  const ConfigValue config = config_argument(info[1]);
  const Napi::Object options = object_argument(info[2], "options");
  const c10::Device device = parse_device(string_argument(options.Get("device"), "device"));
  const AttentionBackend attention = attention_argument(options.Get("attention"));
  const std::optional<at::Generator> generator = GeneratorObject::get_optional(info[3]);
  if (generator && !generator->device().is_cpu())
    throw Error("ERR_INVALID_ARGUMENT", "initial weights need a generator on the CPU");
  return submit(info.Env(), c10::Device(c10::kCPU), [=]() -> Finish {
    auto model = Model::create(kind, config, attention);
    model->initialize(generator, device);
    return [model](Napi::Env js) { return ModelObject::make(js, model); };
  });
}

/// modelStateDict(model): name → Tensor. The tensors are the parameters themselves, not copies.
Napi::Value model_state_dict(const Info& info) {
  const auto model = ModelObject::get(info[0]);
  return submit_with(info.Env(), model, [=]() -> Finish {
    std::vector<std::pair<std::string, at::Tensor>> state;
    for (const auto& [name, parameter] : model->named_parameters())
      state.emplace_back(name, parameter->value.detach());
    return [state](Napi::Env js) {
      Napi::Object result = Napi::Object::New(js);
      for (const auto& [name, tensor] : state) result.Set(name, TensorObject::make(js, tensor));
      return result;
    };
  });
}

/// setModelParameter(model, name, tensor)
Napi::Value set_model_parameter(const Info& info) {
  const auto model = ModelObject::get(info[0]);
  const std::string name = string_argument(info[1], "name");
  const at::Tensor value = TensorObject::get(info[2]);
  return submit_with(info.Env(), model, void_work([=] { model->set_parameter(name, value); }));
}

/// moveModel(model, device): takes place after the jobs that are queued on the device it leaves
Napi::Value move_model(const Info& info) {
  const auto model = ModelObject::get(info[0]);
  const c10::Device device = parse_device(string_argument(info[1], "device"));
  return submit_with(info.Env(), model, void_work([=] { model->to(device); }));
}

DeepFeatures deep_features_argument(const Napi::Value& value, bool cache) {
  const std::string name = string_argument(value, "deepFeatures");
  if (name == "forget") return DeepFeatures::Forget;
  if (name != "keep" && name != "reuse")
    throw Error("ERR_INVALID_ARGUMENT", "unknown deepFeatures \"" + name + "\"");
  if (!cache) throw Error("ERR_INVALID_ARGUMENT", "deepFeatures needs a cache");
  return name == "keep" ? DeepFeatures::Keep : DeepFeatures::Reuse;
}

/// unetForward(model, sample, timesteps, encoderHiddenStates,
///             { sampleRows or null, cache or null, deepFeatures }, cancel)
Napi::Value unet_forward(const Info& info) {
  const auto model = model_argument<UNet2DConditionModel>(info[0], "UNet2DConditionModel");
  const at::Tensor sample = TensorObject::get(info[1]);
  const at::Tensor given_timesteps = timesteps_argument(info[2]);
  const at::Tensor context = TensorObject::get(info[3]);
  const Napi::Object options = object_argument(info[4], "options");
  const Napi::Value given_rows = options.Get("sampleRows");
  const bool shared = !given_rows.IsNull() && !given_rows.IsUndefined();
  const std::vector<int64_t> rows =
      shared ? integers_argument(given_rows, "sampleRows") : std::vector<int64_t>();
  const auto counted = UNetCacheObject::get_optional(options.Get("cache"));
  const std::shared_ptr<UNetCache> cache = counted ? counted->get() : nullptr;
  if (cache && !cache->belongs_to(model))
    throw Error("ERR_INVALID_ARGUMENT",
                "this UNetCache belongs to another model: create one cache per model");
  const DeepFeatures deep = deep_features_argument(options.Get("deepFeatures"), cache != nullptr);
  return submit_with(
      info.Env(), model,
      [=]() -> Finish {
        require_dims(sample, 4, "sample", "[B,C,H,W]");
        at::Tensor x = prepared(sample, *model);
        const at::Tensor timesteps = given_timesteps.to(at::kCPU, at::kDouble).reshape({-1});
        TextCondition text;
        if (shared) {
          require_dims(context, 3, "encoderHiddenStates", "[B,T,D]");
          text.sample_rows = sample_rows(rows, x, context);
          // Rows are not shared where that saves nothing or where each row has its own timestep.
          if (x.size(0) >= context.size(0) || timesteps.numel() != 1) {
            x = x.index_select(0, text.sample_rows);
            text.sample_rows.reset();
          }
        }
        const int64_t batch = shared ? context.size(0) : x.size(0);
        text.embeddings = prepared(context_for(context, batch), *model);
        const int64_t count = timesteps.numel();
        if (count != 1 && count != batch)
          throw Error("ERR_INVALID_ARGUMENT", "there are " + std::to_string(count) +
                                                  " timesteps for a batch of " + std::to_string(batch));
        if (cache) cache->begin_pass(model->device());
        text.cache = cache.get();
        const at::Tensor result = model->forward(x, timesteps, text, deep);
        if (cache) cache->end_pass();
        return [result, counted, cache](Napi::Env js) {
          if (cache) counted->recount(cache->bytes());
          return TensorObject::make(js, result);
        };
      },
      CancelObject::get_optional(info[5]));
}

std::optional<TilingOptions> tiling_argument(const Napi::Value& value) {
  if (value.IsNull() || value.IsUndefined()) return std::nullopt;
  const Napi::Object object = object_argument(value, "tiling");
  const TilingOptions options{integer_argument(object.Get("sampleMinSize"), "sampleMinSize"),
                              integer_argument(object.Get("latentMinSize"), "latentMinSize"),
                              number_argument(object.Get("overlap"), "overlap")};
  if (options.sample_min_size < 2 || options.latent_min_size < 2 ||
      !(options.overlap >= 0 && options.overlap <= 0.5))
    throw Error("ERR_INVALID_ARGUMENT", "tiles must be at least 2 wide and overlap by 0 to 0.5");
  return options;
}

/// vaeEncode(model, x, slicing, tiling, cancel): moments [B,2C,h,w]
Napi::Value vae_encode(const Info& info) {
  const auto model = model_argument<AutoencoderKL>(info[0], "AutoencoderKL");
  const at::Tensor x = TensorObject::get(info[1]);
  const bool slicing = bool_argument(info[2], "slicing");
  const auto tiling = tiling_argument(info[3]);
  return submit_with(info.Env(), model, tensor_work([=] {
                       require_dims(x, 4, "the picture", "[B,C,H,W]");
                       return model->encode(prepared(x, *model), slicing, tiling);
                     }),
                     CancelObject::get_optional(info[4]));
}

/// vaeDecode(model, z, slicing, tiling, cancel)
Napi::Value vae_decode(const Info& info) {
  const auto model = model_argument<AutoencoderKL>(info[0], "AutoencoderKL");
  const at::Tensor z = TensorObject::get(info[1]);
  const bool slicing = bool_argument(info[2], "slicing");
  const auto tiling = tiling_argument(info[3]);
  return submit_with(info.Env(), model, tensor_work([=] {
                       require_dims(z, 4, "the latents", "[B,C,h,w]");
                       return model->decode(prepared(z, *model), slicing, tiling);
                     }),
                     CancelObject::get_optional(info[4]));
}

/// clipTextForward(model, inputIds, hiddenStates, attentionMask, skippedLayers, cancel): { lastHiddenState,
/// pooled, hiddenStates? }
Napi::Value clip_text_forward(const Info& info) {
  const auto model = model_argument<CLIPTextModel>(info[0], "CLIPTextModel");
  const at::Tensor ids = TensorObject::get(info[1]);
  const bool hidden_states = bool_argument(info[2], "hiddenStates");
  const at::Tensor mask = info[3].IsNull() ? at::Tensor() : TensorObject::get(info[3]);
  const int64_t skipped = integer_argument(info[4], "skippedLayers");
  return submit_with(
      info.Env(), model,
      [=]() -> Finish {
        require_ids(ids, model->vocabulary());
        if (mask.defined() && mask.sizes() != ids.sizes())
          throw Error("ERR_INVALID_ARGUMENT", "attentionMask must have the shape of inputIds");
        const CLIPTextOutput output = model->forward(prepared(ids, *model), hidden_states,
                                                     mask.defined() ? prepared(mask, *model) : mask, skipped);
        return [output, hidden_states](Napi::Env js) -> Napi::Value {
          Napi::Object result = Napi::Object::New(js);
          result.Set("lastHiddenState", TensorObject::make(js, output.last_hidden_state));
          result.Set("pooled", TensorObject::make(js, output.pooled));
          if (hidden_states) {
            Napi::Array states = Napi::Array::New(js, output.hidden_states.size());
            for (size_t i = 0; i < output.hidden_states.size(); ++i)
              states.Set(static_cast<uint32_t>(i), TensorObject::make(js, output.hidden_states[i]));
            result.Set("hiddenStates", states);
          }
          return result;
        };
      },
      CancelObject::get_optional(info[5]));
}

}  // namespace

void register_models(Napi::Env env, Napi::Object exports) {
  export_function<load_model>(env, exports, "loadModel");
  export_function<create_model>(env, exports, "createModel");
  export_function<model_state_dict>(env, exports, "modelStateDict");
  export_function<set_model_parameter>(env, exports, "setModelParameter");
  export_function<move_model>(env, exports, "moveModel");
  export_function<unet_forward>(env, exports, "unetForward");
  export_function<vae_encode>(env, exports, "vaeEncode");
  export_function<vae_decode>(env, exports, "vaeDecode");
  export_function<clip_text_forward>(env, exports, "clipTextForward");
}

}  // namespace ip2p
