#include "training/cpu_adamw.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

#include "kernels/simd/adamw.h"

namespace ip2p {
namespace {

/// Elements per task; large parameters are split.
constexpr int64_t kPiece = 1 << 16;

struct Piece {
  size_t parameter;
  int64_t offset;
};

bool lies_like(const at::Tensor& tensor, const at::Tensor& weight, c10::ScalarType type = at::kFloat) {
  if (!tensor.is_cpu() || tensor.scalar_type() != type || !tensor.sizes().equals(weight.sizes()))
    return false;
  // Ignores the strides of axes of size 1, which differ in gradients of 1×1 kernels.
  for (int64_t axis = 0; axis < weight.dim(); ++axis)
    if (weight.size(axis) > 1 && tensor.stride(axis) != weight.stride(axis)) return false;
  return true;
}

template <class T>
T* data_or_null(const at::Tensor& tensor, int64_t offset) {
  return tensor.defined() ? tensor.mutable_data_ptr<T>() + offset : nullptr;
}

}  // namespace

bool cpu_adamw_takes(const std::vector<AdamWTensors>& all) {
  return IP2P_SELECT_SIMD(adamw) && std::all_of(all.begin(), all.end(), [](const AdamWTensors& one) {
           return one.weight.is_non_overlapping_and_dense() && lies_like(one.weight, one.weight) &&
                  lies_like(one.gradient, one.weight) && lies_like(one.exp_avg, one.weight) &&
                  lies_like(one.exp_avg_sq, one.weight) &&
                  (!one.average.defined() || lies_like(one.average, one.weight)) &&
                  (!one.shadow.defined() || lies_like(one.shadow, one.weight, at::kBFloat16));
         });
}

void cpu_adamw(const std::vector<AdamWTensors>& all, const AdamWOptions& options, double learning_rate,
               double count, float divisor, double average_decay) {
  const double first_correction = 1 - std::pow(options.beta1, count);
  const double second_correction = std::sqrt(1 - std::pow(options.beta2, count));
  const AdamWStep step{divisor,
                       static_cast<float>(1 - learning_rate * options.weight_decay),
                       static_cast<float>(1 - options.beta1),
                       static_cast<float>(options.beta2),
                       static_cast<float>(1 - options.beta2),
                       static_cast<float>(second_correction),
                       static_cast<float>(options.epsilon),
                       static_cast<float>(-(learning_rate / first_correction)),
                       static_cast<float>(-(1 - average_decay))};
  std::vector<Piece> pieces;
  for (size_t i = 0; i < all.size(); ++i)
    for (int64_t offset = 0; offset < all[i].weight.numel(); offset += kPiece) pieces.push_back({i, offset});
  const auto kernel = IP2P_SELECT_SIMD(adamw);
  at::parallel_for(0, static_cast<int64_t>(pieces.size()), 1, [&](int64_t from, int64_t to) {
    for (int64_t p = from; p < to; ++p) {
      const auto [parameter, offset] = pieces[p];
      const AdamWTensors& one = all[parameter];
      kernel({one.weight.mutable_data_ptr<float>() + offset, one.gradient.const_data_ptr<float>() + offset,
              one.exp_avg.mutable_data_ptr<float>() + offset,
              one.exp_avg_sq.mutable_data_ptr<float>() + offset, data_or_null<float>(one.average, offset),
              data_or_null<at::BFloat16>(one.shadow, offset), std::min(kPiece, one.weight.numel() - offset)},
             step);
    }
  });
}

}  // namespace ip2p
