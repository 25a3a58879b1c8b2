#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace ip2p {

/// Elements that share a scale, and blocks that a thread takes at once.
constexpr int64_t kBlock = 256, kBlocksPerTask = 64;
/// Smaller parameters (norms, biases) keep float32 moments: they are few and sensitive.
constexpr int64_t kMinQuantizedElements = 4096;

/// Blocks of so many elements; the last may have fewer.
constexpr int64_t block_count(int64_t elements) {
  return (elements + kBlock - 1) / kBlock;
}

/// The 8-bit dynamic data type of block-wise quantization (Dettmers et al. 2022, section 2): 256 values in
/// [-1,1] or [0,1], denser towards zero, a decimal exponent in the leading zeros of a code and a linear
/// fraction in the rest.
class DynamicMap {
 public:
  explicit DynamicMap(bool is_signed);

  static const DynamicMap& signed_map();
  static const DynamicMap& unsigned_map();

  float value(uint8_t code) const { return values_[code]; }
  /// The code whose value is nearest to x, which lies in the map's range.
  uint8_t code(float x) const;

  const std::array<float, 256>& values() const { return values_; }

 private:
  std::array<float, 256> values_;     ///< ascending
  std::array<float, 256> midpoints_;  ///< between a value and the next
  /// For the upper 16 bits of a float: the code of the smallest float in that bucket. A bucket is finer than
  /// the map, so at most one midpoint lies within.
  std::vector<uint8_t> coarse_;
};

}  // namespace ip2p
