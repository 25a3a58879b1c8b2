#include "kernels/simd/quantize.h"

#include "kernels/simd/partial.h"

namespace ip2p::IP2P_SIMD {
namespace {

/// Minimum and maximum per lane, and a value that is NaN once a number was not finite.
struct Range {
  Vector least = set(0), greatest = set(0), finite = set(0);

  void take(Vector x) {
    least = min(least, x);
    greatest = max(greatest, x);
    finite = fma(x, set(0), finite);
  }
  void take(const Range& other) {
    least = min(least, other.least);
    greatest = max(greatest, other.greatest);
    finite = add(finite, other.finite);
  }
  void reduce(float& low, float& high) const {
    float all_least[LANES], all_greatest[LANES];
    store(all_least, least);
    store(all_greatest, greatest);
    low = high = sum(finite);
    if (low != 0) return;
    for (int64_t i = 0; i < LANES; ++i) {
      if (all_least[i] < low) low = all_least[i];
      if (all_greatest[i] > high) high = all_greatest[i];
    }
  }
};

template <class E>
void range_of(const E* x, int64_t n, float& low, float& high) {
  Range even, odd;  // two independent chains
  int64_t i = 0;
  for (; i + 2 * LANES <= n; i += 2 * LANES) {
    even.take(load(x + i));
    odd.take(load(x + i + LANES));
  }
  for_vectors(n - i, [&](int64_t j, auto lanes) { even.take(load(x + i + j, lanes)); });
  even.take(odd);
  even.reduce(low, high);
}

template <class E>
void codes_of(const E* x, int64_t n, float inverse_scale, float zero_point, uint8_t* codes) {
  const Vector factor = set(inverse_scale), zero = set(zero_point);
  for_vectors(n, [&](int64_t i, auto lanes) {
    store(codes + i, add(round(mul(load(x + i, lanes), factor)), zero), lanes);
  });
}

template <class E>
void rows_of(const E* x, int64_t rows, int64_t width, float largest, float zero_point, uint8_t* codes,
             float* scales) {
  for (int64_t row = 0; row < rows; ++row, x += width, codes += width) {
    float low, high;
    range_of(x, width, low, high);
    const float magnitude = -low > high ? -low : high;
    scales[row] = magnitude / largest;
    codes_of(x, width, magnitude > 0 ? largest / magnitude : 0, zero_point, codes);
  }
}

template <class E>
void scale(E* y, int64_t rows, int64_t width, const float* scales, const E* bias, const E* addend) {
  for (int64_t row = 0; row < rows; ++row, y += width) {
    const Vector factor = set(scales[row]);
    const E* const more = addend ? addend + row * width : nullptr;
    for_vectors(width, [&](int64_t i, auto lanes) {
      Vector x =
          bias ? fma(load(y + i, lanes), factor, load(bias + i, lanes)) : mul(load(y + i, lanes), factor);
      if (more) x = add(x, load(more + i, lanes));
      store(y + i, x, lanes);
    });
  }
}

}  // namespace

void value_range(const void* x, bool bfloat16, int64_t n, float* least, float* greatest) {
  if (bfloat16)
    range_of(static_cast<const BFloat16*>(x), n, *least, *greatest);
  else
    range_of(static_cast<const float*>(x), n, *least, *greatest);
}

void quantize(const void* x, bool bfloat16, int64_t n, float inverse_scale, float zero_point,
              uint8_t* codes) {
  if (bfloat16)
    codes_of(static_cast<const BFloat16*>(x), n, inverse_scale, zero_point, codes);
  else
    codes_of(static_cast<const float*>(x), n, inverse_scale, zero_point, codes);
}

void quantize_rows(const void* x, bool bfloat16, int64_t rows, int64_t width, float largest, float zero_point,
                   uint8_t* codes, float* scales) {
  if (bfloat16)
    rows_of(static_cast<const BFloat16*>(x), rows, width, largest, zero_point, codes, scales);
  else
    rows_of(static_cast<const float*>(x), rows, width, largest, zero_point, codes, scales);
}

void scale_rows(void* y, bool bfloat16, int64_t rows, int64_t width, const float* scales, const void* bias,
                const void* addend) {
  if (bfloat16)
    scale(static_cast<BFloat16*>(y), rows, width, scales, static_cast<const BFloat16*>(bias),
          static_cast<const BFloat16*>(addend));
  else
    scale(static_cast<float*>(y), rows, width, scales, static_cast<const float*>(bias),
          static_cast<const float*>(addend));
}

}  // namespace ip2p::IP2P_SIMD
