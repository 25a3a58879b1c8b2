#pragma once

#include <memory>

#include "models/blocks/unet_block.h"

namespace ip2p {

// Blocks of the ×2 latent upscaler, after k-diffusion's. Each takes one skip, if its level has one, and ends
// in the width of the level above.

/// Resnets, and an upsampler.
std::unique_ptr<UNetUpBlock> make_k_up_block_2d(const UNetBlockOptions& options);

/// Resnets with attention behind each, and an upsampler; with self-attention where the widths of this level,
/// of the one above and of the timestep's embedding are equal.
std::unique_ptr<UNetUpBlock> make_k_cross_attn_up_block_2d(const UNetBlockOptions& options);

}  // namespace ip2p
