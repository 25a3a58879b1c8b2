#include "training/dynamic_quantization.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace ip2p {
namespace {

constexpr int kExponents = 7;

}  // namespace

DynamicMap::DynamicMap(bool is_signed) : coarse_(1 << 16) {
  std::vector<double> values{0.0, 1.0};
  for (int i = 0; i < kExponents; ++i) {
    // Each exponent has twice as many fractions as the one below; unsigned maps have twice as many again.
    const int fractions = is_signed ? 1 << i : 1 << (i + 1);
    const double scale = std::pow(10.0, i - (kExponents - 1));
    for (int j = 0; j < fractions; ++j) {
      const double low = 0.1 + 0.9 * j / fractions, high = 0.1 + 0.9 * (j + 1) / fractions;
      values.push_back(scale * (low + high) / 2);
      if (is_signed) values.push_back(-scale * (low + high) / 2);
    }
  }
  values.resize(256, 0.0);
  std::sort(values.begin(), values.end());
  for (size_t i = 0; i < values.size(); ++i) values_[i] = static_cast<float>(values[i]);
  for (size_t i = 0; i + 1 < values_.size(); ++i) midpoints_[i] = (values_[i] + values_[i + 1]) / 2;
  midpoints_[255] = std::numeric_limits<float>::infinity();

  const auto nearest = [&](float x) {
    return static_cast<uint8_t>(std::upper_bound(midpoints_.begin(), midpoints_.end() - 1, x) -
                                midpoints_.begin());
  };
  for (uint32_t bits = 0; bits < coarse_.size(); ++bits) {
    // In a negative bucket the float with all lower bits set is the smallest.
    const uint32_t smallest = bits & 0x8000u ? (bits << 16) | 0xffffu : bits << 16;
    const float x = std::bit_cast<float>(smallest);
    coarse_[bits] = std::isnan(x) ? 0 : nearest(x);
  }
}

const DynamicMap& DynamicMap::signed_map() {
  static const DynamicMap map(true);
  return map;
}

const DynamicMap& DynamicMap::unsigned_map() {
  static const DynamicMap map(false);
  return map;
}

uint8_t DynamicMap::code(float x) const {
  const uint8_t low = coarse_[std::bit_cast<uint32_t>(x) >> 16];
  return static_cast<uint8_t>(low + (x >= midpoints_[low]));
}

}  // namespace ip2p
