#pragma once

#include "kernels/feature_map.h"

namespace ip2p {

/// The per-channel parameters, as floats.
class GroupNormParameters {
 public:
  GroupNormParameters(const at::Tensor& weight, const at::Tensor& bias,
                      const std::optional<at::Tensor>& shift)
      : weight_(weight.to(at::kFloat).contiguous()),
        bias_(bias.to(at::kFloat).contiguous()),
        shift_(shift ? shift->to(at::kFloat).contiguous() : at::Tensor()) {}

  const float* weight() const { return weight_.const_data_ptr<float>(); }
  /// Null without a shift.
  const float* shift(const FeatureMap& map, int64_t b) const {
    return shift_.defined() ? shift_.const_data_ptr<float>() + b * map.C : nullptr;
  }

  /// The affine form of the norm, AFFINE of [quantity][stride], for the channels of group g of row b.
  void write_affine(const FeatureMap& map, int64_t b, int64_t g, double mean, double rstd, float* affine,
                    int64_t stride) const {
    const float* const shifts = shift(map, b);
    const float* const biases = bias_.const_data_ptr<float>();
    for (int64_t i = 0; i < map.D; ++i) {
      const int64_t c = g * map.D + i;
      const double centre = mean - (shifts ? shifts[c] : 0), scale = rstd * weight()[c];
      affine[i] = static_cast<float>(centre);
      affine[stride + i] = static_cast<float>(scale);
      // Corrects the rounding of the centre, which matters where the mean is large.
      affine[2 * stride + i] = static_cast<float>(biases[c] + (affine[i] - centre) * scale);
    }
  }

 private:
  at::Tensor weight_, bias_, shift_;
};

}  // namespace ip2p
