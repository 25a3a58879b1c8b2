#include "kernels/simd/geglu.h"

#include "kernels/simd/activation.h"
#include "kernels/simd/partial.h"

namespace ip2p::IP2P_SIMD {
namespace {

template <class E>
void forward(const E* x, int64_t rows, int64_t width, E* y) {
  const typename PrecisionOf<E>::Type precision;
  for (int64_t row = 0; row < rows; ++row, x += 2 * width, y += width)
    for_vectors(width, [&](int64_t i, auto lanes) {
      store(y + i, mul(load(x + i, lanes), gelu(load(x + width + i, lanes), precision)), lanes);
    });
}

template <class E>
void backward(const E* x, const E* dy, int64_t rows, int64_t width, E* dx) {
  const typename PrecisionOf<E>::Type precision;
  for (int64_t row = 0; row < rows; ++row, x += 2 * width, dy += width, dx += 2 * width)
    for_vectors(width, [&](int64_t i, auto lanes) {
      const Vector gradient = load(dy + i, lanes);
      const auto [value, derivative] = gelu_with_derivative(load(x + width + i, lanes), precision);
      store(dx + i, mul(gradient, value), lanes);
      store(dx + width + i, mul(mul(gradient, load(x + i, lanes)), derivative), lanes);
    });
}

}  // namespace

void geglu_rows(const void* x, bool bfloat16, int64_t rows, int64_t width, void* y) {
  if (bfloat16)
    forward(static_cast<const BFloat16*>(x), rows, width, static_cast<BFloat16*>(y));
  else
    forward(static_cast<const float*>(x), rows, width, static_cast<float*>(y));
}

void geglu_gradient_rows(const void* x, const void* dy, bool bfloat16, int64_t rows, int64_t width,
                         void* dx) {
  if (bfloat16)
    backward(static_cast<const BFloat16*>(x), static_cast<const BFloat16*>(dy), rows, width,
             static_cast<BFloat16*>(dx));
  else
    backward(static_cast<const float*>(x), static_cast<const float*>(dy), rows, width,
             static_cast<float*>(dx));
}

}  // namespace ip2p::IP2P_SIMD
