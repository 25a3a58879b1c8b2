#include "nn/embeddings.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/sin.h>

#include <cmath>
#include <numbers>

namespace ip2p {

at::Tensor timestep_embedding(const at::Tensor& timesteps, int64_t channels, bool flip_sin_to_cos,
                              double freq_shift) {
  const int64_t half = channels / 2;
  const auto options = at::TensorOptions().dtype(at::kFloat).device(timesteps.device());
  const at::Tensor exponent =
      at::arange(0, half, options) * -std::log(10000.0) / (static_cast<double>(half) - freq_shift);
  const at::Tensor angles = timesteps.unsqueeze(1).to(at::kFloat) * at::exp(exponent).unsqueeze(0);
  const at::Tensor sines = at::sin(angles), cosines = at::cos(angles);
  const at::Tensor embedding =
      flip_sin_to_cos ? at::cat({cosines, sines}, -1) : at::cat({sines, cosines}, -1);
  return channels % 2 == 1 ? at::constant_pad_nd(embedding, {0, 1}) : embedding;
}

FourierProjection::FourierProjection(int64_t channels) {
  add_parameter("weight", weight_, {channels / 2});
  weight_.trained = false;
}

at::Tensor FourierProjection::forward(const at::Tensor& numbers, bool flip_sin_to_cos) const {
  const at::Tensor x = numbers.to(at::kFloat).unsqueeze(1);
  const at::Tensor angles = x * (*weight_).to(at::kFloat).unsqueeze(0) * 2 * std::numbers::pi;
  const at::Tensor sines = at::sin(angles), cosines = at::cos(angles);
  return flip_sin_to_cos ? at::cat({cosines, sines}, -1) : at::cat({sines, cosines}, -1);
}

TimestepEmbedding::TimestepEmbedding(int64_t in_channels, int64_t out_channels, const std::string& act_fn,
                                     int64_t condition_dim, const std::string& post_act_fn,
                                     int64_t last_channels)
    : linear_1_(in_channels, out_channels),
      linear_2_(out_channels, last_channels > 0 ? last_channels : out_channels),
      act_(activation(act_fn)) {
  if (!post_act_fn.empty()) post_act_ = activation(post_act_fn);
  add_child("linear_1", linear_1_);
  if (condition_dim > 0) {
    cond_proj_ = std::make_unique<Linear>(condition_dim, in_channels, false);
    add_child("cond_proj", *cond_proj_);
  }
  add_child("linear_2", linear_2_);
}

at::Tensor TimestepEmbedding::forward(const at::Tensor& x, const at::Tensor& condition) const {
  const at::Tensor input = condition.defined() ? x + cond_proj_->forward(condition) : x;
  const at::Tensor embedding = linear_2_.forward(act_(linear_1_.forward(input)));
  return post_act_ ? post_act_(embedding) : embedding;
}

}  // namespace ip2p
