#include "models/model.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <c10/util/accumulate.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <map>
#include <set>

#include "core/cancel.h"
#include "core/dtype.h"
#include "core/error.h"
#include "core/finite.h"
#include "core/utf8.h"
#include "core/weights.h"
#include "models/autoencoder_kl.h"
#include "models/clip_text_model.h"
#include "models/clip_vision_model.h"
#include "models/controlnet.h"
#include "models/prior_transformer.h"
#include "models/safety_checker.h"
#include "models/unet_2d_condition.h"
#include "models/vq_model.h"

namespace ip2p {
namespace {

constexpr size_t kMaxListed = 8;

std::string shape_text(at::IntArrayRef shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    if (i > 0) text += ',';
    text += std::to_string(shape[i]);
  }
  return text + "]";
}

/// "missing: a, b (and 12 more)"; nothing for an empty list.
std::string listing(const char* what, const std::vector<std::string>& names) {
  if (names.empty()) return "";
  std::string text = std::string("; ") + what + ": ";
  for (size_t i = 0; i < std::min(names.size(), kMaxListed); ++i) text += (i ? ", " : "") + names[i];
  if (names.size() > kMaxListed) text += " (and " + std::to_string(names.size() - kMaxListed) + " more)";
  return text;
}

/// What a file holds for a parameter.
struct Stored {
  const WeightFile* file;
  TensorInfo info;
  bool transposed = false;

  std::vector<int64_t> shape() const {
    return transposed ? std::vector<int64_t>(info.shape.rbegin(), info.shape.rend()) : info.shape;
  }
  WeightFile::Read read(c10::ScalarType dtype, c10::Device device, bool look_if_finite) const {
    const auto [value, finite] = file->read(info, dtype, device, look_if_finite);
    return {transposed ? value.t().contiguous() : value, finite};
  }
};

/// The tensors of all files by their own names, or the views of the first file.
std::vector<Stored> stored_tensors(const std::vector<std::unique_ptr<WeightFile>>& files,
                                   const std::optional<std::vector<TensorView>>& views) {
  std::vector<Stored> stored;
  if (!views) {
    for (const auto& file : files)
      for (const TensorInfo& info : file->tensors()) stored.push_back({file.get(), info});
    return stored;
  }
  if (files.empty()) return stored;
  for (const TensorView& view : *views) {
    if (view.transposed && view.shape.size() != 2)
      throw Error("ERR_INVALID_ARGUMENT", "only a matrix can be transposed, not " + in_quotes(view.source));
    stored.push_back({files.front().get(), files.front()->info_of(view), view.transposed});
  }
  return stored;
}

struct Reading {
  const Stored* stored;
  Parameter* parameter;
};

[[noreturn]] void refuse_not_finite(const std::string& name, const WeightFile& file, c10::ScalarType dtype) {
  throw Error("ERR_NOT_FINITE",
              file.path() + ": the weight " + in_quotes(name) + " holds NaN or infinity in " +
                  dtype_name(dtype) +
                  ": the file is damaged, the training it comes from diverged, or the type is too narrow for "
                  "its values");
}

/// Reads with all threads, since copying, converting and the system's zeroing of new memory take the time.
/// Each free thread takes the next tensor, since sizes differ by a factor of a thousand. They are taken in
/// order, so that the first tensor that is not finite is reported deterministically.
void read_all(const std::vector<Reading>& readings, c10::ScalarType dtype, c10::Device device,
              bool allow_not_finite) {
  std::atomic<size_t> next{0};
  std::atomic<bool> failed{false};
  std::vector<char> finite(readings.size(), 1);
  at::parallel_for(0, at::get_num_threads(), 1, [&](int64_t, int64_t) {
    for (size_t i; !failed && (i = next.fetch_add(1)) < readings.size();) {
      try {
        check_cancelled();
        const auto& [stored, parameter] = readings[i];
        // Quantized weights are rounded only once.
        const auto read = stored->read(parameter->int8() ? at::kFloat : dtype, device, !allow_not_finite);
        if (!read.finite) {
          finite[i] = 0;
          failed = true;
        }
        parameter->set(read.tensor);
      } catch (...) {
        failed = true;
        throw;
      }
    }
  });
  const auto first = std::find(finite.begin(), finite.end(), 0);
  if (first == finite.end()) return;
  const Stored& stored = *readings[static_cast<size_t>(first - finite.begin())].stored;
  refuse_not_finite(stored.info.name, *stored.file, dtype);
}

}  // namespace

std::shared_ptr<Model> Model::create(const std::string& kind, const ConfigValue& config,
                                     AttentionBackend attention) {
  if (kind == "UNet2DConditionModel")
    return std::make_shared<UNet2DConditionModel>(UNet2DConditionConfig(config), attention);
  if (kind == "AutoencoderKL") return std::make_shared<AutoencoderKL>(AutoencoderKLConfig(config), attention);
  if (kind == "CLIPTextModel" || kind == "CLIPTextModelWithProjection")
    return std::make_shared<CLIPTextModel>(CLIPTextConfig(config, attention));
  if (kind == "CLIPVisionModelWithProjection")
    return std::make_shared<CLIPVisionModelWithProjection>(CLIPVisionConfig(config, attention));
  if (kind == "ControlNetModel")
    return std::make_shared<ControlNetModel>(ControlNetConfig(config), attention);
  if (kind == "PriorTransformer")
    return std::make_shared<PriorTransformer>(PriorTransformerConfig(config), attention);
  if (kind == "StableDiffusionSafetyChecker")
    return std::make_shared<StableDiffusionSafetyChecker>(CLIPVisionConfig(config, attention));
  if (kind == "VQModel") return std::make_shared<VQModel>(VQModelConfig(config), attention);
  throw Error("ERR_CONFIG", "unknown model class \"" + kind + "\"");
}

