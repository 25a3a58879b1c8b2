// Operators of the layers on CUDA, by libtorch's own kernels. Attention needs none: the composite one asks
// scaled_dot_product_attention, which chooses among libtorch's. Nor does the group norm: under autocast
// libtorch computes it in float32, which a kernel registered here would go around.
#include <torch/library.h>

#include <cstdlib>
#include <string_view>

#include "kernels/composed_geglu.h"

namespace ip2p {

TORCH_LIBRARY_IMPL(ip2p, CUDA, library) {
  // Less memory in training for one more gelu in the backward pass; not yet measured on a GPU, so it has to
  // be asked for.
  const char* wanted = std::getenv("IP2P_CUDA_OPERATORS");
  if (wanted == nullptr || std::string_view(wanted) != "1") return;
  library.impl("geglu_forward", composed_geglu_forward);
  library.impl("geglu_backward", composed_geglu_backward);
}

}  // namespace ip2p
