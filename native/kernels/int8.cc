#include "kernels/int8.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <ATen/cpu/Utils.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <mutex>

#include "core/error.h"
#include "kernels/onednn.h"
#include "kernels/simd/quantize.h"

namespace ip2p {
namespace {

using OptionalTensor = std::optional<at::Tensor>;
using Scalars = c10::List<std::optional<at::Scalar>>;
using Name = c10::string_view;

constexpr float kWeightLevels = 127;
/// Grain size: elements worth a separate thread.
constexpr int64_t kGrain = 32768;

/// The highest code of an input. Without VNNI, processors multiply codes of 8 bits with weights of 8 bits and
/// add two of the products in 16 bits, which overflows; with codes of 7 bits it cannot.
float top_code() {
  // The environment variable may restrict oneDNN to older instructions.
  static const bool limited = std::getenv("ONEDNN_MAX_CPU_ISA") || std::getenv("DNNL_MAX_CPU_ISA");
  static const bool vnni = is_avx512() && at::cpu::is_avx512_vnni_supported() && !limited;
  return vnni ? 255 : 127;
}

/// The code of 0 where positive and negative numbers have equally many codes.
float middle_code() {
  return (top_code() + 1) / 2;
}

/// code = x / scale + zero_point
struct Coding {
  float scale;
  int64_t zero_point;
};

/// The finest scale that covers the range, with a zero point above 0: weights are packed for products with a
/// zero point. A value that is not finite makes all results NaN.
Coding coding_for(float least, float greatest) {
  const float scale = (greatest - least) / (top_code() - 1);
  if (!(scale > 0)) return {std::isnan(scale) ? scale : 1, 1};
  return {scale, 1 + static_cast<int64_t>(std::nearbyint(-least / scale))};
}

void require_inference(const at::Tensor& x) {
  const bool floats = x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16;
  const bool inference = !c10::GradMode::is_enabled() && !at::autocast::is_autocast_enabled(at::kCPU);
  if (!x.is_cpu() || !floats || !inference || x.numel() == 0)
    throw Error("ERR_INTERNAL", "8-bit products are for inference on the CPU in float32 or bfloat16");
}

/// The kernels here and oneDNN do not check shapes.
void require_sizes(const char* name, const at::Tensor& x, at::IntArrayRef sizes) {
  TORCH_CHECK(x.sizes() == sizes, "the ", name, " of an 8-bit product is ", x.sizes(), ", not ", sizes);
}

/// The output type of products: on some processors oneDNN cannot write bfloat16.
c10::ScalarType result_type(const at::Tensor& x) {
  return onednn_takes_bfloat16() ? x.scalar_type() : at::kFloat;
}

const char* at_element(const at::Tensor& x, int64_t offset) {
  return static_cast<const char*>(x.data_ptr()) + offset * static_cast<int64_t>(x.element_size());
}

Coding coding_of(const at::Tensor& x) {
  const auto kernel = IP2P_SELECT_SIMD(value_range);
  const bool bfloat16 = x.scalar_type() == at::kBFloat16;
  float least = 0, greatest = 0;
  std::mutex mutex;
  at::parallel_for(0, x.numel(), kGrain, [&](int64_t from, int64_t to) {
    float low, high;
    kernel(at_element(x, from), bfloat16, to - from, &low, &high);
    const std::lock_guard<std::mutex> lock(mutex);
    // NaN propagates.
    if (!(low >= least)) least = std::isnan(least) ? least : low;
    if (!(high <= greatest)) greatest = std::isnan(greatest) ? greatest : high;
  });
  return coding_for(least, greatest);
}

/// Quantizes x, dense in any layout, to codes in the same layout.
at::Tensor codes_of(const at::Tensor& x, const Coding& coding) {
  const at::Tensor codes = at::empty_like(x, x.options().dtype(at::kByte));
  const auto kernel = IP2P_SELECT_SIMD(quantize);
  at::parallel_for(0, x.numel(), kGrain, [&](int64_t from, int64_t to) {
    kernel(at_element(x, from), x.scalar_type() == at::kBFloat16, to - from, 1 / coding.scale,
           static_cast<float>(coding.zero_point), codes.data_ptr<uint8_t>() + from);
  });
  return codes;
}

struct CodedRows {
  at::Tensor codes;   // uint8, of the input's shape
  at::Tensor scales;  // float32 [rows]
};

/// Quantizes along the last dimension, symmetrically around 0.
CodedRows coded_rows(const at::Tensor& x, float levels) {
  const int64_t width = x.size(-1), rows = x.numel() / width;
  const CodedRows coded{at::empty_like(x, x.options().dtype(at::kByte)),
                        at::empty({rows}, x.options().dtype(at::kFloat))};
  const auto kernel = IP2P_SELECT_SIMD(quantize_rows);
  at::parallel_for(0, rows, std::max<int64_t>(1, kGrain / width), [&](int64_t from, int64_t to) {
    kernel(at_element(x, from * width), x.scalar_type() == at::kBFloat16, to - from, width, levels,
           levels + 1, coded.codes.data_ptr<uint8_t>() + from * width, coded.scales.data_ptr<float>() + from);
  });
  return coded;
}

void scale_rows_of(const at::Tensor& y, const at::Tensor& scales, const OptionalTensor& bias,
                   const at::Tensor& addend) {
  const int64_t rows = scales.numel(), width = y.size(-1);
  const auto kernel = IP2P_SELECT_SIMD(scale_rows);
  at::parallel_for(0, rows, std::max<int64_t>(1, kGrain / width), [&](int64_t from, int64_t to) {
    kernel(const_cast<char*>(at_element(y, from * width)), y.scalar_type() == at::kBFloat16, to - from, width,
           scales.data_ptr<float>() + from, bias ? bias->data_ptr() : nullptr,
           addend.defined() ? at_element(addend, from * width) : nullptr);
  });
}

at::Tensor weight_zero_points(const at::Tensor& scales) {
  return at::zeros({scales.numel()}, scales.options().dtype(at::kInt));
}

/// x after quantizing and dequantizing, in its own type.
at::Tensor rounded(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& zero_point) {
  const at::Tensor safe = at::where(scale > 0, scale, at::ones({}, scale.options()));
  return ((x / safe).round() + zero_point).clamp(0, top_code()).sub(zero_point) * scale;
}

at::Tensor rounded_weight(const at::Tensor& weight) {
  const Int8Weight int8 = quantize_weight(weight);
  std::vector<int64_t> shape(static_cast<size_t>(weight.dim()), 1);
  shape[0] = -1;
  return int8.codes.to(weight.scalar_type()) * int8.scales.to(weight.scalar_type()).view(shape);
}

at::Tensor plus(const at::Tensor& y, const at::Tensor& addend) {
  return addend.defined() ? y + addend : y;
}

}  // namespace

bool has_int8() {
  const auto known = [](const char* name) {
    return c10::Dispatcher::singleton().findSchema({name, ""}).has_value();
  };
  return instruction_set() != InstructionSet::None && at::hasMKLDNN() &&
         at::globalContext().userEnabledMkldnn() && known("onednn::qconv2d_pointwise") &&
         known("onednn::qlinear_pointwise");
}

Int8Weight quantize_weight(const at::Tensor& weight) {
  TORCH_CHECK(has_int8() && weight.numel() > 0, "8-bit weights are not supported here");
  const CodedRows coded = coded_rows(weight.to(at::kFloat).contiguous().flatten(1), kWeightLevels);
  // Unsigned codes around 128 differ from signed ones around 0 in the highest bit only.
  return {coded.codes.bitwise_xor_(0x80).view(at::kChar).view(weight.sizes()), coded.scales};
}

at::Tensor pack_int8_conv2d(const Int8Weight& weight, at::IntArrayRef input_sizes, Conv2dGeometry geometry) {
  static const auto op = find_operator<at::Tensor(
      at::Tensor, at::Tensor, double, int64_t, c10::List<int64_t>, c10::List<int64_t>, c10::List<int64_t>,
      int64_t, std::optional<c10::List<int64_t>>)>("onednn::qconv_prepack");
  const auto list = [](at::IntArrayRef values) { return c10::List<int64_t>(values); };
  // Only the presence of a zero point matters here, not its value.
  return op.call(weight.codes, weight.scales, 1, 1, list(both(geometry.stride)), list(both(geometry.padding)),
                 list(both(1)), 1, list(input_sizes));
}

at::Tensor int8_conv2d(const at::Tensor& x, const at::Tensor& packed, const at::Tensor& scales,
                       const OptionalTensor& bias, Conv2dGeometry geometry, const at::Tensor& addend) {
  require_inference(x);
  const at::Tensor input = x.contiguous(at::MemoryFormat::ChannelsLast);
  const Coding coding = coding_of(input);
  const at::Tensor codes = codes_of(input, coding);
  const c10::List<int64_t> stride(both(geometry.stride)), padding(both(geometry.padding)), dilation(both(1));
  OptionalTensor exact_bias;
  if (bias) exact_bias = bias->to(at::kFloat);
  if (addend.defined()) {
    const auto length = [&](int64_t dim) {
      return (x.size(dim) + 2 * geometry.padding - packed.size(dim)) / geometry.stride + 1;
    };
    require_sizes("addend", addend, {x.size(0), packed.size(0), length(2), length(3)});
    static const auto op = find_operator<at::Tensor(
        at::Tensor, double, int64_t, at::Tensor, at::Tensor, at::Tensor, at::Tensor, OptionalTensor,
        c10::List<int64_t>, c10::List<int64_t>, c10::List<int64_t>, int64_t, double, int64_t,
        std::optional<c10::ScalarType>, double, int64_t, Name, std::optional<at::Scalar>, std::optional<Name>,
        Scalars, std::optional<Name>)>("onednn::qconv2d_pointwise", "binary");
    // oneDNN adds in place.
    const at::Tensor sum = addend.to(result_type(x), false, true).contiguous(at::MemoryFormat::ChannelsLast);
    return op
        .call(codes, coding.scale, coding.zero_point, packed, scales, weight_zero_points(scales), sum,
              exact_bias, stride, padding, dilation, 1, 1, 0, sum.scalar_type(), 1, 0, "sum", 1, "none",
              Scalars(), "")
        .to(x.scalar_type());
  }
  static const auto op = find_operator<at::Tensor(
      at::Tensor, double, int64_t, at::Tensor, at::Tensor, at::Tensor, OptionalTensor, c10::List<int64_t>,
      c10::List<int64_t>, c10::List<int64_t>, int64_t, double, int64_t, std::optional<c10::ScalarType>, Name,
      Scalars, std::optional<Name>)>("onednn::qconv2d_pointwise");
  return op
      .call(codes, coding.scale, coding.zero_point, packed, scales, weight_zero_points(scales), exact_bias,
            stride, padding, dilation, 1, 1, 0, result_type(x), "none", Scalars(), std::nullopt)
      .to(x.scalar_type());
}

at::Tensor pack_int8_linear(const Int8Weight& weight, int64_t rows) {
  static const auto op =
      find_operator<at::Tensor(at::Tensor, std::optional<c10::List<int64_t>>)>("onednn::qlinear_prepack");
  return op.call(weight.codes, c10::List<int64_t>({rows, weight.codes.size(1)}));
}

at::Tensor int8_linear(const at::Tensor& x, const at::Tensor& packed, const at::Tensor& scales,
                       const OptionalTensor& bias, const at::Tensor& addend) {
  require_inference(x);
  static const auto op = find_operator<at::Tensor(
      at::Tensor, double, int64_t, at::Tensor, at::Tensor, at::Tensor, OptionalTensor, double, int64_t,
      std::optional<c10::ScalarType>, Name, Scalars, Name)>("onednn::qlinear_pointwise");
  const at::Tensor input = x.contiguous();
  const CodedRows coded = coded_rows(input, middle_code() - 1);
  const c10::ScalarType type = result_type(x);
  const at::Tensor y = op.call(coded.codes, 1, static_cast<int64_t>(middle_code()), packed, scales,
                               weight_zero_points(scales), std::nullopt, 1, 0, type, "none", Scalars(), "");
  if (bias) require_sizes("bias", *bias, {y.size(-1)});
  if (addend.defined()) require_sizes("addend", addend, y.sizes());
  scale_rows_of(y, coded.scales, bias ? OptionalTensor(bias->to(type).contiguous()) : std::nullopt,
                addend.defined() ? addend.to(type).contiguous() : addend);
  return y.to(x.scalar_type());
}

at::Tensor int8_conv2d_plain(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                             Conv2dGeometry geometry, const at::Tensor& addend) {
  const Coding coding =
      coding_for(std::min(x.min().item<float>(), 0.0F), std::max(x.max().item<float>(), 0.0F));
  const at::Tensor input =
      rounded(x, at::full({}, coding.scale, x.options()), at::full({}, coding.zero_point, x.options()));
  return plus(at::conv2d(input, rounded_weight(weight), bias, geometry.stride, geometry.padding), addend);
}

at::Tensor int8_linear_plain(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                             const at::Tensor& addend) {
  const at::Tensor scales = x.abs().amax(-1, true) / (middle_code() - 1);
  const at::Tensor input = rounded(x, scales, at::full({}, middle_code(), x.options()));
  return plus(at::linear(input, rounded_weight(weight), bias), addend);
}

}  // namespace ip2p
