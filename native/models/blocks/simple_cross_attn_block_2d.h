#pragma once

#include <memory>

#include "models/blocks/unet_block.h"

namespace ip2p {

// The blocks of Kandinsky 2.2's decoder: resnets, in the "SimpleCrossAttn" types with an attention behind
// each that looks at the condition and at the map at once, and a resnet that resamples. Here
// attention_head_dim really is the width of a head.
std::unique_ptr<UNetDownBlock> make_resnet_downsample_block_2d(const UNetBlockOptions& options);
std::unique_ptr<UNetDownBlock> make_simple_cross_attn_down_block_2d(const UNetBlockOptions& options);
std::unique_ptr<UNetMidBlock> make_simple_cross_attn_mid_block_2d(const UNetBlockOptions& options);
std::unique_ptr<UNetUpBlock> make_resnet_upsample_block_2d(const UNetBlockOptions& options);
std::unique_ptr<UNetUpBlock> make_simple_cross_attn_up_block_2d(const UNetBlockOptions& options);

}  // namespace ip2p
