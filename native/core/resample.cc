#include "core/resample.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <numbers>
#include <stdexcept>
#include <utility>
#include <vector>

#if defined(__x86_64__) && defined(__GNUC__)
#define IP2P_DISPATCH_AVX2 1
#endif
#if defined(__GNUC__)
#define IP2P_ALWAYS_INLINE inline __attribute__((always_inline))
#else
#define IP2P_ALWAYS_INLINE __forceinline
#endif

namespace ip2p {
namespace {

/// Fractional bits of a weight: of 32, 8 hold the pixel and 2 the sign and the overshoot of filters with
/// negative lobes.
constexpr int kFractionBits = 32 - 8 - 2;
/// Rows that one horizontal step handles together, so that its inner loop runs over neighbouring bytes.
constexpr int kBlockRows = 16;
/// Bytes that one vertical step handles together; its sums fit into registers.
constexpr int kBlockBytes = 64;

double box_weight(double x) {
  return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
}

double bilinear_weight(double x) {
  return std::max(0.0, 1.0 - std::abs(x));
}

double sinc(double x) {
  if (x == 0.0) return 1.0;
  x *= std::numbers::pi;
  return std::sin(x) / x;
}

double hamming_weight(double x) {
  x = std::abs(x);
  // Pillow writes the window's constants in single precision.
  return x < 1.0 ? sinc(x) * (0.54f + 0.46f * std::cos(x * std::numbers::pi)) : 0.0;
}

/// Keys' cubic convolution with a = -0.5.
double bicubic_weight(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
  return x < 2.0 ? (((x - 5.0) * x + 8.0) * x - 4.0) * a : 0.0;
}

double lanczos_weight(double x) {
  return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3.0) : 0.0;
}

struct Kernel {
  double (*weight)(double);
  double support;
};

Kernel kernel_of(ResampleFilter filter) {
  switch (filter) {
    case ResampleFilter::kBox:
      return {box_weight, 0.5};
    case ResampleFilter::kBilinear:
      return {bilinear_weight, 1.0};
    case ResampleFilter::kHamming:
      return {hamming_weight, 1.0};
    case ResampleFilter::kBicubic:
      return {bicubic_weight, 2.0};
    case ResampleFilter::kLanczos:
      return {lanczos_weight, 3.0};
    case ResampleFilter::kNearest:
      break;
  }
  throw std::invalid_argument("this resampling filter has no kernel");
}

/// For every output coordinate along one axis: which inputs it sums, and with what weights.
struct Axis {
  struct Taps {
    int first;
    int count;
    size_t offset;  // of the first weight
  };
  std::vector<Taps> taps;
  std::vector<int32_t> weights;

