#include <ATen/Parallel.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "core/error.h"
#include "training/dynamic_quantization.h"
#include "training/optimizer.h"

namespace ip2p {
namespace {

struct Step {
  float beta1, beta2, learning_rate, decay, divisor;
};

/// One parameter element: updates the weight from the old moment, then the moment.
inline void update_element(float& weight, float gradient, float& moment, const Step& s) {
  gradient /= s.divisor;
  const float direction = s.beta1 * moment + (1 - s.beta1) * gradient;
  weight *= s.decay;
  weight -= s.learning_rate * static_cast<float>((direction > 0) - (direction < 0));
  moment = s.beta2 * moment + (1 - s.beta2) * gradient;
}

/// Codes with one scale per block, or, where scales are undefined, plain numbers.
struct Moment {
  at::Tensor values, scales;
};

void update_quantized(const at::Tensor& weight, const at::Tensor& gradient, const Moment& moment,
                      const Step& step) {
  const DynamicMap& map = DynamicMap::signed_map();
  float* w = weight.mutable_data_ptr<float>();
  const float* g = gradient.const_data_ptr<float>();
  auto* codes = moment.values.mutable_data_ptr<uint8_t>();
  float* scales = moment.scales.mutable_data_ptr<float>();
  const int64_t count = weight.numel();
  at::parallel_for(0, block_count(count), kBlocksPerTask, [&](int64_t from, int64_t to) {
    std::array<float, kBlock> values;
    for (int64_t block = from; block < to; ++block) {
      const int64_t start = block * kBlock, size = std::min(kBlock, count - start);
      float largest = 0;
      for (int64_t i = 0; i < size; ++i) {
        values[i] = map.value(codes[start + i]) * scales[block];
        update_element(w[start + i], g[start + i], values[i], step);
        largest = std::max(largest, std::abs(values[i]));
      }
      scales[block] = largest;
      const float unit = largest > 0 ? 1 / largest : 0;
      for (int64_t i = 0; i < size; ++i) codes[start + i] = map.code(values[i] * unit);
    }
  });
}

class Lion8bit : public Optimizer {
 public:
  Lion8bit(const std::vector<NamedParameter>& parameters, const AdamWOptions& options)
      : parameters_(parameters), options_(options) {
    for (const auto& [name, parameter] : parameters_) {
      const at::Tensor& weight = **parameter;
      if (!weight.is_cpu()) throw Error("ERR_INVALID_ARGUMENT", "8-bit Lion runs on the CPU only so far");
      if (!weight.is_contiguous()) throw Error("ERR_INTERNAL", "8-bit Lion needs contiguous parameters");
      const at::Tensor plain = weight.detach();
      if (weight.numel() < kMinQuantizedElements) {
        moments_.push_back({at::zeros_like(plain, at::kFloat), {}});
      } else {
        const int64_t blocks = block_count(weight.numel());
        moments_.push_back({at::zeros_like(plain, at::kByte), at::zeros({blocks}, at::kFloat)});
      }
    }
  }

  void begin(const at::Tensor&) override {}

  void update(const std::vector<size_t>& which, double learning_rate, const at::Tensor& divisor,
              const at::Tensor& found_inf, const std::optional<WeightAverage>& average) override {
    if (found_inf.item<float>() == 0) {
      const Step s{static_cast<float>(options_.beta1), static_cast<float>(options_.beta2),
                   static_cast<float>(learning_rate),
                   static_cast<float>(1 - learning_rate * options_.weight_decay), divisor.item<float>()};
      for (const size_t i : which) {
        const at::Tensor& weight = **parameters_[i].parameter;
        if (weight.grad().defined())
          update_parameter(weight.detach(), weight.grad().contiguous(), moments_[i], s);
      }
    }
    if (!average) return;
    for (const size_t i : which) average->move(i, *parameters_[i].parameter);
  }

  NamedTensors state() const override {
    NamedTensors all;
    for (size_t i = 0; i < parameters_.size(); ++i) {
      all.emplace_back("exp_avg." + parameters_[i].name, moments_[i].values);
      if (moments_[i].scales.defined())
        all.emplace_back("exp_avg_absmax." + parameters_[i].name, moments_[i].scales);
    }
    return all;
  }

 private:
  static void update_parameter(const at::Tensor& weight, const at::Tensor& gradient, const Moment& moment,
                               const Step& step) {
    if (moment.scales.defined()) {
      update_quantized(weight, gradient, moment, step);
      return;
    }
    float* w = weight.mutable_data_ptr<float>();
    const float* g = gradient.const_data_ptr<float>();
    float* m = moment.values.mutable_data_ptr<float>();
    for (int64_t i = 0; i < weight.numel(); ++i) update_element(w[i], g[i], m[i], step);
  }

  std::vector<NamedParameter> parameters_;
  AdamWOptions options_;
  std::vector<Moment> moments_;
};

}  // namespace

std::unique_ptr<Optimizer> make_lion_8bit(const std::vector<NamedParameter>& parameters,
                                          const AdamWOptions& options) {
  return std::make_unique<Lion8bit>(parameters, options);
}

}  // namespace ip2p
