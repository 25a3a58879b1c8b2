#include "training/bfloat16_rounding.h"

#include <algorithm>
#include <bit>

namespace ip2p {
namespace {

constexpr int kLanes = 8;
constexpr int kRounds = 10;
constexpr uint32_t kMultiplier0 = 0xd2511f53, kMultiplier1 = 0xcd9e8d57;
constexpr uint32_t kWeyl0 = 0x9e3779b9, kWeyl1 = 0xbb67ae85;

/// Philox4x32-10 on eight counters at once, in place; words[i] is word i of each.
void philox(uint32_t (&words)[4][kLanes], uint64_t seed) {
  auto key0 = static_cast<uint32_t>(seed), key1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < kRounds; ++round) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const uint64_t a = uint64_t{kMultiplier0} * words[0][lane], b = uint64_t{kMultiplier1} * words[2][lane];
      words[0][lane] = static_cast<uint32_t>(b >> 32) ^ words[1][lane] ^ key0;
      words[1][lane] = static_cast<uint32_t>(b);
      words[2][lane] = static_cast<uint32_t>(a >> 32) ^ words[3][lane] ^ key1;
      words[3][lane] = static_cast<uint32_t>(a);
    }
    key0 += kWeyl0;
    key1 += kWeyl1;
  }
}

/// Adds 16 random bits below the kept ones and truncates.
uint16_t rounded(float x, uint32_t random) {
  const auto bits = std::bit_cast<uint32_t>(x);
  // From the largest finite bfloat16 on, a carry would make infinity, or of NaN a number.
  const uint32_t added = (bits & 0x7fffffffu) < 0x7f7f0000u ? random : 0;
  return static_cast<uint16_t>((bits + added) >> 16);
}

}  // namespace

void round_stochastically(const float* x, int64_t count, const RoundingDraw& draw, int64_t first,
                          c10::BFloat16* out) {
  auto* const bits = reinterpret_cast<uint16_t*>(out);
  for (int64_t start = 0; start < count; start += kRoundingGroup) {
    const uint64_t counter = static_cast<uint64_t>(first + start) / (kRoundingGroup / kLanes);
    uint32_t words[4][kLanes];
    for (int lane = 0; lane < kLanes; ++lane) {
      words[0][lane] = static_cast<uint32_t>(counter + lane);
      words[1][lane] = static_cast<uint32_t>((counter + lane) >> 32);
      words[2][lane] = draw.parameter;
      words[3][lane] = draw.step;
    }
    philox(words, draw.seed);
    uint32_t random[kRoundingGroup];
    for (int word = 0; word < 4; ++word)
      for (int lane = 0; lane < kLanes; ++lane) {
        random[word * kLanes + lane] = words[word][lane] & 0xffff;
        random[kRoundingGroup / 2 + word * kLanes + lane] = words[word][lane] >> 16;
      }
    const int64_t size = std::min(kRoundingGroup, count - start);
    for (int64_t i = 0; i < size; ++i) bits[start + i] = rounded(x[start + i], random[i]);
  }
}

void round_with_remainder(const float* x, int64_t count, c10::BFloat16* out, int16_t* remainder) {
  for (int64_t i = 0; i < count; ++i) {
    const auto bits = std::bit_cast<uint32_t>(x[i]);
    out[i].x = static_cast<uint16_t>((bits + 0x8000u) >> 16);
    remainder[i] = static_cast<int16_t>(static_cast<uint16_t>(bits));
  }
}

void widen(const c10::BFloat16* x, const int16_t* remainder, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) {
    const int32_t lower = remainder ? remainder[i] : 0;
    out[i] = std::bit_cast<float>((uint32_t{x[i].x} << 16) + static_cast<uint32_t>(lower));
  }
}

}  // namespace ip2p
