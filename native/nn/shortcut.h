#pragma once

#include <c10/core/GradMode.h>

#include "nn/layers.h"

namespace ip2p {

/// convolution(h) + shortcut(x). In training the shortcut comes last, as in diffusers: buckets of averaged
/// gradients follow the order in which backward reaches the parameters.
inline at::Tensor with_shortcut(const Conv2d& convolution, const at::Tensor& h, const Conv2d& shortcut,
                                const at::Tensor& x) {
  if (!c10::GradMode::is_enabled()) return convolution.forward(h, shortcut.forward(x));
  const at::Tensor y = convolution.forward(h);
  return shortcut.forward(x, y);
}

}  // namespace ip2p
