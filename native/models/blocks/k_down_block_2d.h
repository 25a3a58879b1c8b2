#pragma once

#include <memory>

#include "models/blocks/unet_block.h"

namespace ip2p {

// Blocks of the ×2 latent upscaler, after k-diffusion's. Only the last output of a level is a skip, and only
// with a downsampler behind it.

/// Resnets, and a downsampler. Its output is a skip at the lowest level too.
std::unique_ptr<UNetDownBlock> make_k_down_block_2d(const UNetBlockOptions& options);

/// Resnets with attention behind each, and a downsampler; self-attention at the lowest level only.
std::unique_ptr<UNetDownBlock> make_k_cross_attn_down_block_2d(const UNetBlockOptions& options);

}  // namespace ip2p
