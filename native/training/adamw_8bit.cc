#include <ATen/Parallel.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "core/error.h"
#include "training/bfloat16_weights.h"
#include "training/dynamic_quantization.h"
#include "training/optimizer.h"

namespace ip2p {
namespace {

/// The moments of one parameter: codes with one scale per block, or plain numbers.
struct Moments {
  bool quantized;
  at::Tensor first, second;              ///< uint8 codes, or float32
  at::Tensor first_scale, second_scale;  ///< float32, one per block

  /// Those of elements offset … offset + count − 1; the offset is a multiple of kBlock.
  Moments part(int64_t offset, int64_t count) const {
    const auto cut = [](const at::Tensor& all, int64_t from, int64_t size) {
      return all.view(-1).narrow(0, from, size);
    };
    Moments result{quantized, cut(first, offset, count), cut(second, offset, count), {}, {}};
    if (!quantized) return result;
    const int64_t blocks = block_count(count);
    result.first_scale = cut(first_scale, offset / kBlock, blocks);
    result.second_scale = cut(second_scale, offset / kBlock, blocks);
    return result;
  }
};

struct Step {
  float beta1, beta2, epsilon, decay, step_size, second_correction, divisor;
};

/// One parameter element: updates both moments and the weight.
inline void update_element(float& weight, float gradient, float& first, float& second, const Step& s) {
  gradient /= s.divisor;
  first = s.beta1 * first + (1 - s.beta1) * gradient;
  second = s.beta2 * second + (1 - s.beta2) * gradient * gradient;
  weight -= s.step_size * first / (std::sqrt(second) + s.second_correction * s.epsilon);
  weight *= s.decay;
}

void update_plain(const at::Tensor& weight, const at::Tensor& gradient, const Moments& moments,
                  const Step& step) {
  float* w = weight.mutable_data_ptr<float>();
  const float* g = gradient.const_data_ptr<float>();
  float* first = moments.first.mutable_data_ptr<float>();
  float* second = moments.second.mutable_data_ptr<float>();
  for (int64_t i = 0; i < weight.numel(); ++i) update_element(w[i], g[i], first[i], second[i], step);
}

void update_quantized(const at::Tensor& weight, const at::Tensor& gradient, const Moments& moments,
                      const Step& step) {
  const DynamicMap& signed_map = DynamicMap::signed_map();
  const DynamicMap& unsigned_map = DynamicMap::unsigned_map();
  float* w = weight.mutable_data_ptr<float>();
  const float* g = gradient.const_data_ptr<float>();
  auto* first_codes = moments.first.mutable_data_ptr<uint8_t>();
  auto* second_codes = moments.second.mutable_data_ptr<uint8_t>();
  float* first_scale = moments.first_scale.mutable_data_ptr<float>();
  float* second_scale = moments.second_scale.mutable_data_ptr<float>();
  const int64_t count = weight.numel();
  at::parallel_for(0, block_count(count), kBlocksPerTask, [&](int64_t from, int64_t to) {
    std::array<float, kBlock> first, second;
    for (int64_t block = from; block < to; ++block) {
      const int64_t start = block * kBlock, size = std::min(kBlock, count - start);
      float first_max = 0, second_max = 0;
      for (int64_t i = 0; i < size; ++i) {
        first[i] = signed_map.value(first_codes[start + i]) * first_scale[block];
        second[i] = unsigned_map.value(second_codes[start + i]) * second_scale[block];
        update_element(w[start + i], g[start + i], first[i], second[i], step);
        first_max = std::max(first_max, std::abs(first[i]));
        second_max = std::max(second_max, second[i]);
      }
      first_scale[block] = first_max;
      second_scale[block] = second_max;
      const float first_unit = first_max > 0 ? 1 / first_max : 0,
                  second_unit = second_max > 0 ? 1 / second_max : 0;
      for (int64_t i = 0; i < size; ++i) {
        first_codes[start + i] = signed_map.code(first[i] * first_unit);
        second_codes[start + i] = unsigned_map.code(second[i] * second_unit);
      }
    }
  });
}

void update_part(const at::Tensor& weight, const at::Tensor& gradient, const Moments& moments,
                 const Step& step) {
  if (moments.quantized)
    update_quantized(weight, gradient, moments, step);
  else
    update_plain(weight, gradient, moments, step);
}

class AdamW8bit : public Optimizer {
 public:
  AdamW8bit(const std::vector<NamedParameter>& parameters, const AdamWOptions& options,
            const std::optional<BFloat16Options>& bfloat16)
      : parameters_(parameters), options_(options), bfloat16_(parameters, bfloat16) {
    for (const auto& [name, parameter] : parameters_) moments_.push_back(initial_moments(**parameter));
    step_ = at::zeros({}, parameters_.front().parameter->value.options().dtype(at::kFloat));
  }