void Model::load(const std::vector<std::string>& files, const std::optional<std::vector<TensorView>>& views,
                 c10::ScalarType dtype, c10::Device device, bool allow_not_finite) {
  std::map<std::string, Parameter*> wanted;
  for (const auto& [name, parameter] : declared_parameters()) wanted.emplace(name, parameter);

  std::vector<std::unique_ptr<WeightFile>> opened;
  for (const std::string& path : files) opened.push_back(std::make_unique<WeightFile>(path));
  const std::vector<Stored> all = stored_tensors(opened, views);

  std::vector<std::string> unexpected, misshapen;
  std::set<std::string> found;
  std::vector<Reading> readings;
  for (const Stored& stored : all) {
    const TensorInfo& info = stored.info;
    const std::string name = canonical_name(info.name);
    if (name.empty()) continue;
    const auto slot = wanted.find(name);
    if (slot == wanted.end()) {
      unexpected.push_back(in_quotes(info.name));
      continue;
    }
    if (!found.insert(name).second)
      throw Error("ERR_STATE_DICT", "tensor " + in_quotes(info.name) + " appears twice, the second time in " +
                                        stored.file->path());
    Parameter& parameter = *slot->second;
    const std::vector<int64_t> shape = stored.shape();
    if (shape == parameter.shape) {
      readings.push_back({&stored, &parameter});
      continue;
    }
    const auto read = stored.read(dtype, device, !allow_not_finite);
    parameter.value = adapted(name, read.tensor, parameter.shape);
    if (parameter.value.defined()) {
      if (!read.finite) refuse_not_finite(info.name, *stored.file, dtype);
      continue;
    }
    misshapen.push_back(in_quotes(info.name) + " is " + shape_text(shape) + ", the configuration asks for " +
                        shape_text(parameter.shape));
  }

  std::vector<std::string> missing;
  for (const auto& [name, parameter] : wanted)
    if (!found.count(name)) missing.push_back(name);
  if (!missing.empty() || !unexpected.empty() || !misshapen.empty())
    throw Error("ERR_STATE_DICT", "the weights do not fit the configuration (" +
                                      (files.empty() ? std::string("no file") : files.front()) + ")" +
                                      listing("missing", missing) + listing("unexpected", unexpected) +
                                      listing("misshapen", misshapen));
  read_all(readings, dtype, device, allow_not_finite);
  device_ = device;
  dtype_ = dtype;
}

void Model::quantize() {
  throw Error("ERR_INVALID_ARGUMENT", "only a UNet can be quantized");
}

void Model::initialize(std::optional<at::Generator> generator, c10::Device device) {
  int64_t fan_in = 0;  // of the last weight's layer; its bias comes next
  for (const auto& [name, parameter] : declared_parameters()) {
    const bool weight = name.size() > 6 && name.compare(name.size() - 6, 6, "weight") == 0;
    const auto& shape = parameter->shape;
    if (weight) fan_in = shape.size() > 1 ? c10::multiply_integers(shape.begin() + 1, shape.end()) : 0;
    const double bound = fan_in > 0 ? 1 / std::sqrt(static_cast<double>(fan_in)) : 0;
    at::Tensor value = at::empty(shape, at::kFloat);
    if (starts_at_zero(name))
      value.zero_();
    else if (name.find("embedding.weight") != std::string::npos)
      value.normal_(0, 0.02, generator);
    else if (!parameter->trained)
      value.normal_(0, 1, generator);  // random frequencies
    else if (fan_in > 0)
      value.uniform_(-bound, bound, generator);
    else
      value.fill_(weight ? 1 : 0);
    parameter->value = value.to(device);
  }
  device_ = device;
  dtype_ = c10::kFloat;
}

void Model::to(c10::Device device) {
  if (device == device_.load()) return;
  const auto parameters = declared_parameters();
  // All are copied before any is released, since memory may run out meanwhile.
  std::vector<at::Tensor> moved;
  for (const auto& [name, parameter] : parameters) moved.push_back(parameter->copy_to(device));
  std::vector<std::pair<Parameter*, at::Tensor>> factors;
  for (const auto& [name, parameter] : parameters)
    for (const auto& adapter : parameter->adapters())
      for (Parameter* factor : {&adapter->down, &adapter->up})
        factors.emplace_back(factor, factor->copy_to(device));
  for (size_t i = 0; i < moved.size(); ++i) parameters[i].parameter->replace(std::move(moved[i]));
  for (auto& [factor, copy] : factors) factor->replace(std::move(copy));
  device_ = device;
}

void Model::set_parameter(const std::string& name, const at::Tensor& value) {
  for (const auto& [known, parameter] : named_parameters()) {
    if (known != name) continue;
    if (!value.sizes().equals(parameter->shape))
      throw Error("ERR_STATE_DICT",
                  name + " is " + shape_text(parameter->shape) + ", not " + shape_text(value.sizes()));
    parameter->value.detach().copy_(value);
    return;
  }
  throw Error("ERR_STATE_DICT", "unknown parameter " + name);
}

int64_t Model::parameter_bytes() {
  const auto of_type = static_cast<int64_t>(c10::elementSize(dtype_));
  int64_t bytes = 0;
  for (const auto& [name, parameter] : declared_parameters())
    bytes += c10::multiply_integers(parameter->shape) * (parameter->int8() ? 1 : of_type);
  return bytes;
}

}  // namespace ip2p