  int first_input() const { return taps.front().first; }
  int end_input() const { return taps.back().first + taps.back().count; }
};

/// `extent` is how much of the input is spread over the output, from its beginning on.
Axis plan_axis(int in_size, double extent, int out_size, Kernel kernel) {
  const double scale = extent / out_size;
  const double stretch = std::max(scale, 1.0);
  const double support = kernel.support * stretch;
  const double inverse = 1.0 / stretch;

  Axis axis;
  axis.taps.reserve(out_size);
  std::vector<double> exact;
  for (int i = 0; i < out_size; i++) {
    const double center = (i + 0.5) * scale;
    // Bounded before the conversion, which is undefined outside the range of int.
    const int first = static_cast<int>(std::clamp(center - support + 0.5, 0.0, double(in_size)));
    const int last = static_cast<int>(std::clamp(center + support + 0.5, 0.0, double(in_size)));
    const int count = last - first;
    exact.resize(count);
    double sum = 0.0;
    for (int k = 0; k < count; k++) sum += exact[k] = kernel.weight((k + first - center + 0.5) * inverse);
    axis.taps.push_back({first, count, axis.weights.size()});
    for (const double weight : exact) {
      const double fixed = (sum != 0.0 ? weight / sum : weight) * (1 << kFractionBits);
      axis.weights.push_back(static_cast<int32_t>(fixed < 0 ? fixed - 0.5 : fixed + 0.5));
    }
  }
  return axis;
}

/// out[i] = Σ_k weights[k] · first[k · stride + i], rounded and clamped to 8 bits, for i < N.
template <int N>
IP2P_ALWAYS_INLINE void weigh_block(const uint8_t* first, ptrdiff_t stride, const int32_t* weights, int count,
                                    uint8_t* out) {
  int32_t sums[N];
  for (int i = 0; i < N; i++) sums[i] = 1 << (kFractionBits - 1);
  for (int k = 0; k < count; k++, first += stride) {
    const int32_t weight = weights[k];
    for (int i = 0; i < N; i++) sums[i] += weight * first[i];
  }
  for (int i = 0; i < N; i++) out[i] = static_cast<uint8_t>(std::clamp(sums[i] >> kFractionBits, 0, 255));
}

/// Copies rows (W·C bytes each, `row_bytes` apart) into columns: tile[x][row][channel].
template <int C>
IP2P_ALWAYS_INLINE void rows_to_columns(const uint8_t* src, size_t row_bytes, int width, int rows,
                                        uint8_t* tile) {
  for (int x = 0; x < width; x++, tile += kBlockRows * C)
    for (int row = 0; row < rows; row++)
      std::memcpy(tile + row * C, src + row * row_bytes + size_t(x) * C, C);
}

template <int C>
IP2P_ALWAYS_INLINE void columns_to_rows(const uint8_t* tile, int width, int rows, uint8_t* dst,
                                        size_t row_bytes) {
  for (int x = 0; x < width; x++, tile += kBlockRows * C)
    for (int row = 0; row < rows; row++)
      std::memcpy(dst + row * row_bytes + size_t(x) * C, tile + row * C, C);
}

struct Rows {
  const uint8_t* src;  // the first row wanted
  int width;
  int count;
  uint8_t* dst;
};

template <int C>
IP2P_ALWAYS_INLINE void resample_horizontally(const Axis& axis, const Rows& rows) {
  constexpr int kColumn = kBlockRows * C;
  const int out_width = static_cast<int>(axis.taps.size());
  const int begin = axis.first_input();
  const int used = axis.end_input() - begin;
  const size_t in_bytes = size_t(rows.width) * C;
  const size_t out_bytes = size_t(out_width) * C;
  std::vector<uint8_t> in_tile(size_t(used) * kColumn);
  std::vector<uint8_t> out_tile(size_t(out_width) * kColumn);
  for (int y = 0; y < rows.count; y += kBlockRows) {
    const int block = std::min(kBlockRows, rows.count - y);
    rows_to_columns<C>(rows.src + y * in_bytes + size_t(begin) * C, in_bytes, used, block, in_tile.data());
    for (int x = 0; x < out_width; x++) {
      const Axis::Taps& taps = axis.taps[x];
      weigh_block<kColumn>(in_tile.data() + size_t(taps.first - begin) * kColumn, kColumn,
                           axis.weights.data() + taps.offset, taps.count,
                           out_tile.data() + size_t(x) * kColumn);
    }
    columns_to_rows<C>(out_tile.data(), out_width, block, rows.dst + y * out_bytes, out_bytes);
  }
}

/// `first_row` is the source row that `src` points to.
IP2P_ALWAYS_INLINE void resample_vertically(const Axis& axis, const uint8_t* src, int first_row,
                                            size_t row_bytes, uint8_t* dst) {
  for (const Axis::Taps& taps : axis.taps) {
    const uint8_t* first = src + size_t(taps.first - first_row) * row_bytes;
    const int32_t* weights = axis.weights.data() + taps.offset;
    if (row_bytes < kBlockBytes) {
      for (size_t i = 0; i < row_bytes; i++)
        weigh_block<1>(first + i, row_bytes, weights, taps.count, dst + i);
    } else {
      // The last block may overlap the one before it and compute some bytes twice.
      for (size_t i = 0; i < row_bytes; i += kBlockBytes) {
        const size_t at = std::min(i, row_bytes - kBlockBytes);
        weigh_block<kBlockBytes>(first + at, row_bytes, weights, taps.count, dst + at);
      }
    }
    dst += row_bytes;
  }
}

IP2P_ALWAYS_INLINE void resample_horizontally(const Axis& axis, const Rows& rows, int channels) {
  switch (channels) {
    case 1:
      return resample_horizontally<1>(axis, rows);
    case 2:
      return resample_horizontally<2>(axis, rows);
    case 3:
      return resample_horizontally<3>(axis, rows);
    default:
      return resample_horizontally<4>(axis, rows);
  }
}

// The same source compiled for two instruction sets: the baseline of x86-64 has no 32-bit vector
// multiplication.
struct Passes {
  void (*horizontal)(const Axis&, const Rows&, int channels);
  void (*vertical)(const Axis&, const uint8_t* src, int first_row, size_t row_bytes, uint8_t* dst);
};

void horizontal_baseline(const Axis& axis, const Rows& rows, int channels) {
  resample_horizontally(axis, rows, channels);
}
void vertical_baseline(const Axis& axis, const uint8_t* src, int first_row, size_t row_bytes, uint8_t* dst) {
  resample_vertically(axis, src, first_row, row_bytes, dst);
}
#ifdef IP2P_DISPATCH_AVX2
__attribute__((target("avx2"))) void horizontal_avx2(const Axis& axis, const Rows& rows, int channels) {
  resample_horizontally(axis, rows, channels);
}
__attribute__((target("avx2"))) void vertical_avx2(const Axis& axis, const uint8_t* src, int first_row,
                                                   size_t row_bytes, uint8_t* dst) {
  resample_vertically(axis, src, first_row, row_bytes, dst);
}
#endif

Passes choose_passes() {
#ifdef IP2P_DISPATCH_AVX2
  if (__builtin_cpu_supports("avx2")) return {horizontal_avx2, vertical_avx2};
#endif
  return {horizontal_baseline, vertical_baseline};
}

/// For every output coordinate the input pixel it copies. The position is accumulated, not multiplied, as in
/// Pillow.
std::vector<int> nearest_inputs(int in_size, int out_size) {
  const double step = static_cast<double>(in_size) / out_size;
  std::vector<int> inputs(out_size);
  double position = step * 0.5;
  for (int& input : inputs) {
    input = std::clamp(static_cast<int>(position), 0, in_size - 1);
    position += step;
  }
  return inputs;
}

void resize_nearest(const uint8_t* src, int width, int height, int channels, uint8_t* dst, int out_width,
                    int out_height) {
  const std::vector<int> columns = nearest_inputs(width, out_width);
  for (const int row : nearest_inputs(height, out_height)) {
    const uint8_t* line = src + size_t(row) * width * channels;
    for (const int column : columns)
      for (int c = 0; c < channels; c++) *dst++ = line[size_t(column) * channels + c];
  }
}

/// Pillow's estimate, since its version 13, of which pass is cheaper as the first.
bool vertical_first(int lost_columns, int lost_rows) {
  return lost_rows > 0 && lost_rows > int64_t{2} * lost_columns;
}

void check(int width, int height, int channels, int out_width, int out_height) {
  if (width < 1 || height < 1 || out_width < 1 || out_height < 1)
    throw std::invalid_argument("an image to resize has at least one pixel on each side, before and after");
  if (channels < 1 || channels > 4) throw std::invalid_argument("an image to resize has 1 to 4 channels");
}

}  // namespace

