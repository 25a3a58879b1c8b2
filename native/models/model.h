#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/config_value.h"
#include "core/weights.h"
#include "kernels/half_weights.h"
#include "kernels/ops.h"
#include "nn/module.h"

namespace ip2p {

/// A module tree with its weights on one device in one type.
class Model : public Module {
 public:
  /// Builds the tree of a configuration, without weights. `kind` is the class name of lib/models/.
  static std::shared_ptr<Model> create(const std::string& kind, const ConfigValue& config,
                                       AttentionBackend attention);

  /// Maps a tensor name found in a file to the name used here, for names written by older versions; an empty
  /// result means that the tensor is to be ignored (old position ids).
  virtual std::string canonical_name(const std::string& name) const { return name; }

  /// Adapts a file's tensor to a parameter of another shape, if the model supports it; undefined if not.
  virtual at::Tensor adapted(const std::string&, const at::Tensor&, at::IntArrayRef) const { return {}; }

  /// Whether a parameter of a new model is zero.
  virtual bool starts_at_zero(const std::string&) const { return false; }

  /// Reads every parameter from the safetensors files: from all their tensors or, if `views` are given, from
  /// these of the first file only. ERR_STATE_DICT lists missing, unexpected and misshapen
  /// tensors; ERR_NOT_FINITE names the first weight that holds NaN or infinity in `dtype`, unless allowed.
  void load(const std::vector<std::string>& files, const std::optional<std::vector<TensorView>>& views,
            c10::ScalarType dtype, c10::Device device, bool allow_not_finite);

  /// ERR_INVALID_ARGUMENT for a model that does not support it.
  void quantize() override;

  /// Gives every parameter a random float32 value, as PyTorch's layers do: weights and biases uniform within
  /// ±1/√fan-in, norms 1 and 0, embeddings normal with a deviation of 0.02. Some start at zero.
  void initialize(std::optional<at::Generator> generator, c10::Device device);

  /// Moves the weights and drops tensors derived from them. If it fails, the weights stay where they were.
  /// ERR_INVALID_ARGUMENT for a model in training.
  void to(c10::Device device);

  c10::Device device() const { return device_; }
  c10::ScalarType dtype() const { return dtype_; }
  /// The type in which it computes: inputs are brought to it, and results to dtype().
  c10::ScalarType arithmetic() const { return arithmetic_type(dtype_, device()); }
  int64_t parameter_bytes();

  /// The names of the adapters beside the weights that passes can ask for.
  const std::vector<std::string>& adapters() const { return adapters_; }
  void set_adapters(std::vector<std::string> names) { adapters_ = std::move(names); }

  /// Overwrites one parameter with a tensor of the same shape.
  void set_parameter(const std::string& name, const at::Tensor& value);

 private:
  std::atomic<c10::Device> device_{c10::Device(c10::kCPU)};  // also read outside the thread of its jobs
  c10::ScalarType dtype_ = c10::kFloat;
  std::vector<std::string> adapters_;
};

}  // namespace ip2p