  void begin(const at::Tensor& found_inf) override { step_.add_(1 - found_inf); }

  void update(const std::vector<size_t>& which, double learning_rate, const at::Tensor& divisor,
              const at::Tensor& found_inf, const std::optional<WeightAverage>& average) override {
    if (found_inf.item<float>() == 0) update_weights(which, learning_rate, divisor.item<float>());
    if (!average) return;
    for (const size_t i : which) average->move(i, *parameters_[i].parameter);
  }

  NamedTensors state() const override {
    NamedTensors all{{"step", step_}};
    for (size_t i = 0; i < parameters_.size(); ++i) {
      const std::string& name = parameters_[i].name;
      all.emplace_back("exp_avg." + name, moments_[i].first);
      all.emplace_back("exp_avg_sq." + name, moments_[i].second);
      if (!moments_[i].quantized) continue;
      all.emplace_back("exp_avg_absmax." + name, moments_[i].first_scale);
      all.emplace_back("exp_avg_sq_absmax." + name, moments_[i].second_scale);
    }
    bfloat16_.append_state(all);
    return all;
  }

 private:
  void update_weights(const std::vector<size_t>& which, double learning_rate, float divisor) {
    const double count = step_.item<double>();
    const double first_correction = 1 - std::pow(options_.beta1, count);
    const double second_correction = std::sqrt(1 - std::pow(options_.beta2, count));
    const Step s{static_cast<float>(options_.beta1),
                 static_cast<float>(options_.beta2),
                 static_cast<float>(options_.epsilon),
                 static_cast<float>(1 - learning_rate * options_.weight_decay),
                 static_cast<float>(learning_rate * second_correction / first_correction),
                 static_cast<float>(second_correction),
                 divisor};
    for (const size_t i : which) {
      const at::Tensor& weight = **parameters_[i].parameter;
      if (!weight.grad().defined()) continue;
      if (bfloat16_.holds(i)) {
        bfloat16_.apply(i, step_.item<int64_t>(),
                        [&](const at::Tensor& part, const at::Tensor& gradient, int64_t offset) {
                          update_part(part, gradient, moments_[i].part(offset, part.numel()), s);
                        });
      } else {
        update_part(weight.detach(), weight.grad().contiguous(), moments_[i], s);
      }
    }
  }

  static Moments initial_moments(const at::Tensor& weight) {
    if (!weight.is_cpu()) throw Error("ERR_INVALID_ARGUMENT", "8-bit Adam runs on the CPU only so far");
    if (!weight.is_contiguous()) throw Error("ERR_INTERNAL", "8-bit Adam needs contiguous parameters");
    if (weight.numel() < kMinQuantizedElements) {
      const at::Tensor zeros = at::zeros_like(weight.detach(), at::kFloat);
      return {false, zeros, zeros.clone(), {}, {}};
    }
    // The two maps have different codes of zero, but with scales of zero any code means zero.
    const at::Tensor codes =
        at::zeros(weight.sizes(), weight.options().dtype(at::kByte).requires_grad(false));
    const at::Tensor scales =
        at::zeros({block_count(weight.numel())}, weight.options().dtype(at::kFloat).requires_grad(false));
    return {true, codes, codes.clone(), scales, scales.clone()};
  }

  std::vector<NamedParameter> parameters_;
  AdamWOptions options_;
  BFloat16Weights bfloat16_;
  std::vector<Moments> moments_;
  at::Tensor step_;
};

}  // namespace

std::unique_ptr<Optimizer> make_adamw_8bit(const std::vector<NamedParameter>& parameters,
                                           const AdamWOptions& options,
                                           const std::optional<BFloat16Options>& bfloat16) {
  return std::make_unique<AdamW8bit>(parameters, options, bfloat16);
}

}  // namespace ip2p
