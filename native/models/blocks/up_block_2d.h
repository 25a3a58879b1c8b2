#pragma once

#include <memory>

#include "models/blocks/unet_block.h"

namespace ip2p {

/// Resnets, and an upsampler.
std::unique_ptr<UNetUpBlock> make_up_block_2d(const UNetBlockOptions& options);

/// Resnets with a transformer behind each, and an upsampler.
std::unique_ptr<UNetUpBlock> make_cross_attn_up_block_2d(const UNetBlockOptions& options);

}  // namespace ip2p
