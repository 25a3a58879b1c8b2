#pragma once

#include <memory>

#include "models/blocks/unet_block.h"

namespace ip2p {

/// Resnets, and a downsampler.
std::unique_ptr<UNetDownBlock> make_down_block_2d(const UNetBlockOptions& options);

/// Resnets with a transformer behind each, and a downsampler.
std::unique_ptr<UNetDownBlock> make_cross_attn_down_block_2d(const UNetBlockOptions& options);

}  // namespace ip2p