ResampleFilter parse_resample_filter(const std::string& name) {
  constexpr std::array<std::pair<const char*, ResampleFilter>, 6> kFilters{{
      {"nearest", ResampleFilter::kNearest},
      {"box", ResampleFilter::kBox},
      {"bilinear", ResampleFilter::kBilinear},
      {"hamming", ResampleFilter::kHamming},
      {"bicubic", ResampleFilter::kBicubic},
      {"lanczos", ResampleFilter::kLanczos},
  }};
  for (const auto& [known, filter] : kFilters)
    if (name == known) return filter;
  throw std::invalid_argument("unknown resampling filter \"" + name + "\"");
}

namespace {

/// An image of which `across` columns and `down` rows, that need not be whole, are spread over another one.
struct Extent {
  double across, down;
};

void resize_extent(const uint8_t* src, int width, int height, int channels, uint8_t* dst, int out_width,
                   int out_height, ResampleFilter filter, Extent extent) {
  const bool horizontal = out_width != width || extent.across != width;
  const bool vertical = out_height != height || extent.down != height;
  const size_t in_row = size_t(width) * channels;
  const size_t out_row = size_t(out_width) * channels;
  if (!horizontal && !vertical) {
    std::memcpy(dst, src, in_row * height);
    return;
  }
  if (filter == ResampleFilter::kNearest)
    return resize_nearest(src, width, height, channels, dst, out_width, out_height);

  static const Passes passes = choose_passes();
  const Kernel kernel = kernel_of(filter);
  const auto plan_columns = [&] { return plan_axis(width, extent.across, out_width, kernel); };
  if (!vertical) return passes.horizontal(plan_columns(), {src, width, height, dst}, channels);
  const Axis rows = plan_axis(height, extent.down, out_height, kernel);
  if (!horizontal) return passes.vertical(rows, src, 0, in_row, dst);

  if (vertical_first(width - out_width, height - out_height)) {
    std::vector<uint8_t> between(in_row * out_height);
    passes.vertical(rows, src, 0, in_row, between.data());
    passes.horizontal(plan_columns(), {between.data(), width, out_height, dst}, channels);
    return;
  }
  const int first_row = rows.first_input();
  const int used_rows = rows.end_input() - first_row;
  std::vector<uint8_t> between(out_row * used_rows);
  passes.horizontal(plan_columns(), {src + first_row * in_row, width, used_rows, between.data()}, channels);
  passes.vertical(rows, between.data(), first_row, out_row, dst);
}

/// Means of `across`·`down` pixels, of fewer at the right and the lower edge, with Pillow's rounding.
std::vector<uint8_t> reduced(const uint8_t* src, int width, int height, int channels, int across, int down) {
  const int out_width = (width + across - 1) / across, out_height = (height + down - 1) / down;
  std::vector<uint8_t> result(size_t(out_width) * out_height * channels);
  uint8_t* out = result.data();
  for (int top = 0; top < height; top += down) {
    const int bottom = std::min(top + down, height);
    for (int left = 0; left < width; left += across) {
      const int right = std::min(left + across, width);
      const uint32_t count = static_cast<uint32_t>(right - left) * (bottom - top);
      const auto share = static_cast<uint32_t>((1 << 30) * 4.0 / (256.0 * count));
      for (int c = 0; c < channels; c++) {
        uint32_t sum = count / 2;
        for (int y = top; y < bottom; y++)
          for (int x = left; x < right; x++) sum += src[(size_t(y) * width + x) * channels + c];
        *out++ = static_cast<uint8_t>((uint64_t{sum} * share) >> 24);
      }
    }
  }
  return result;
}

}  // namespace

void resize_u8(const uint8_t* src, int width, int height, int channels, uint8_t* dst, int out_width,
               int out_height, ResampleFilter filter, bool reducing) {
  check(width, height, channels, out_width, out_height);
  const int across = reducing ? std::max(1, width / out_width) : 1;
  const int down = reducing ? std::max(1, height / out_height) : 1;
  if (filter == ResampleFilter::kNearest || (across == 1 && down == 1))
    return resize_extent(src, width, height, channels, dst, out_width, out_height, filter,
                         {double(width), double(height)});
  const std::vector<uint8_t> means = reduced(src, width, height, channels, across, down);
  resize_extent(means.data(), (width + across - 1) / across, (height + down - 1) / down, channels, dst,
                out_width, out_height, filter, {double(width) / across, double(height) / down});
}

}  // namespace ip2p
