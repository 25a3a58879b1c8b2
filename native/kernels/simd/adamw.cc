#include "kernels/simd/adamw.h"

#include "kernels/simd/partial.h"

namespace ip2p::IP2P_SIMD {

// The same operations as libtorch's _fused_adamw_ and sub_, in the same order, so that both give identical
// results.
void adamw(const AdamWElements& elements, const AdamWStep& step) {
  const Vector divisor = set(step.divisor), weight_decay = set(step.weight_decay), first = set(step.first);
  const Vector second_kept = set(step.second_kept), second_new = set(step.second_new);
  const Vector second_correction = set(step.second_correction), epsilon = set(step.epsilon);
  const Vector step_size = set(step.step_size), average = set(step.average);
  auto* const shadow = static_cast<BFloat16*>(elements.shadow);
  for_vectors(elements.count, [&](int64_t i, auto lanes) {
    const Vector gradient = div(load(elements.gradient + i, lanes), divisor);
    const Vector kept_exp_avg = load(elements.exp_avg + i, lanes);
    const Vector exp_avg = fma(first, sub(gradient, kept_exp_avg), kept_exp_avg);
    const Vector exp_avg_sq =
        fma(mul(second_new, gradient), gradient, mul(load(elements.exp_avg_sq + i, lanes), second_kept));
    const Vector denominator = add(div(sqrt(exp_avg_sq), second_correction), epsilon);
    const Vector decayed = mul(load(elements.weight + i, lanes), weight_decay);
    const Vector weight = add(decayed, div(mul(step_size, exp_avg), denominator));
    store(elements.exp_avg + i, exp_avg, lanes);
    store(elements.exp_avg_sq + i, exp_avg_sq, lanes);
    store(elements.weight + i, weight, lanes);
    if (shadow) store(shadow + i, weight, lanes);
    if (elements.average) {
      const Vector kept = load(elements.average + i, lanes);
      store(elements.average + i, fma(average, sub(kept, weight), kept), lanes);
    }
  });
}

}  // namespace ip2p::IP2P_SIMD
