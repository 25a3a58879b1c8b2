#include "nn/ada_group_norm.h"

#include <ATen/ops/group_norm.h>

#include "core/cancel.h"
#include "core/error.h"
#include "nn/shortcut.h"

namespace ip2p {

AdaGroupNorm::AdaGroupNorm(int64_t embedding_dim, int64_t channels, int64_t groups, double eps)
    : linear_(embedding_dim, 2 * channels), groups_(groups), eps_(eps) {
  if (groups <= 0 || channels % groups != 0)
    throw Error("ERR_CONFIG", "a group norm of " + std::to_string(channels) + " channels cannot have " +
                                  std::to_string(groups) + " groups (block_out_channels)");
  add_child("linear", linear_);
}

at::Tensor AdaGroupNorm::forward(const at::Tensor& x, const TimeCondition& time) const {
  const TimeCondition own{time.of_rows(x.size(0)), time.row, time.cache, {}};
  const at::Tensor both = own.projected(this, [&](const at::Tensor& t) { return linear_.forward(t); });
  const auto halves = both.unsqueeze(-1).unsqueeze(-1).chunk(2, 1);
  return at::group_norm(x, groups_, {}, {}, eps_) * (halves[0] + 1) + halves[1];
}

ResnetBlockCondNorm2D::ResnetBlockCondNorm2D(int64_t in_channels, int64_t inner_channels,
                                             int64_t out_channels, const ResnetCondNormOptions& options)
    : norm1_(options.embedding_dim, in_channels, options.groups_in, options.eps),
      norm2_(options.embedding_dim, inner_channels, options.groups_out, options.eps),
      conv1_(in_channels, inner_channels, 3, 1, 1),
      conv2_(inner_channels, out_channels, 3, 1, 1),
      act_(activation(options.act_fn)) {
  add_child("norm1", norm1_);
  add_child("conv1", conv1_);
  add_child("norm2", norm2_);
  add_child("conv2", conv2_);
  if (in_channels != out_channels) {
    conv_shortcut_ = std::make_unique<Conv2d>(in_channels, out_channels, 1, 1, 0, false);
    add_child("conv_shortcut", *conv_shortcut_);
  }
}

void ResnetBlockCondNorm2D::quantize() {
  conv1_.quantize();
  conv2_.quantize();
}

at::Tensor ResnetBlockCondNorm2D::forward(const at::Tensor& x, const TimeCondition& time) const {
  check_cancelled();
  const at::Tensor h = conv1_.forward(act_(norm1_.forward(x, time)));
  const at::Tensor normed = act_(norm2_.forward(h, time));
  return conv_shortcut_ ? with_shortcut(conv2_, normed, *conv_shortcut_, x) : conv2_.forward(normed, x);
}

}  // namespace ip2p
