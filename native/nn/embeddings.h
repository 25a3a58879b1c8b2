#pragma once

#include "nn/layers.h"

namespace ip2p {

/// Sinusoidal embedding of timesteps (Ho et al. 2020, section on the time embedding of DDPM), in float32.
/// timesteps: [B] of any numeric type → [B,channels]. `flip_sin_to_cos` puts the cosines first; `freq_shift`
/// is subtracted from the number of frequencies in the exponent's divisor.
at::Tensor timestep_embedding(const at::Tensor& timesteps, int64_t channels, bool flip_sin_to_cos,
                              double freq_shift);

/// Embedding of numbers by random frequencies w that are drawn once and never trained, in float32: sine and
/// cosine of 2π·w·x (Tancik et al. 2020, "Fourier Features"). [B] → [B,channels], channels even
class FourierProjection : public Module {
 public:
  explicit FourierProjection(int64_t channels);
  at::Tensor forward(const at::Tensor& numbers, bool flip_sin_to_cos) const;

 private:
  Parameter weight_;
};

/// Two linear layers with an activation between, and perhaps one behind: [B,in] → [B,out].
class TimestepEmbedding : public Module {
 public:
  /// @param condition_dim width of a condition that is projected and added to the input; 0: none
  /// @param post_act_fn empty: none
  /// @param last_channels width of the output; 0: that between the layers, `out_channels`
  TimestepEmbedding(int64_t in_channels, int64_t out_channels, const std::string& act_fn,
                    int64_t condition_dim = 0, const std::string& post_act_fn = "",
                    int64_t last_channels = 0);
  /// condition: [B,condition_dim] or undefined
  at::Tensor forward(const at::Tensor& x, const at::Tensor& condition = {}) const;

 private:
  Linear linear_1_, linear_2_;
  std::unique_ptr<Linear> cond_proj_;
  Activation act_, post_act_;
};

}  // namespace ip2p
