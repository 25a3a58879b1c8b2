#include <c10/util/accumulate.h>

#include "bindings/conditions.h"
#include "bindings/convert.h"
#include "bindings/objects.h"
#include "bindings/register.h"
#include "core/device.h"
#include "core/dtype.h"
#include "core/error.h"
#include "kernels/int8.h"
#include "models/autoencoder_kl.h"
#include "models/clip_text_model.h"
#include "models/low_rank.h"

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

/// Applies the quantization option.
void quantize_for(const std::string& quantization, Model& model, c10::ScalarType dtype, c10::Device device) {
  if (quantization == "none") return;
  if (quantization != "int8")
    throw Error("ERR_INVALID_ARGUMENT", "unknown quantization \"" + quantization + "\"");
  if (!device.is_cpu() || (dtype != at::kFloat && dtype != at::kBFloat16))
    throw Error("ERR_INVALID_ARGUMENT", "quantization \"int8\" is for the CPU in float32 or bfloat16");
  if (!has_int8())
    throw Error("ERR_INVALID_ARGUMENT",
                "quantization \"int8\" needs a processor with AVX2 or NEON, and a libtorch with oneDNN");
  model.quantize();
}

/// [{ source, name, shape, first, transposed }], or null
std::optional<std::vector<TensorView>> views_argument(const Napi::Value& value) {
  if (value.IsNull() || value.IsUndefined()) return std::nullopt;
  return objects_argument(value, "views", [](const Napi::Object& view) {
    return TensorView{
        string_argument(view.Get("source"), "source"), string_argument(view.Get("name"), "name"),
        integers_argument(view.Get("shape"), "shape"), integer_argument(view.Get("first"), "first"),
        bool_argument(view.Get("transposed"), "transposed")};
  });
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

/// countModelParameters(kind, config): numbers of weights, of products and others, in a model of this
/// configuration
Napi::Value count_model_parameters(const Info& info) {
  const std::string kind = string_argument(info[0], "kind");
  const ConfigValue config = config_argument(info[1]);
  return submit(info.Env(), c10::Device(c10::kCPU), [=]() -> Finish {
    double products = 0, others = 0;
    const auto model = Model::create(kind, config, AttentionBackend::Auto);
    for (const auto& [name, parameter] : model->declared_parameters())
      (parameter->multiplies ? products : others) +=
          static_cast<double>(c10::multiply_integers(parameter->shape));
    return [products, others](Napi::Env js) -> Napi::Value {
      Napi::Object result = Napi::Object::New(js);
      result.Set("products", Napi::Number::New(js, products));
      result.Set("others", Napi::Number::New(js, others));
      return result;
    };
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

Napi::Value shapes_to_js(Napi::Env js,
                         const std::vector<std::pair<std::string, std::vector<int64_t>>>& shapes) {
  Napi::Object result = Napi::Object::New(js);
  for (const auto& [name, shape] : shapes) result.Set(name, to_js(js, shape));
  return result;
}

/// modelParameterShapes(model): name → shape
Napi::Value model_parameter_shapes(const Info& info) {
  const auto model = ModelObject::get(info[0]);
  return submit_with(info.Env(), model, [=]() -> Finish {
    return [shapes = parameter_shapes(*model)](Napi::Env js) { return shapes_to_js(js, shapes); };
  });
}

/// declaredParameterShapes(kind, config): the same of a model that is not made
Napi::Value declared_parameter_shapes(const Info& info) {
  const std::string kind = string_argument(info[0], "kind");
  const ConfigValue config = config_argument(info[1]);
  return submit(info.Env(), c10::Device(c10::kCPU), [=]() -> Finish {
    const auto model = Model::create(kind, config, AttentionBackend::Auto);
    return [shapes = parameter_shapes(*model)](Napi::Env js) { return shapes_to_js(js, shapes); };
  });
}

at::Tensor original_argument(const Napi::Value& value) {
  return value.IsNull() || value.IsUndefined() ? at::Tensor() : TensorObject::get(value);
}

/// { up, down, scale }
LowRankTerm term_argument(const Napi::Object& term) {
  return {TensorObject::get(term.Get("up")), TensorObject::get(term.Get("down")),
          number_argument(term.Get("scale"), "scale")};
}

/// [{ name, original or null, terms: [{ up, down, scale }] }]
std::vector<WeightChange> changes_argument(const Napi::Value& value) {
  return objects_argument(value, "changes", [](const Napi::Object& change) {
    return WeightChange{string_argument(change.Get("name"), "name"),
                        original_argument(change.Get("original")),
                        objects_argument(change.Get("terms"), "terms", term_argument)};
  });
}

/// changeModelWeights(model, changes): the originals, in the order of the changes
Napi::Value change_model_weights(const Info& info) {
  const auto model = ModelObject::get(info[0]);
  const std::vector<WeightChange> changes = changes_argument(info[1]);
  return submit_with(info.Env(), model, [=]() -> Finish {
    return [originals = change_weights(*model, changes)](Napi::Env js) {
      Napi::Array result = Napi::Array::New(js, originals.size());
      for (size_t i = 0; i < originals.size(); ++i)
        result.Set(static_cast<uint32_t>(i), TensorObject::make(js, originals[i]));
      return result;
    };
  });
}

/// [{ name, byRow, terms: [{ name, up, down, scale }] }]
std::vector<PlacedAdapter> placed_argument(const Napi::Value& value) {
  return objects_argument(value, "adapters", [](const Napi::Object& adapter) {
    const auto named_term = [](const Napi::Object& term) {
      return std::pair(string_argument(term.Get("name"), "name"), term_argument(term));
    };
    return PlacedAdapter{string_argument(adapter.Get("name"), "name"),
                         bool_argument(adapter.Get("byRow"), "byRow"),
                         objects_argument(adapter.Get("terms"), "terms", named_term)};
  });
}

/// placeModelAdapters(model, adapters): in place of those that are beside the weights
Napi::Value place_model_adapters(const Info& info) {
  const auto model = ModelObject::get(info[0]);
  const std::vector<PlacedAdapter> adapters = placed_argument(info[1]);
  return submit_with(info.Env(), model, void_work([=] { place_adapters(*model, adapters); }));
}

/// moveModel(model, device): takes place after the jobs that are queued on the device it leaves
Napi::Value move_model(const Info& info) {
  const auto model = ModelObject::get(info[0]);
  const c10::Device device = parse_device(string_argument(info[1], "device"));
  return submit_with(info.Env(), model, void_work([=] { model->to(device); }));
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
                       require_dims(x, 4, "the image", "[B,C,H,W]");
                       return rounded(model->encode(prepared(x, *model), slicing, tiling), *model);
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
                       return rounded(model->decode(prepared(z, *model), slicing, tiling), *model);
                     }),
                     CancelObject::get_optional(info[4]));
}

/// clipTextForward(model, inputIds, hiddenStates, attentionMask, skippedLayers, adapters, cancel): {
/// lastHiddenState, pooled, textEmbeds?, hiddenStates? }
Napi::Value clip_text_forward(const Info& info) {
  const auto model = model_argument<CLIPTextModel>(info[0], "CLIPTextModel");
  const at::Tensor ids = TensorObject::get(info[1]);
  const bool hidden_states = bool_argument(info[2], "hiddenStates");
  const at::Tensor mask = info[3].IsNull() ? at::Tensor() : TensorObject::get(info[3]);
  const int64_t skipped = integer_argument(info[4], "skippedLayers");
  const std::vector<AdapterWeights> adapters = adapters_argument(info[5]);
  return submit_with(
      info.Env(), model,
      [=]() -> Finish {
        require_ids(ids, model->vocabulary());
        if (mask.defined() && mask.sizes() != ids.sizes())
          throw Error("ERR_INVALID_ARGUMENT", "attentionMask must have the shape of inputIds");
        require_adapters(adapters, *model, ids.size(0));
        const AdapterRows rows(adapters);
        CLIPTextOutput output = model->forward(prepared(ids, *model), hidden_states,
                                               mask.defined() ? prepared(mask, *model) : mask, skipped);
        for (at::Tensor* const x : {&output.last_hidden_state, &output.pooled, &output.text_embeds})
          *x = rounded(*x, *model);
        for (at::Tensor& state : output.hidden_states) state = rounded(state, *model);
        return [output, hidden_states](Napi::Env js) -> Napi::Value {
          Napi::Object result = Napi::Object::New(js);
          result.Set("lastHiddenState", TensorObject::make(js, output.last_hidden_state));
          result.Set("pooled", TensorObject::make(js, output.pooled));
          if (output.text_embeds.defined())
            result.Set("textEmbeds", TensorObject::make(js, output.text_embeds));
          if (hidden_states) {
            Napi::Array states = Napi::Array::New(js, output.hidden_states.size());
            for (size_t i = 0; i < output.hidden_states.size(); ++i)
              states.Set(static_cast<uint32_t>(i), TensorObject::make(js, output.hidden_states[i]));
            result.Set("hiddenStates", states);
          }
          return result;
        };
      },
      CancelObject::get_optional(info[6]));
}

}  // namespace

void register_models(Napi::Env env, Napi::Object exports) {
  export_function<load_model>(env, exports, "loadModel");
  export_function<create_model>(env, exports, "createModel");
  export_function<count_model_parameters>(env, exports, "countModelParameters");
  export_function<model_state_dict>(env, exports, "modelStateDict");
  export_function<set_model_parameter>(env, exports, "setModelParameter");
  export_function<model_parameter_shapes>(env, exports, "modelParameterShapes");
  export_function<declared_parameter_shapes>(env, exports, "declaredParameterShapes");
  export_function<change_model_weights>(env, exports, "changeModelWeights");
  export_function<place_model_adapters>(env, exports, "placeModelAdapters");
  export_function<move_model>(env, exports, "moveModel");
  export_function<vae_encode>(env, exports, "vaeEncode");
  export_function<vae_decode>(env, exports, "vaeDecode");
  export_function<clip_text_forward>(env, exports, "clipTextForward");
}

}  // namespace ip2p
