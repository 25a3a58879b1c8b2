#include "kernels/simd/column_blocks.h"

#include "kernels/simd/column_block.h"

namespace ip2p::IP2P_SIMD {
namespace {

template <class Number>
void pack(const Number* weight, int64_t outputs, int64_t numbers, int64_t index, Number* packed) {
  const ColumnBlock block(index, outputs, numbers);
  Number* to = packed + block.offset;
  for (int64_t i = 0; i < numbers; ++i)
    for (int64_t column = 0; column < block.columns; ++column) {
      const int64_t output = block.first + column;
      *to++ = output < outputs ? weight[output * numbers + i] : 0;
    }
}

template <class Number>
void unpack(const Number* packed, int64_t outputs, int64_t numbers, int64_t index, Number* weight) {
  const ColumnBlock block(index, outputs, numbers);
  const Number* const from = packed + block.offset;
  for (int64_t column = 0; column < block.columns && block.first + column < outputs; ++column)
    for (int64_t i = 0; i < numbers; ++i)
      weight[(block.first + column) * numbers + i] = from[i * block.columns + column];
}

}  // namespace

int64_t column_blocks(int64_t outputs) {
  return (outputs + WIDTH - 1) / WIDTH;
}

void pack_columns(const void* weight, int bytes, int64_t outputs, int64_t numbers, int64_t block,
                  void* packed) {
  if (bytes == 4)
    pack(static_cast<const uint32_t*>(weight), outputs, numbers, block, static_cast<uint32_t*>(packed));
  else
    pack(static_cast<const uint16_t*>(weight), outputs, numbers, block, static_cast<uint16_t*>(packed));
}

void unpack_columns(const void* packed, int bytes, int64_t outputs, int64_t numbers, int64_t block,
                    void* weight) {
  if (bytes == 4)
    unpack(static_cast<const uint32_t*>(packed), outputs, numbers, block, static_cast<uint32_t*>(weight));
  else
    unpack(static_cast<const uint16_t*>(packed), outputs, numbers, block, static_cast<uint16_t*>(weight));
}

}  // namespace ip2p::IP2P_SIMD
