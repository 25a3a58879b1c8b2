// Tensor arithmetic for the schedulers and pipelines in TypeScript. Every function queues one job on the
// device of its first tensor and resolves to a new tensor.
#include <ATen/ops/abs.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/log.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/quantile.h>
#include <ATen/ops/round.h>
#include <ATen/ops/sqrt.h>
#include <ATen/ops/std.h>
#include <ATen/ops/tensor.h>

#include <map>

#include "bindings/convert.h"
#include "bindings/objects.h"
#include "bindings/register.h"
#include "core/device.h"
#include "core/dtype.h"
#include "core/error.h"
#include "core/finite.h"

namespace ip2p {

Work tensor_work(std::function<at::Tensor()> work) {
  return [work = std::move(work)]() -> Finish {
    at::Tensor result = work();
    return [result = std::move(result)](Napi::Env js) { return TensorObject::make(js, result); };
  };
}

Work void_work(std::function<void()> work) {
  return [work = std::move(work)]() -> Finish {
    work();
    return [](Napi::Env js) { return js.Undefined(); };
  };
}

Napi::Value submit_tensor(Napi::Env env, c10::Device device, std::function<at::Tensor()> work,
                          std::shared_ptr<CancelFlag> cancel) {
  return submit(env, device, tensor_work(std::move(work)), std::move(cancel));
}

Napi::Value submit_void(Napi::Env env, c10::Device device, std::function<void()> work) {
  return submit(env, device, void_work(std::move(work)));
}

namespace {

using Info = Napi::CallbackInfo;

std::optional<c10::ScalarType> optional_dtype(const Napi::Value& value) {
  if (value.IsUndefined() || value.IsNull()) return std::nullopt;
  return parse_dtype(string_argument(value, "dtype"));
}

/// The accumulation type: float64 for float64, float32 otherwise.
c10::ScalarType compute_type(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

/// One number per row of x, shaped to broadcast over the row.
at::Tensor row_values(const std::vector<double>& values, const at::Tensor& x) {
  if (x.dim() == 0 || static_cast<int64_t>(values.size()) != x.size(0))
    throw Error("ERR_INVALID_ARGUMENT", std::to_string(values.size()) + " row values for a tensor of " +
                                            std::to_string(x.dim() == 0 ? 0 : x.size(0)) + " rows");
  std::vector<int64_t> shape(x.dim(), 1);
  shape[0] = x.size(0);
  return at::tensor(values, at::TensorOptions().dtype(at::kDouble))
      .to(x.device(), compute_type(x))
      .view(shape);
}

void same_shapes(const std::vector<at::Tensor>& tensors) {
  for (const at::Tensor& tensor : tensors)
    if (!tensor.sizes().equals(tensors[0].sizes()))
      throw Error("ERR_INVALID_ARGUMENT", "the tensors of a linear combination differ in shape");
}

Napi::Value from_data(const Info& info) {
  const std::vector<int64_t> shape = shape_argument(info[2], "shape");
  return TensorObject::make(info.Env(),
                            from_typed_array(info[0], parse_dtype(string_argument(info[1], "dtype")), shape));
}

Napi::Value to_data(const Info& info) {
  const at::Tensor tensor = TensorObject::get(info[0]);
  return submit(info.Env(), tensor.device(), [tensor]() -> Finish {
    const auto type = tensor.scalar_type();
    const auto wide = type == at::kHalf || type == at::kBFloat16 ? at::kFloat : type;
    // Always a copy, since JavaScript may write into the result.
    at::Tensor copy = tensor.to(at::kCPU, wide, false, true).contiguous();
    if (copy.is_alias_of(tensor)) copy = copy.clone();
    return [copy](Napi::Env js) { return to_typed_array(js, copy); };
  });
}

Napi::Value full(const Info& info) {
  const auto shape = shape_argument(info[0], "shape");
  const double value = number_argument(info[1], "value");
  const auto dtype = parse_dtype(string_argument(info[2], "dtype"));
  const c10::Device device = parse_device(string_argument(info[3], "device"));
  return submit_tensor(info.Env(), device, [=] {
    return at::full(shape, value, at::TensorOptions().dtype(dtype).device(device));
  });
}

Napi::Value cat(const Info& info) {
  const auto tensors = tensors_argument(info[0], "tensors");
  const int64_t dim = integer_argument(info[1], "dim");
  if (tensors.empty()) throw Error("ERR_INVALID_ARGUMENT", "concatenation needs at least one tensor");
  return submit_tensor(info.Env(), tensors[0].device(), [=] { return at::cat(tensors, dim); });
}

Napi::Value linear_combination(const Info& info) {
  const auto coefficients = numbers_argument(info[0], "coefficients");
  const auto tensors = tensors_argument(info[1], "tensors");
  const auto dtype = optional_dtype(info[2]);
  if (tensors.empty() || tensors.size() != coefficients.size())
    throw Error("ERR_INVALID_ARGUMENT", "a linear combination needs one coefficient for each tensor");
  return submit_tensor(info.Env(), tensors[0].device(), [=] {
    same_shapes(tensors);
    const auto type = compute_type(tensors[0]);
    at::Tensor sum = tensors[0].to(type) * coefficients[0];
    for (size_t i = 1; i < tensors.size(); ++i) sum = sum + tensors[i].to(type) * coefficients[i];
    return sum.to(dtype.value_or(tensors[0].scalar_type()));
  });
}

Napi::Value linear_combination_rows(const Info& info) {
  std::vector<std::vector<double>> coefficients;
  if (!info[0].IsArray()) throw Error("ERR_INVALID_ARGUMENT", "argument \"coefficients\" must be an array");
  const auto lists = info[0].As<Napi::Array>();
  for (uint32_t i = 0; i < lists.Length(); ++i)
    coefficients.push_back(numbers_argument(lists.Get(i), "coefficients"));
  const auto tensors = tensors_argument(info[1], "tensors");
  if (tensors.empty() || tensors.size() != coefficients.size())
    throw Error("ERR_INVALID_ARGUMENT",
                "a linear combination needs one list of coefficients for each tensor");
  return submit_tensor(info.Env(), tensors[0].device(), [=] {
    same_shapes(tensors);
    const auto type = compute_type(tensors[0]);
    at::Tensor sum = tensors[0].to(type) * row_values(coefficients[0], tensors[0]);
    for (size_t i = 1; i < tensors.size(); ++i)
      sum = sum + tensors[i].to(type) * row_values(coefficients[i], tensors[i]);
    return sum.to(tensors[0].scalar_type());
  });
}

/// combineChunks(x, coefficients): the weighted sum of equal chunks of x along the first dimension
Napi::Value combine_chunks(const Info& info) {
  const at::Tensor x = TensorObject::get(info[0]);
  const auto coefficients = numbers_argument(info[1], "coefficients");
  const auto count = static_cast<int64_t>(coefficients.size());
  if (count == 0 || x.dim() == 0 || x.size(0) % count != 0)
    throw Error("ERR_INVALID_ARGUMENT",
                "the rows cannot be cut into " + std::to_string(count) + " equal parts");
  return submit_tensor(info.Env(), x.device(), [=] {
    const auto parts = x.to(compute_type(x)).chunk(count, 0);
    at::Tensor sum = parts[0] * coefficients[0];
    for (int64_t i = 1; i < count; ++i) sum = sum + parts[i] * coefficients[i];
    return sum.to(x.scalar_type());
  });
}

Napi::Value binary(const Info& info) {
  using Operation = at::Tensor (*)(const at::Tensor&, const at::Tensor&);
  static const std::map<std::string, Operation> operations{
      {"add", [](const at::Tensor& a, const at::Tensor& b) { return a + b; }},
      {"sub", [](const at::Tensor& a, const at::Tensor& b) { return a - b; }},
      {"mul", [](const at::Tensor& a, const at::Tensor& b) { return a * b; }},
      {"div", [](const at::Tensor& a, const at::Tensor& b) { return a / b; }},
  };
  const auto found = operations.find(string_argument(info[0], "operation"));
  if (found == operations.end()) throw Error("ERR_INVALID_ARGUMENT", "unknown binary operation");
  const Operation operation = found->second;
  const at::Tensor a = TensorObject::get(info[1]);
  if (info[2].IsNumber()) {
    const double b = number_argument(info[2], "operand");
    return submit_tensor(info.Env(), a.device(), [=] {
      return operation(a, at::full({}, b, at::TensorOptions().dtype(at::kDouble).device(a.device())));
    });
  }
  const at::Tensor b = TensorObject::get(info[2]);
  return submit_tensor(info.Env(), a.device(), [=] { return operation(a, b); });
}

Napi::Value unary(const Info& info) {
  using Operation = at::Tensor (*)(const at::Tensor&);
  static const std::map<std::string, Operation> operations{
      {"neg", [](const at::Tensor& x) { return -x; }},
      {"abs", [](const at::Tensor& x) { return at::abs(x); }},
      {"exp", [](const at::Tensor& x) { return at::exp(x); }},
      {"log", [](const at::Tensor& x) { return at::log(x); }},
      {"sqrt", [](const at::Tensor& x) { return at::sqrt(x); }},
      {"round", [](const at::Tensor& x) { return at::round(x); }},
      {"clone", [](const at::Tensor& x) { return x.clone(); }},
  };
  const auto found = operations.find(string_argument(info[0], "operation"));
  if (found == operations.end()) throw Error("ERR_INVALID_ARGUMENT", "unknown unary operation");
  const Operation operation = found->second;
  const at::Tensor x = TensorObject::get(info[1]);
  return submit_tensor(info.Env(), x.device(), [=] { return operation(x); });
}

Napi::Value clamp(const Info& info) {
  const at::Tensor x = TensorObject::get(info[0]);
  const double low = number_argument(info[1], "min"), high = number_argument(info[2], "max");
  return submit_tensor(info.Env(), x.device(), [=] { return at::clamp(x, low, high); });
}

Napi::Value clamp_rows(const Info& info) {
  const at::Tensor x = TensorObject::get(info[0]);
  const auto low = numbers_argument(info[1], "mins"), high = numbers_argument(info[2], "maxs");
  return submit_tensor(info.Env(), x.device(), [=] {
    return at::minimum(at::maximum(x, row_values(low, x).to(x.scalar_type())),
                       row_values(high, x).to(x.scalar_type()));
  });
}

/// The values of a tensor [N] as a list of numbers.
Finish numbers_result(const at::Tensor& values) {
  const at::Tensor wide = values.to(at::kCPU, at::kDouble).contiguous();
  const std::vector<double> numbers(wide.const_data_ptr<double>(),
                                    wide.const_data_ptr<double>() + wide.numel());
  return [numbers](Napi::Env js) -> Napi::Value {
    Napi::Array array = Napi::Array::New(js, numbers.size());
    for (size_t i = 0; i < numbers.size(); ++i)
      array.Set(static_cast<uint32_t>(i), Napi::Number::New(js, numbers[i]));
    return array;
  };
}

Napi::Value abs_quantile_rows(const Info& info) {
  const at::Tensor x = TensorObject::get(info[0]);
  const double q = number_argument(info[1], "q");
  return submit(info.Env(), x.device(), [=]() -> Finish {
    return numbers_result(at::quantile(at::abs(x.to(compute_type(x))).flatten(1), q, 1));
  });
}

/// stdRows(x): the unbiased standard deviation of each row
Napi::Value std_rows(const Info& info) {
  const at::Tensor x = TensorObject::get(info[0]);
  return submit(info.Env(), x.device(), [=]() -> Finish {
    if (x.dim() < 2 || x.size(0) == 0 || x.numel() / x.size(0) < 2)
      throw Error("ERR_INVALID_ARGUMENT", "standard deviations of rows need rows of two elements or more");
    return numbers_result(at::std(x.to(compute_type(x)).flatten(1), at::IntArrayRef{1}, true));
  });
}

/// Moves run on the thread of the CUDA device involved, as source or target.
Napi::Value to(const Info& info) {
  const at::Tensor x = TensorObject::get(info[0]);
  const auto dtype = optional_dtype(info[1]).value_or(x.scalar_type());
  const c10::Device device = info[2].IsUndefined() || info[2].IsNull()
                                 ? x.device()
                                 : parse_device(string_argument(info[2], "device"));
  return submit_tensor(info.Env(), x.is_cuda() ? x.device() : device,
                       [=] { return x.to(device, dtype, false, true); });
}

/// A copy that keeps the order of strides, as in PyTorch: random draws "like" a tensor depend on the layout.
Napi::Value slice(const Info& info) {
  const at::Tensor x = TensorObject::get(info[0]);
  const int64_t dim = integer_argument(info[1], "dim");
  const int64_t start = integer_argument(info[2], "start"), end = integer_argument(info[3], "end");
  return submit_tensor(info.Env(), x.device(), [=] { return x.slice(dim, start, end).clone(); });
}

Napi::Value reshape(const Info& info) {
  const at::Tensor x = TensorObject::get(info[0]);
  const auto shape = integers_argument(info[1], "shape");
  require_rank(shape.size(), "shape");
  return submit_tensor(info.Env(), x.device(), [=] { return x.reshape(shape); });
}

Napi::Value repeat(const Info& info) {
  const at::Tensor x = TensorObject::get(info[0]);
  const auto times = integers_argument(info[1], "repeats");
  require_rank(times.size(), "repeats");
  return submit_tensor(info.Env(), x.device(), [=] { return x.repeat(times); });
}

Napi::Value repeat_interleave(const Info& info) {
  const at::Tensor x = TensorObject::get(info[0]);
  const int64_t times = integer_argument(info[1], "repeats"), dim = integer_argument(info[2], "dim");
  return submit_tensor(info.Env(), x.device(), [=] { return x.repeat_interleave(times, dim); });
}

/// toChannelsLast(x): the same values of [B,C,H,W], laid out with channels innermost
Napi::Value to_channels_last(const Info& info) {
  const at::Tensor x = TensorObject::get(info[0]);
  return submit_tensor(info.Env(), x.device(), [=] {
    if (x.dim() != 4)
      throw Error("ERR_INVALID_ARGUMENT", "only [B,C,H,W] can be laid out with channels last");
    return x.clone(at::MemoryFormat::ChannelsLast);
  });
}

Napi::Value submit_bool(Napi::Env env, c10::Device device, std::function<bool()> work) {
  return submit(env, device, [work = std::move(work)]() -> Finish {
    const bool result = work();
    return [result](Napi::Env js) { return Napi::Boolean::New(js, result); };
  });
}

Napi::Value equal(const Info& info) {
  const at::Tensor a = TensorObject::get(info[0]), b = TensorObject::get(info[1]);
  return submit_bool(info.Env(), a.device(), [=] {
    return a.scalar_type() == b.scalar_type() && a.device() == b.device() && a.sizes() == b.sizes() &&
           a.equal(b);
  });
}

/// isChannelsLast(x): whether [B,C,H,W] lies in memory with channels innermost
Napi::Value is_channels_last(const Info& info) {
  const at::Tensor x = TensorObject::get(info[0]);
  return submit_bool(info.Env(), x.device(), [=] {
    return !x.is_contiguous() && x.dim() == 4 && x.is_contiguous(at::MemoryFormat::ChannelsLast);
  });
}

Napi::Value is_finite(const Info& info) {
  const at::Tensor x = TensorObject::get(info[0]);
  return submit_bool(info.Env(), x.device(), [=] { return all_finite(x); });
}

}  // namespace

void register_tensor_ops(Napi::Env env, Napi::Object exports) {
  export_function<from_data>(env, exports, "tensorFromData");
  export_function<to_data>(env, exports, "tensorToData");
  export_function<full>(env, exports, "full");
  export_function<cat>(env, exports, "cat");
  export_function<linear_combination>(env, exports, "linearCombination");
  export_function<linear_combination_rows>(env, exports, "linearCombinationRows");
  export_function<combine_chunks>(env, exports, "combineChunks");
  export_function<binary>(env, exports, "binary");
  export_function<unary>(env, exports, "unary");
  export_function<clamp>(env, exports, "clamp");
  export_function<clamp_rows>(env, exports, "clampRows");
  export_function<abs_quantile_rows>(env, exports, "absQuantileRows");
  export_function<std_rows>(env, exports, "stdRows");
  export_function<to>(env, exports, "to");
  export_function<slice>(env, exports, "slice");
  export_function<reshape>(env, exports, "reshape");
  export_function<repeat>(env, exports, "repeat");
  export_function<repeat_interleave>(env, exports, "repeatInterleave");
  export_function<to_channels_last>(env, exports, "toChannelsLast");
  export_function<is_channels_last>(env, exports, "isChannelsLast");
  export_function<equal>(env, exports, "equal");
  export_function<is_finite>(env, exports, "isFinite");
}

}  // namespace ip2p
