// 3×3 convolutions with fewer multiplications: Lavin & Gray 2016, "Fast Algorithms for Convolutional Neural
// Networks" (Winograd 1980). A tile of T×T outputs needs (T+2)² instead of 9·T² products per pair of
// channels.
//
// Weights are transformed in pieces whenever they are used: a piece serves all tiles at hand, stays in the
// cache, and the weights take no more memory than without. Those in half precision are widened there.
#include "kernels/simd/winograd.h"

#include "kernels/simd/column_block.h"
#include "kernels/simd/pack.h"

namespace ip2p::IP2P_SIMD {
namespace {

/// Input channels that are summed before the sums are stored.
constexpr int64_t DEPTH = 64;

/// Numbers from one product's matrix of `count` numbers to the next one's. Counts are multiples of large
/// powers of two, so without a gap of a cache line the same element of all matrices, which the transforms
/// visit in turn, would lie in one or two sets of the cache.
constexpr int64_t matrix_step(int64_t count) {
  return count + 16;
}

/// F(2×2, 3×3): the points 0, 1, −1 and infinity.
struct TileOf2 {
  static constexpr int SIZE = 2;
  struct Input {
    static constexpr int ROWS = 4, COLUMNS = 4;
    static constexpr float AT[4][4] = {{1, 0, -1, 0}, {0, 1, 1, 0}, {0, -1, 1, 0}, {0, -1, 0, 1}};
  };
  struct Weight {
    static constexpr int ROWS = 4, COLUMNS = 3;
    static constexpr float AT[4][3] = {{1, 0, 0}, {0.5f, 0.5f, 0.5f}, {0.5f, -0.5f, 0.5f}, {0, 0, 1}};
  };
  struct Output {
    static constexpr int ROWS = 2, COLUMNS = 4;
    static constexpr float AT[2][4] = {{1, 1, 1, 0}, {0, 1, -1, 1}};
  };
};

/// F(4×4, 3×3) at the points 0, ±3/4, ±3/2 and infinity: half the rounding error of the customary 0, ±1, ±2,
/// with factors of inputs and outputs that a float holds exactly (Barabasz et al. 2020, "Error Analysis and
/// Improving the Accuracy of Winograd Convolution for Deep Neural Networks").
struct TileOf4 {
  static constexpr int SIZE = 4;
  struct Input {
    static constexpr int ROWS = 6, COLUMNS = 6;
    static constexpr float AT[6][6] = {
        {81.f / 64, 0, -45.f / 16, 0, 1, 0},       {0, -27.f / 16, -9.f / 4, 3.f / 4, 1, 0},
        {0, 27.f / 16, -9.f / 4, -3.f / 4, 1, 0},  {0, -27.f / 32, -9.f / 16, 3.f / 2, 1, 0},
        {0, 27.f / 32, -9.f / 16, -3.f / 2, 1, 0}, {0, 81.f / 64, 0, -45.f / 16, 0, 1}};
  };
  struct Weight {
    static constexpr int ROWS = 6, COLUMNS = 3;
    static constexpr float AT[6][3] = {{64.f / 81, 0, 0},
                                       {-128.f / 243, -32.f / 81, -8.f / 27},
                                       {-128.f / 243, 32.f / 81, -8.f / 27},
                                       {32.f / 243, 16.f / 81, 8.f / 27},
                                       {32.f / 243, -16.f / 81, 8.f / 27},
                                       {0, 0, 1}};
  };
  struct Output {
    static constexpr int ROWS = 4, COLUMNS = 6;
    static constexpr float AT[4][6] = {{1, 1, 1, 1, 1, 0},
                                       {0, 3.f / 4, -3.f / 4, 3.f / 2, -3.f / 2, 0},
                                       {0, 9.f / 16, 9.f / 16, 9.f / 4, 9.f / 4, 0},
                                       {0, 27.f / 64, -27.f / 64, 27.f / 8, -27.f / 8, 1}};
  };
};

/// sum + row R of a constant matrix · x, from column C on.
template <class M, int R, int C>
IP2P_ALWAYS_INLINE Vector add_products(const Vector* x, int64_t step, Vector sum) {
  if constexpr (C == M::COLUMNS) {
    return sum;
  } else {
    constexpr float factor = M::AT[R][C];
    if constexpr (factor == 1)
      sum = add(sum, x[C * step]);
    else if constexpr (factor == -1)
      sum = sub(sum, x[C * step]);
    else if constexpr (factor != 0)
      sum = fma(set(factor), x[C * step], sum);
    return add_products<M, R, C + 1>(x, step, sum);
  }
}

/// Row R of a constant matrix · x.
template <class M, int R, int C = 0>
IP2P_ALWAYS_INLINE Vector row_product(const Vector* x, int64_t step) {
  constexpr float factor = M::AT[R][C];
  if constexpr (factor == 0)
    return row_product<M, R, C + 1>(x, step);
  else if constexpr (factor == 1)
    return add_products<M, R, C + 1>(x, step, x[C * step]);
  else
    return add_products<M, R, C + 1>(x, step, mul(set(factor), x[C * step]));
}

/// y = M · x
template <class M, int R = 0>
IP2P_ALWAYS_INLINE void product(const Vector* x, int64_t x_step, Vector* y, int64_t y_step) {
  if constexpr (R < M::ROWS) {
    y[R * y_step] = row_product<M, R>(x, x_step);
    product<M, R + 1>(x, x_step, y, y_step);
  }
}

/// y = M · x · Mᵀ, both in row-major order.
template <class M>
IP2P_ALWAYS_INLINE void transform(const Vector* x, Vector* y) {
  Vector half[M::ROWS * M::COLUMNS];
  for (int column = 0; column < M::COLUMNS; ++column)
    product<M>(x + column, M::COLUMNS, half + column, M::COLUMNS);
  for (int row = 0; row < M::ROWS; ++row) product<M>(half + row * M::COLUMNS, 1, y + row * M::ROWS, 1);
}

int64_t smaller(int64_t a, int64_t b) {
  return a < b ? a : b;
}

struct TilePlace {
  int64_t image, row, column;  ///< of the first output

