#pragma once

#include <memory>
#include <string>

#include "models/blocks/unet_block.h"

namespace ip2p {

// Blocks by the names configurations use. ERR_CONFIG names the configuration's key and an unknown type.
std::unique_ptr<UNetDownBlock> make_down_block(const std::string& type, const UNetBlockOptions& options);
std::unique_ptr<UNetMidBlock> make_mid_block(const std::string& type, const UNetBlockOptions& options);
std::unique_ptr<UNetUpBlock> make_up_block(const std::string& type, const UNetBlockOptions& options);

}  // namespace ip2p
