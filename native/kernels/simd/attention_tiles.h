#pragma once

// The products of attention in bfloat16 by tiles: Intel's Advanced Matrix Extensions (AMX),
// https://www.intel.com/content/www/us/en/docs/intrinsics-guide/index.html#othertechs=AMX

#if defined(__AVX512BF16__) && defined(__AMX_BF16__)
#define IP2P_TILES

#include "kernels/simd/attention_memory.h"

namespace ip2p::IP2P_SIMD {

/// Rows of a tile, and units in each of them.
constexpr int64_t TILE = 16;

/// The shape of the eight tile registers, which all are whole tiles here, as `ldtilecfg` reads it.
struct alignas(64) TileShapes {
  uint8_t palette = 1, first_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

/// While it lives, this thread has tile registers.
class TileRegisters {
 public:
  TileRegisters() {
    const TileShapes shapes;
    compiler_fence();
    _tile_loadconfig(&shapes);
  }
  ~TileRegisters() { _tile_release(); }
  TileRegisters(const TileRegisters&) = delete;
  TileRegisters& operator=(const TileRegisters&) = delete;

  /// What was written must be in memory before a tile is loaded: some compilers do not know that it reads.
  static void compiler_fence() { __asm__ volatile("" ::: "memory"); }
};

/// A matrix of units in memory, `stride` of them from one row to the next.
struct UnitRows {
  const uint32_t* data;
  int64_t stride;
};

/// to[row][column] (+)= Σ left[row][unit] · right[unit][column] for one or two tiles of rows and of columns,
/// and `steps` tiles of units.
template <int R, int C>
inline void multiply_tiles(float* to, int64_t to_stride, bool adds, UnitRows left, UnitRows right,
                           int64_t steps) {
  static_assert((R == 1 || R == 2) && (C == 1 || C == 2));
  constexpr int64_t BYTES = sizeof(float);
  const int64_t to_bytes = to_stride * BYTES, left_bytes = left.stride * BYTES,
                right_bytes = right.stride * BYTES;
  float* const below = to + TILE * to_stride;
  TileRegisters::compiler_fence();
  if (adds) {
    _tile_loadd(0, to, to_bytes);
    if constexpr (C == 2) _tile_loadd(1, to + TILE, to_bytes);
    if constexpr (R == 2) _tile_loadd(2, below, to_bytes);
    if constexpr (R == 2 && C == 2) _tile_loadd(3, below + TILE, to_bytes);
  } else {
    _tile_zero(0);
    if constexpr (C == 2) _tile_zero(1);
    if constexpr (R == 2) _tile_zero(2);
    if constexpr (R == 2 && C == 2) _tile_zero(3);
  }
  const uint32_t *rows = left.data, *columns = right.data;
  for (int64_t step = 0; step < steps; ++step, rows += TILE, columns += TILE * right.stride) {
    _tile_loadd(4, rows, left_bytes);
    _tile_loadd(6, columns, right_bytes);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (C == 2) {
      _tile_loadd(7, columns + TILE, right_bytes);
      _tile_dpbf16ps(1, 4, 7);
    }
    if constexpr (R == 2) {
      _tile_loadd(5, rows + TILE * left.stride, left_bytes);
      _tile_dpbf16ps(2, 5, 6);
      if constexpr (C == 2) _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, to, to_bytes);
  if constexpr (C == 2) _tile_stored(1, to + TILE, to_bytes);
  if constexpr (R == 2) _tile_stored(2, below, to_bytes);
  if constexpr (R == 2 && C == 2) _tile_stored(3, below + TILE, to_bytes);
  TileRegisters::compiler_fence();
}

/// The same for any numbers of tiles of rows and columns.
inline void multiply_tiles(float* to, int64_t to_stride, bool adds, UnitRows left, UnitRows right,
                           int64_t steps, int64_t row_tiles, int64_t column_tiles) {
  for (int64_t row = 0; row < row_tiles; row += 2)
    for (int64_t column = 0; column < column_tiles; column += 2) {
      float* const block = to + row * TILE * to_stride + column * TILE;
      const UnitRows rows{left.data + row * TILE * left.stride, left.stride};
      const UnitRows columns{right.data + column * TILE, right.stride};
      const bool two_rows = row + 1 < row_tiles, two_columns = column + 1 < column_tiles;
      if (two_rows && two_columns)
        multiply_tiles<2, 2>(block, to_stride, adds, rows, columns, steps);
      else if (two_rows)
        multiply_tiles<2, 1>(block, to_stride, adds, rows, columns, steps);
      else if (two_columns)
        multiply_tiles<1, 2>(block, to_stride, adds, rows, columns, steps);
      else
        multiply_tiles<1, 1>(block, to_stride, adds, rows, columns, steps);
    }
}

constexpr int64_t tiles_of(int64_t count) {
  return (count + TILE - 1) / TILE;
}

/// As VectorMatrices. A left factor has rows of units.
struct TileMatrices {
  using A = BFloat16Arithmetic;
  using Unit = A::Unit;
  using Registers = TileRegisters;
  static constexpr int64_t QUERIES = 64, ROW_STEP = A::DEPTH * TILE, COLUMN_STEP = A::DEPTH * TILE;

  static int64_t depth(int64_t channels) { return round_up((channels + A::DEPTH - 1) / A::DEPTH, TILE); }

  static void pack_rows(const RowsOf<BFloat16>& rows, int64_t first, int64_t count, int64_t depth, Unit* to) {
    for (int64_t row = 0; row < count; ++row) {
      auto* const line = reinterpret_cast<BFloat16*>(to + row * depth);
      const BFloat16* const from = rows.data + (first + row) * rows.stride;
      for (int64_t channel = 0; channel < depth * A::DEPTH; channel += LANES) {
        const int64_t left = first + row < rows.count ? rows.channels - channel : 0;
        store(line + channel, left > 0 ? load_first(from + channel, left) : set(0));
      }
    }
  }

  /// Columns of units, [channel][QUERIES / DEPTH].
  static void pack_transposed(const RowsOf<BFloat16>& rows, int64_t first, int64_t count, int64_t width,
                              Unit* to) {
    pack_transposed<QUERIES / A::DEPTH>(rows, first, count / A::DEPTH, width, to);
  }

  /// Columns of `count` units in rows of STRIDE, [channel][STRIDE].
  template <int64_t STRIDE>
  static void pack_transposed(const RowsOf<BFloat16>& rows, int64_t first, int64_t count, int64_t width,
                              Unit* to) {
    for (int64_t unit = 0; unit < count; unit += 4)
      for (int64_t begin = 0; begin < width; begin += LANES) {
        alignas(64) Unit lines[4][LANES];
        for (int64_t i = 0; i < 4; ++i)
          pack_row_units<A>(rows, first + (unit + i) * A::DEPTH, begin, begin + LANES, lines[i]);
        for (int64_t channel = 0; channel < LANES; channel += 4) {
          Words x[4];
          for (int64_t i = 0; i < 4; ++i) x[i] = load_words(lines[i] + channel);
          transpose(x);
          for (int64_t i = 0; i < 4; ++i) store_words(to + (begin + channel + i) * STRIDE + unit, x[i]);
        }
      }
  }

  static void pack_right(const RowsOf<BFloat16>& rows, int64_t first, Unit* to) {
    pack_right<BACKWARD_KEYS>(rows, first, to);
  }

  template <int64_t W>
  static void pack_right(const RowsOf<BFloat16>& rows, int64_t first, Unit* to) {
    pack_columns<A, W>(rows, first, to);
    for (int64_t unit = column_depth<A>(rows.channels); unit < depth(rows.channels); ++unit)
      clear_units(to + unit * W, W);
  }

  static void clear_units(Unit* to, int64_t count) {
    for (int64_t i = 0; i < count; i += LANES) store(reinterpret_cast<float*>(to + i), set(0));
  }

  static void multiply(float* to, const Unit* left, const Unit* right, int64_t channels, int64_t rows,
                       int64_t columns) {
    const int64_t units = depth(channels);
    multiply_tiles(to, BACKWARD_KEYS, false, {left, units}, {right, BACKWARD_KEYS}, units / TILE,
                   tiles_of(rows), tiles_of(columns));
  }

  static void add_transposed(float* to, const Unit* left, const Unit* right, int64_t channels, int64_t rows,
                             int64_t columns) {
    multiply_tiles(to, BACKWARD_KEYS, true, {left, QUERIES / A::DEPTH}, {right, BACKWARD_KEYS},
                   rows / ROW_STEP, tiles_of(channels), tiles_of(columns));
  }

  static void add_rows(float* to, const Unit* left, const Unit* right, int64_t width, int64_t rows,
                       int64_t columns) {
    multiply_tiles(to, width, true, {left, BACKWARD_KEYS / A::DEPTH}, {right, width}, columns / COLUMN_STEP,
                   tiles_of(rows), tiles_of(width));
  }
};

/// As VectorProducts. Not for causal attention.
class TileProducts {
 public:
  using A = BFloat16Arithmetic;
  using Matrices = TileMatrices;
  using Unit = A::Unit;
  static constexpr int64_t KEY_BLOCK = 128, UNITS = KEY_BLOCK / A::DEPTH;
  static_assert(UNITS % TILE == 0);

  TileProducts(Cutter& cutter, const AttentionShape& shape)
      : depth_(Matrices::depth(shape.channels)),
        channels_(round_up(shape.channels, TILE)),
        keys_(cutter.take<Unit>(round_up(shape.keys, TILE) * depth_)),
        values_(cutter.take<Unit>(round_up(shape.keys, KEY_BLOCK) / A::DEPTH * channels_)) {}

  static ForwardScratch<A> scratch(Cutter& cutter, const AttentionShape& shape) {
    return {cutter, KEY_BLOCK, Matrices::depth(shape.channels), round_up(shape.channels, TILE)};
  }

  void pack(const RowsOf<BFloat16>& keys, const RowsOf<BFloat16>& values, int64_t first, int64_t last) const {
    prefetch(values, first, last);
    Matrices::pack_rows(keys, first, round_up(last - first, TILE), depth_, keys_ + first * depth_);
    prefetch(keys, last, last + KEY_BLOCK);
    Matrices::pack_transposed<UNITS>(values, first, units_of(last - first), channels_,
                                     values_ + first / A::DEPTH * channels_);
  }

  void pack_queries(const RowsOf<BFloat16>& queries, int64_t first, const ForwardScratch<A>& scratch) const {
    Matrices::pack_right<WIDTH>(queries, first, scratch.queries);
  }

  void score(const ForwardScratch<A>& scratch, int64_t first, int64_t count, int64_t,
             Vector (&maximum)[VECTORS]) const {
    multiply_tiles(scratch.scores, WIDTH, false, {keys_ + first * depth_, depth_}, {scratch.queries, WIDTH},
                   depth_ / TILE, tiles_of(count), WIDTH / TILE);
    Vector highest[VECTORS];
    for (int v = 0; v < VECTORS; ++v) highest[v] = set(MASKED);
    for (int64_t row = 0; row < count; ++row)
      for (int v = 0; v < VECTORS; ++v)
        highest[v] = max(highest[v], load(scratch.scores + row * WIDTH + v * LANES));
    for (int v = 0; v < VECTORS; ++v) maximum[v] = highest[v];
  }

  void add_values(const ForwardScratch<A>& scratch, int64_t first, int64_t count,
                  const Vector (&rescale)[VECTORS]) const {
    const int64_t given = (count + A::DEPTH - 1) / A::DEPTH, used = units_of(count);
    Matrices::clear_units(scratch.probabilities + given * WIDTH, (used - given) * WIDTH);
    if (first > 0)
      for (int64_t channel = 0; channel < channels_; ++channel)
        for (int v = 0; v < VECTORS; ++v) {
          float* const output = scratch.output + channel * WIDTH + v * LANES;
          store(output, mul(load(output), rescale[v]));
        }
    multiply_tiles(scratch.output, WIDTH, first > 0, {values_ + first / A::DEPTH * channels_, UNITS},
                   {scratch.probabilities, WIDTH}, used / TILE, channels_ / TILE, WIDTH / TILE);
  }

 private:
  /// Units of so many keys, in whole tiles.
  static int64_t units_of(int64_t keys) { return round_up((keys + A::DEPTH - 1) / A::DEPTH, TILE); }

  const int64_t depth_, channels_;
  /// Keys in rows of units, [key][depth]; values in columns of units, block by block,
  /// [key / KEY_BLOCK][channel][UNITS].
  Unit *const keys_, *const values_;
};

}  // namespace ip2p::IP2P_SIMD

#endif