  TilePlace(const WinogradShape& shape, int64_t tile)
      : image(tile / (shape.tiles_down() * shape.tiles_across())),
        row(tile / shape.tiles_across() % shape.tiles_down() * shape.tile),
        column(tile % shape.tiles_across() * shape.tile) {}
};

template <class Tile>
void transform_inputs(const WinogradShape& shape, const float* x, const float* zeros, WinogradTiles all,
                      WinogradTiles part, float* input) {
  constexpr int SIDE = Tile::SIZE + 2;
  const int64_t I = shape.in_channels, step = matrix_step(all.count * DEPTH);
  for (int64_t tile = part.first; tile < part.first + part.count; ++tile) {
    const TilePlace place(shape, tile);
    const float* pixels[SIDE * SIDE];
    for (int64_t i = 0; i < SIDE * SIDE; ++i) {
      const int64_t row = place.row + i / SIDE - 1, column = place.column + i % SIDE - 1;
      const bool inside = row >= 0 && row < shape.height && column >= 0 && column < shape.width;
      pixels[i] = inside ? x + ((place.image * shape.height + row) * shape.width + column) * I : zeros;
    }
    for (int64_t channel = 0; channel < I; channel += LANES) {
      Vector from[SIDE * SIDE], to[SIDE * SIDE];
      if (I - channel >= LANES)
        for (int i = 0; i < SIDE * SIDE; ++i) from[i] = load(pixels[i] + channel);
      else
        for (int i = 0; i < SIDE * SIDE; ++i) from[i] = load_first(pixels[i] + channel, I - channel);
      transform<typename Tile::Input>(from, to);
      float* const at =
          input + channel / DEPTH * SIDE * SIDE * step + (tile - all.first) * DEPTH + channel % DEPTH;
      for (int i = 0; i < SIDE * SIDE; ++i) store(at + i * step, to[i]);
    }
  }
}

/// Weights of input channels first … first + depth − 1: to[product][depth][columns].
template <class Tile, int V, class Stored>
void transform_weights(const Stored* packed, int64_t first, int64_t depth, float* to) {
  constexpr int SIDE = Tile::SIZE + 2;
  constexpr int64_t COLUMNS = V * LANES;
  const Stored* from = packed + first * 9 * COLUMNS;
  for (int64_t channel = 0; channel < depth; ++channel, from += 9 * COLUMNS)
    for (int v = 0; v < V; ++v) {
      Vector taps[9], made[SIDE * SIDE];
      for (int i = 0; i < 9; ++i) taps[i] = load(from + i * COLUMNS + v * LANES);
      transform<typename Tile::Weight>(taps, made);
      float* const at = to + channel * COLUMNS + v * LANES;
      for (int i = 0; i < SIDE * SIDE; ++i) store(at + i * matrix_step(DEPTH * COLUMNS), made[i]);
    }
}

/// sums[product][tile][columns] of a range of input channels, added to what is there unless it is the first.
template <int V>
void multiply(const float* input, const float* weights, int64_t depth, int64_t tiles, bool first,
              float* sums) {
  constexpr int64_t COLUMNS = V * LANES;
  for_packed_rows(tiles, [&]<int R>(int64_t tile) {
    Vector sum[R][V];
    clear(sum);
    const float* const rows = input + tile * DEPTH;
    accumulate<Float32Arithmetic, static_cast<int>(DEPTH)>(sum, rows, 1, weights, COLUMNS, depth);
    float* const to = sums + tile * COLUMNS;
    if (!first)
      for (int r = 0; r < R; ++r)
        for (int v = 0; v < V; ++v) sum[r][v] = add(sum[r][v], load(to + r * COLUMNS + v * LANES));
    store(to, COLUMNS, sum);
  });
}

template <class Tile, int V>
void transform_outputs(const WinogradShape& shape, const float* sums, WinogradTiles part,
                       int64_t first_channel, const WinogradEpilogue& epilogue, float* y) {
  constexpr int SIZE = Tile::SIZE, SIDE = SIZE + 2;
  constexpr int64_t COLUMNS = V * LANES;
  const int64_t O = shape.out_channels, step = matrix_step(part.count * COLUMNS);
  for (int64_t tile = 0; tile < part.count; ++tile) {
    const TilePlace place(shape, part.first + tile);
    const int64_t rows = smaller(SIZE, shape.height - place.row),
                  columns = smaller(SIZE, shape.width - place.column);
    for (int v = 0; v < V; ++v) {
      const int64_t channel = first_channel + v * LANES, channels = O - channel;
      Vector from[SIDE * SIDE], to[SIZE * SIZE];
      for (int i = 0; i < SIDE * SIDE; ++i) from[i] = load(sums + i * step + tile * COLUMNS + v * LANES);
      transform<typename Tile::Output>(from, to);
      const Vector bias = epilogue.bias ? load_first(epilogue.bias + channel, channels) : set(0);
      for (int64_t row = 0; row < rows; ++row)
        for (int64_t column = 0; column < columns; ++column) {
          const int64_t pixel =
              (place.image * shape.height + place.row + row) * shape.width + place.column + column;
          Vector value = add(to[row * SIZE + column], bias);
          if (epilogue.addend)
            value = add(value, load_first(epilogue.addend + pixel * O + channel, channels));
          store_first(y + pixel * O + channel, value, channels);
        }
    }
  }
}

template <class Tile, int V, class Stored>
void convolve(const WinogradShape& shape, const Stored* packed, const ColumnBlock& block, const float* input,
              WinogradTiles all, WinogradTiles part, const WinogradEpilogue& epilogue, float* scratch,
              float* y) {
  constexpr int64_t PRODUCTS = (Tile::SIZE + 2) * (Tile::SIZE + 2), COLUMNS = V * LANES;
  const int64_t input_step = matrix_step(all.count * DEPTH), weight_step = matrix_step(DEPTH * COLUMNS),
                sum_step = matrix_step(part.count * COLUMNS);
  float* const weights = scratch;
  float* const sums = scratch + PRODUCTS * weight_step;
  for (int64_t first = 0; first < shape.in_channels; first += DEPTH) {
    const int64_t depth = smaller(DEPTH, shape.in_channels - first);
    transform_weights<Tile, V>(packed + block.offset, first, depth, weights);
    const float* const channels =
        input + first / DEPTH * PRODUCTS * input_step + (part.first - all.first) * DEPTH;
    for (int64_t i = 0; i < PRODUCTS; ++i)
      multiply<V>(channels + i * input_step, weights + i * weight_step, depth, part.count, first == 0,
                  sums + i * sum_step);
  }
  transform_outputs<Tile, V>(shape, sums, part, block.first, epilogue, y);
}

/// Calls f<Tile>() for the tile's size.
template <class F>
void with_tile(const WinogradShape& shape, const F& f) {
  if (shape.tile == 2)
    f.template operator()<TileOf2>();
  else
    f.template operator()<TileOf4>();
}

}  // namespace

int64_t winograd_input_size(const WinogradShape& shape, int64_t tiles) {
  return (shape.in_channels + DEPTH - 1) / DEPTH * shape.products() * matrix_step(tiles * DEPTH);
}

void winograd_input(const WinogradShape& shape, const float* x, const float* zeros, WinogradTiles all,
                    WinogradTiles part, float* input) {
  with_tile(shape, [&]<class Tile>() { transform_inputs<Tile>(shape, x, zeros, all, part, input); });
}

int64_t winograd_scratch_size(const WinogradShape& shape, int64_t tiles) {
  return shape.products() * (matrix_step(DEPTH * WIDTH) + matrix_step(tiles * WIDTH));
}

void winograd_output(const WinogradShape& shape, const ColumnBlocks& weights, int64_t index,
                     const float* input, WinogradTiles all, WinogradTiles part,
                     const WinogradEpilogue& epilogue, float* scratch, float* y) {
  const ColumnBlock block(index, shape.out_channels, shape.in_channels * 9);
  with_weights(weights, [&](const auto* packed) {
    with_tile(shape, [&]<class Tile>() {
      with_vectors(block.columns, [&]<int V>() {
        convolve<Tile, V>(shape, packed, block, input, all, part, epilogue, scratch, y);
      });
    });
  });
}

}  // namespace ip2p::IP2P_SIMD
