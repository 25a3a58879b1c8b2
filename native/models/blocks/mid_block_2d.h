#pragma once

#include <memory>

#include "models/blocks/unet_block.h"

namespace ip2p {

/// One resnet. (diffusers adds self-attention here only in models without text.)
std::unique_ptr<UNetMidBlock> make_mid_block_2d(const UNetBlockOptions& options);

/// Resnet, transformer, resnet.
std::unique_ptr<UNetMidBlock> make_cross_attn_mid_block_2d(const UNetBlockOptions& options);

}  // namespace ip2p
