#include "nn/resnet.h"

#include "core/cancel.h"
#include "nn/sampling.h"
#include "nn/shortcut.h"

namespace ip2p {

ResnetBlock2D::ResnetBlock2D(int64_t in_channels, int64_t out_channels, const ResnetOptions& options)
    : norm1_(options.groups, in_channels, options.eps),
      norm2_(options.groups, out_channels, options.eps),
      conv1_(in_channels, out_channels, 3, 1, 1),
      conv2_(out_channels, out_channels, 3, 1, 1),
      act_(activation(options.act_fn)),
      silu_(is_silu(options.act_fn)),
      scale_shift_(options.scale_shift),
      skip_time_act_(options.skip_time_act),
      resampling_(options.resampling),
      output_scale_factor_(options.output_scale_factor) {
  add_child("norm1", norm1_);
  add_child("conv1", conv1_);
  if (options.time_embedding_dim) {
    time_emb_proj_ =
        std::make_unique<Linear>(*options.time_embedding_dim, scale_shift_ ? 2 * out_channels : out_channels);
    add_child("time_emb_proj", *time_emb_proj_);
  }
  add_child("norm2", norm2_);
  add_child("conv2", conv2_);
  if (in_channels != out_channels) {
    conv_shortcut_ = std::make_unique<Conv2d>(in_channels, out_channels, 1);
    add_child("conv_shortcut", *conv_shortcut_);
  }
}

void ResnetBlock2D::quantize() {
  conv1_.quantize();
  conv2_.quantize();
}

at::Tensor ResnetBlock2D::norm_act(const GroupNorm& norm, const at::Tensor& x,
                                   const std::optional<at::Tensor>& shift) const {
  if (silu_) return norm.forward_silu(x, shift);
  return act_(norm.forward(shift ? x + shift->unsqueeze(-1).unsqueeze(-1) : x));
}

at::Tensor ResnetBlock2D::resampled(const at::Tensor& x) const {
  if (resampling_ == ResnetResampling::Down) return halved(x);
  return resampling_ == ResnetResampling::Up ? doubled(x) : x;
}

at::Tensor ResnetBlock2D::forward(const at::Tensor& input, const TimeCondition& time) const {
  check_cancelled();
  at::Tensor h = conv1_.forward(resampled(norm_act(norm1_, input)));
  const at::Tensor x = resampled(input);
  std::optional<at::Tensor> shift;
  if (time_emb_proj_)
    shift = time.projected(
        this, [&](const at::Tensor& t) { return time_emb_proj_->forward(skip_time_act_ ? t : act_(t)); });
  if (shift && scale_shift_) {
    const auto halves = shift->unsqueeze(-1).unsqueeze(-1).chunk(2, 1);
    h = act_(norm2_.forward(h) * (halves[0] + 1) + halves[1]);
  } else {
    h = norm_act(norm2_, h, shift);
  }
  const at::Tensor sum = conv_shortcut_ ? with_shortcut(conv2_, h, *conv_shortcut_, x) : conv2_.forward(h, x);
  return output_scale_factor_ == 1.0 ? sum : sum / output_scale_factor_;
}

}  // namespace ip2p
