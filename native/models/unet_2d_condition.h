#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/blocks/unet_block.h"
#include "models/model.h"
#include "models/unet_encoder.h"

namespace ip2p {

/// The denoising network of Stable Diffusion (Rombach et al. 2022), with the extra input channels of
/// InstructPix2Pix (Brooks et al. 2023) and the added conditions of SDXL (Podell et al. 2023).
class UNet2DConditionModel : public Model {
 public:
  UNet2DConditionModel(const UNet2DConditionConfig& config, AttentionBackend attention);

  /// The first convolution of a text-to-image UNet (fewer input channels) is padded with zeros for the
  /// missing channels if extend_input_channels is set.
  at::Tensor adapted(const std::string& name, const at::Tensor& value, at::IntArrayRef shape) const override;

  /// Leaves out the first and the last convolution and the embeddings.
  void quantize() override;

  /// sample: [B,in_channels,H,W], or fewer rows with `conditions.sample_rows`; timesteps: [B] or [1], the
  /// latter with fewer rows, and on the CPU with a cache → [B,out_channels,H,W]
  ///
  /// With `DeepFeatures::Reuse` only the highest resolution is computed, and the rest taken from the last
  /// pass with `DeepFeatures::Keep` (Ma et al. 2023, "DeepCache"), if that was of the same size.
  at::Tensor forward(const at::Tensor& sample, const at::Tensor& timesteps,
                     const Conditions& conditions) const;

 private:
  /// All up blocks but the last.
  at::Tensor ascend(at::Tensor x, UNetEncoder::Pass& pass, bool match_skip_size) const;

  UNet2DConditionConfig config_;
  bool made_of_k_blocks_;
  UNetEncoder encoder_;
  ModuleList<UNetUpBlock> up_blocks_;
  std::unique_ptr<GroupNorm> conv_norm_out_;
  Activation act_;
  Conv2d conv_out_;
};

}  // namespace ip2p
