#include "models/blocks/block_types.h"

#include "core/error.h"
#include "core/utf8.h"
#include "models/blocks/down_block_2d.h"
#include "models/blocks/k_down_block_2d.h"
#include "models/blocks/k_up_block_2d.h"
#include "models/blocks/mid_block_2d.h"
#include "models/blocks/simple_cross_attn_block_2d.h"
#include "models/blocks/up_block_2d.h"

namespace ip2p {
namespace {

template <class Block>
struct BlockType {
  const char* name;
  std::unique_ptr<Block> (*make)(const UNetBlockOptions&);
};

// The table: a new type is a file with its maker, and a line here.
constexpr BlockType<UNetDownBlock> kDownBlocks[] = {
    {"DownBlock2D", make_down_block_2d},
    {"CrossAttnDownBlock2D", make_cross_attn_down_block_2d},
    {"KDownBlock2D", make_k_down_block_2d},
    {"KCrossAttnDownBlock2D", make_k_cross_attn_down_block_2d},
    {"ResnetDownsampleBlock2D", make_resnet_downsample_block_2d},
    {"SimpleCrossAttnDownBlock2D", make_simple_cross_attn_down_block_2d},
};
constexpr BlockType<UNetMidBlock> kMidBlocks[] = {
    {"UNetMidBlock2D", make_mid_block_2d},
    {"UNetMidBlock2DCrossAttn", make_cross_attn_mid_block_2d},
    {"UNetMidBlock2DSimpleCrossAttn", make_simple_cross_attn_mid_block_2d},
};
constexpr BlockType<UNetUpBlock> kUpBlocks[] = {
    {"UpBlock2D", make_up_block_2d},
    {"CrossAttnUpBlock2D", make_cross_attn_up_block_2d},
    {"KUpBlock2D", make_k_up_block_2d},
    {"KCrossAttnUpBlock2D", make_k_cross_attn_up_block_2d},
    {"ResnetUpsampleBlock2D", make_resnet_upsample_block_2d},
    {"SimpleCrossAttnUpBlock2D", make_simple_cross_attn_up_block_2d},
};

template <class Block, size_t count>
std::unique_ptr<Block> make(const BlockType<Block> (&types)[count], const char* key, const std::string& name,
                            const UNetBlockOptions& options) {
  std::string known;
  for (const auto& type : types) {
    if (name == type.name) return type.make(options);
    known += (known.empty() ? "" : " or ") + in_quotes(type.name);
  }
  throw Error("ERR_CONFIG", in_quotes(key) + " holds " + in_quotes(name) + ", expected " + known);
}

}  // namespace

std::unique_ptr<UNetDownBlock> make_down_block(const std::string& type, const UNetBlockOptions& options) {
  return make(kDownBlocks, "down_block_types", type, options);
}

std::unique_ptr<UNetMidBlock> make_mid_block(const std::string& type, const UNetBlockOptions& options) {
  return make(kMidBlocks, "mid_block_type", type, options);
}

std::unique_ptr<UNetUpBlock> make_up_block(const std::string& type, const UNetBlockOptions& options) {
  return make(kUpBlocks, "up_block_types", type, options);
}

}  // namespace ip2p
