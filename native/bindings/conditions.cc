#include "bindings/conditions.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "bindings/convert.h"
#include "core/dtype.h"
#include "core/error.h"
#include "core/utf8.h"

namespace ip2p {
namespace {

bool absent(const Napi::Value& value) {
  return value.IsNull() || value.IsUndefined();
}

at::Tensor optional_tensor(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  return absent(value) ? at::Tensor() : TensorObject::get(value);
}

Residuals residuals_argument(const Napi::Value& value) {
  if (absent(value)) return {};
  const Napi::Object object = object_argument(value, "residuals");
  return {tensors_argument(object.Get("down"), "downBlockAdditionalResiduals"),
          TensorObject::get(object.Get("mid"))};
}

DeepFeatures deep_features_argument(const Napi::Value& value, bool cache) {
  if (absent(value)) return DeepFeatures::Forget;
  const std::string name = string_argument(value, "deepFeatures");
  if (name == "forget") return DeepFeatures::Forget;
  if (name != "keep" && name != "reuse")
    throw Error("ERR_INVALID_ARGUMENT", "unknown deepFeatures \"" + name + "\"");
  if (!cache) throw Error("ERR_INVALID_ARGUMENT", "deepFeatures needs a cache");
  return name == "keep" ? DeepFeatures::Keep : DeepFeatures::Reuse;
}

/// Expands a single row of embeddings to the batch.
at::Tensor embeddings_for(const at::Tensor& embeddings, const char* name, int64_t rows) {
  if (embeddings.size(0) == rows) return embeddings;
  if (embeddings.size(0) != 1)
    throw Error("ERR_INVALID_ARGUMENT", std::string(name) + " has " + std::to_string(embeddings.size(0)) +
                                            " rows for a batch of " + std::to_string(rows));
  std::vector<int64_t> shape(static_cast<size_t>(embeddings.dim()), -1);
  shape[0] = rows;
  return embeddings.expand(shape);
}

void check_sample_rows(const std::vector<int64_t>& rows, int64_t sample, int64_t text) {
  if (static_cast<int64_t>(rows.size()) != text)
    throw Error("ERR_INVALID_ARGUMENT", "sampleRows has " + std::to_string(rows.size()) + " entries for " +
                                            std::to_string(text) + " rows of text");
  for (const int64_t row : rows)
    if (row < 0 || row >= sample)
      throw Error("ERR_INVALID_ARGUMENT", "sampleRows holds " + std::to_string(row) + " for a sample of " +
                                              std::to_string(sample) + " rows");
}

}  // namespace

at::Tensor prepared(const at::Tensor& x, const Model& model) {
  return x.is_floating_point() ? x.to(model.device(), model.arithmetic()) : x.to(model.device());
}

at::Tensor rounded(const at::Tensor& result, const Model& model) {
  return result.defined() && result.scalar_type() == model.arithmetic() ? result.to(model.dtype()) : result;
}

void require_dims(const at::Tensor& x, int64_t dims, const char* name, const char* shape) {
  if (x.dim() != dims)
    throw Error("ERR_INVALID_ARGUMENT", std::string(name) + " must be " + shape + ", not of " +
                                            std::to_string(x.dim()) + " dimensions");
  if (x.numel() == 0) throw Error("ERR_INVALID_ARGUMENT", std::string(name) + " is empty");
}

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

std::vector<AdapterWeights> adapters_argument(const Napi::Value& value) {
  if (absent(value)) return {};
  return objects_argument(value, "adapters", [](const Napi::Object& each) {
    AdapterWeights weights{string_argument(each.Get("name"), "name"),
                           numbers_argument(each.Get("rows"), "rows")};
    for (const double row : weights.rows)
      if (!std::isfinite(row))
        throw Error("ERR_INVALID_ARGUMENT", "the weights of an adapter are finite numbers");
    return weights;
  });
}

void require_adapters(const std::vector<AdapterWeights>& adapters, const Model& model, int64_t rows) {
  for (const auto& [name, weights] : adapters) {
    const auto& known = model.adapters();
    if (std::find(known.begin(), known.end(), name) == known.end())
      throw Error("ERR_INVALID_ARGUMENT",
                  "there is no adapter " + in_quotes(name) + " beside the model's weights");
    const auto count = static_cast<int64_t>(weights.size());
    if (count != 1 && count != rows)
      throw Error("ERR_INVALID_ARGUMENT", "the adapter " + in_quotes(name) + " has weights for " +
                                              std::to_string(count) + " rows, not for " +
                                              std::to_string(rows));
  }
}

std::string description(const std::vector<AdapterWeights>& adapters) {
  std::ostringstream text;
  text << std::hexfloat;
  for (const auto& [name, rows] : adapters) {
    text << name.size() << ':' << name;
    for (const double row : rows) text << ' ' << row;
  }
  return text.str();
}

GivenConditions conditions_argument(const Napi::Value& value) {
  const Napi::Object object = object_argument(value, "conditions");
  GivenConditions given;
  Conditions& conditions = given.conditions;
  conditions.embeddings = optional_tensor(object, "embeddings");
  const Napi::Value ids = object.Get("inputIds");
  if (!absent(ids)) given.input_ids = tensors_argument(ids, "inputIds");
  conditions.text_embeds = optional_tensor(object, "textEmbeds");
  conditions.time_ids = optional_tensor(object, "timeIds");
  conditions.image_embeds = optional_tensor(object, "imageEmbeds");
  conditions.class_labels = optional_tensor(object, "classLabels");
  conditions.timestep_cond = optional_tensor(object, "timestepCond");
  conditions.residuals = residuals_argument(object.Get("residuals"));
  const Napi::Value rows = object.Get("sampleRows");
  if (!absent(rows)) {
    conditions.sample_rows = integers_argument(rows, "sampleRows");
    if (conditions.sample_rows.empty()) throw Error("ERR_INVALID_ARGUMENT", "sampleRows is empty");
  }
  conditions.adapters = adapters_argument(object.Get("adapters"));
  given.counted = UNetCacheObject::get_optional(object.Get("cache"));
  given.cache = given.counted ? given.counted->get() : nullptr;
  conditions.cache = given.cache.get();
  conditions.deep_features = deep_features_argument(object.Get("deepFeatures"), given.cache != nullptr);
  return given;
}

Conditions GivenConditions::prepared(const Model& model, int64_t rows) const {
  const auto ready = [&](const at::Tensor& x) { return x.defined() ? ip2p::prepared(x, model) : x; };
  Conditions result = conditions;
  // The rows of the pass are those of the text or, for a model without it, of the image embeddings.
  const bool text = result.embeddings.defined();
  at::Tensor& leading = text ? result.embeddings : result.image_embeds;
  if (leading.defined()) {
    const char* const name = text ? "encoderHiddenStates" : "imageEmbeds";
    require_dims(leading, text ? 3 : 2, name, text ? "[B,T,D]" : "[B,E]");
    if (result.sample_rows.empty())
      leading = embeddings_for(leading, name, rows);
    else
      check_sample_rows(result.sample_rows, rows, leading.size(0));
  }
  require_adapters(result.adapters, model, result.rows());
  result.embeddings = ready(result.embeddings);
  // Sizes and labels are numbers that get an embedding: rounding them to the model's type would change them.
  const auto exact = [&](const at::Tensor& x) { return x.defined() ? x.to(model.device()) : x; };
  result.text_embeds = ready(result.text_embeds);
  result.time_ids = exact(result.time_ids);
  result.image_embeds = ready(result.image_embeds);
  result.class_labels = exact(result.class_labels);
  result.timestep_cond = ready(result.timestep_cond);
  for (at::Tensor& residual : result.residuals.down) residual = ready(residual);
  result.residuals.mid = ready(result.residuals.mid);
  return result;
}

}  // namespace ip2p
