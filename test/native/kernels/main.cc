// Compares the kernels of one instruction set (IP2P_SIMD) with the same formulas in float64, without
// libtorch, so that a machine without that processor can run it in an emulator. Prints a line per comparison:
// a name, the relative distance and the bound; ends with 1 if one is exceeded.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/simd/adamw.h"
#include "kernels/simd/attention.h"
#include "kernels/simd/column_blocks.h"
#include "kernels/simd/geglu.h"
#include "kernels/simd/group_norm.h"
#include "kernels/simd/half_product.h"
#include "kernels/simd/quantize.h"
#include "kernels/simd/winograd.h"

namespace {

using namespace ip2p;
namespace simd = ip2p::IP2P_SIMD;
using Numbers = std::vector<double>;

bool failed = false;

void compare(const std::string& name, const Numbers& own, const Numbers& exact, double bound) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    difference += (own[i] - exact[i]) * (own[i] - exact[i]);
    size += exact[i] * exact[i];
  }
  const double distance = std::sqrt(difference / size);
  // The negation also catches NaN.
  const bool bad = own.size() != exact.size() || !(distance <= bound);
  failed = failed || bad;
  std::printf("%s%s: %.2e of %.0e\n", bad ? "FAILED " : "", name.c_str(), distance, bound);
}

/// Numbers in memory as kernels take them. Every number of theirs is what the kernel reads, rounding
/// included.
class Elements {
 public:
  Elements(int64_t count, bool bfloat16) : bfloat16_(bfloat16), count_(count), memory_(count * 4 + 64) {}

  /// Numbers from −1 to 1, the same in every run.
  static Elements random(int64_t count, bool bfloat16 = false, double by = 1) {
    static uint32_t state = 1;
    Elements made(count, bfloat16);
    for (int64_t i = 0; i < count; ++i) {
      state = state * 1664525 + 1013904223;
      made.set(i, static_cast<float>(by * (static_cast<double>(state >> 8) / (1 << 23) - 1)));
    }
    return made;
  }

  void* data() { return memory_.data(); }
  float* floats() { return reinterpret_cast<float*>(memory_.data()); }

  void set(int64_t i, float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    const uint16_t high = static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    if (bfloat16_)
      std::memcpy(memory_.data() + 2 * i, &high, 2);
    else
      std::memcpy(memory_.data() + 4 * i, &x, 4);
  }
  double operator[](int64_t i) const {
    uint32_t bits = 0;
    if (bfloat16_)
      std::memcpy(reinterpret_cast<char*>(&bits) + 2, memory_.data() + 2 * i, 2);
    else
      std::memcpy(&bits, memory_.data() + 4 * i, 4);
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
  }
  Numbers numbers() const {
    Numbers all(count_);
    for (int64_t i = 0; i < count_; ++i) all[i] = (*this)[i];
    return all;
  }

 private:
  bool bfloat16_;
  int64_t count_;
  std::vector<char> memory_;
};

std::string in(bool bfloat16) {
  return bfloat16 ? ", bfloat16" : ", float32";
}

/// The results' rounding, and that of what is kept between.
double bound(bool bfloat16) {
  return bfloat16 ? 6e-3 : 2e-6;
}

void attention(int64_t T, int64_t S, int64_t D, bool causal, bool bfloat16) {
  const double scale = 1 / std::sqrt(static_cast<double>(D));
  const AttentionShape shape{bfloat16 ? AttentionType::BFloat16 : AttentionType::Float32,
                             T,
                             S,
                             D,
                             static_cast<float>(scale),
                             causal};
  const AttentionLayout layout = simd::attention_layout(shape);
  Elements q = Elements::random(T * D, bfloat16, 3), k = Elements::random(S * D, bfloat16, 3),
           v = Elements::random(S * D, bfloat16), gradient = Elements::random(T * D, bfloat16);
  Elements out(T * D, bfloat16), dq(T * D, bfloat16), dk(S * D, bfloat16), dv(S * D, bfloat16);
  std::vector<float> maximum(T + layout.query_block), sum(T + layout.query_block), logsumexp(T);
  // Kernels expect memory that is aligned as libtorch's.
  const auto scratch = [](int64_t bytes) { return std::vector<char>(bytes + 64); };
  const auto aligned = [](std::vector<char>& memory) {
    return reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(memory.data()) + 63) / 64 * 64);
  };
  auto packed = scratch(layout.packed_bytes), forward = scratch(layout.forward_scratch_bytes),
       backward = scratch(layout.backward_scratch_bytes);
  for (int64_t first = 0; first < S; first += layout.key_block)
    simd::attention_pack(shape, {k.data(), D}, {v.data(), D}, first, aligned(packed));
  for (int64_t first = 0; first < T; first += layout.query_block)
    simd::attention_forward(shape, {q.data(), D}, aligned(packed), first, {out.data(), D},
                            maximum.data() + first, sum.data() + first, aligned(forward));
  for (int64_t i = 0; i < T; ++i) logsumexp[i] = maximum[i] + std::log(sum[i]);
  simd::attention_backward(shape,
                           {{q.data(), D},
                            {k.data(), D},
                            {v.data(), D},
                            {out.data(), D},
                            {gradient.data(), D},
                            logsumexp.data(),
                            {dq.data(), D},
                            {dk.data(), D},
                            {dv.data(), D}},
                           aligned(backward));

  Numbers y(T * D), to_q(T * D), to_k(S * D), to_v(S * D);
  for (int64_t i = 0; i < T; ++i) {
    const int64_t visible = causal ? std::min(i + 1, S) : S;
    Numbers p(visible);
    double greatest = -1e300, total = 0, related = 0;
    for (int64_t j = 0; j < visible; ++j) {
      for (int64_t c = 0; c < D; ++c) p[j] += q[i * D + c] * k[j * D + c] * scale;
      greatest = std::max(greatest, p[j]);
    }
    for (double& each : p) total += each = std::exp(each - greatest);
    for (int64_t j = 0; j < visible; ++j)
      for (int64_t c = 0; c < D; ++c) y[i * D + c] += (p[j] / total) * v[j * D + c];
    for (int64_t c = 0; c < D; ++c) related += y[i * D + c] * gradient[i * D + c];
    for (int64_t j = 0; j < visible; ++j) {
      double to_p = 0;
      for (int64_t c = 0; c < D; ++c) to_p += gradient[i * D + c] * v[j * D + c];
      const double to_score = p[j] / total * (to_p - related) * scale;
      for (int64_t c = 0; c < D; ++c) {
        to_v[j * D + c] += p[j] / total * gradient[i * D + c];
        to_q[i * D + c] += to_score * k[j * D + c];
        to_k[j * D + c] += to_score * q[i * D + c];
      }
    }
  }
  const std::string suffix = " " + std::to_string(T) + "x" + std::to_string(S) + "x" + std::to_string(D) +
                             (causal ? ", causal" : "") + in(bfloat16);
  compare("attention" + suffix, out.numbers(), y, bound(bfloat16));
  compare("attention's gradient of q" + suffix, dq.numbers(), to_q, 2 * bound(bfloat16));
  compare("attention's gradient of k" + suffix, dk.numbers(), to_k, 2 * bound(bfloat16));
  compare("attention's gradient of v" + suffix, dv.numbers(), to_v, 2 * bound(bfloat16));
}

double sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

/// Norms with given parameters, by column and by row: the same numbers lie as [pixel][channel] and the other
/// way round.
void group_norm(int64_t pixels, int64_t channels, bool by_column, bool silu, bool bfloat16) {
  const int64_t rows = by_column ? pixels : channels, columns = by_column ? channels : pixels;
  Elements x = Elements::random(rows * columns, bfloat16), dy = Elements::random(rows * columns, bfloat16);
  Elements y(rows * columns, bfloat16), dx(rows * columns, bfloat16);
  Elements affine = Elements::random(GRADIENT_AFFINE * channels);
  std::vector<float> moments(MOMENTS * channels), sums(GRADIENT_SUMS * channels);
  const FeatureBlock block{x.data(), bfloat16, rows, columns};
  if (by_column) {
    simd::moments_by_column(block, moments.data());
    simd::normalise_by_column(block, affine.floats(), silu, y.data());
    simd::gradient_sums_by_column(block, affine.floats(), silu, dy.data(), sums.data(), nullptr);
    simd::gradient_by_column(block, affine.floats(), silu, dy.data(), dx.data());
  } else {
    simd::group_moments(block, nullptr, moments.data());
    simd::normalise_by_row(block, affine.floats(), silu, y.data());
    simd::gradient_sums_by_row(block, affine.floats(), silu, dy.data(), sums.data(), nullptr);
    simd::gradient_by_row(block, affine.floats(), silu, dy.data(), dx.data());
  }
  Numbers norm(rows * columns), to_x(rows * columns), to_sums(GRADIENT_SUMS * channels);
  Numbers mean(channels), square(channels);
  for (int64_t i = 0; i < rows * columns; ++i) {
    const int64_t c = by_column ? i % columns : i / columns;
    const double t = x[i] - affine[c], scale = affine[channels + c];
    const double before = t * scale + affine[2 * channels + c], s = sigmoid(before);
    const double d = silu ? dy[i] * s * (1 + before * (1 - s)) : dy[i];
    norm[i] = silu ? before * s : before;
    to_x[i] = d * scale + t * affine[3 * channels + c] + affine[4 * channels + c];
    to_sums[c] += d;
    to_sums[channels + c] += d * t;
    to_sums[2 * channels + c] += t;
    mean[c] += x[i] / static_cast<double>(pixels);
    square[c] += x[i] * x[i] / static_cast<double>(pixels);
  }
  // Moments are relative to a value near the mean.
  Numbers own, exact;
  const auto add_moments = [&](double centre, double sum, double squares, double count, double at,
                               double of) {
    own.insert(own.end(),
               {centre + sum / count, squares / count + 2 * centre * sum / count + centre * centre});
    exact.insert(exact.end(), {at, of});
  };
  if (by_column) {
    for (int64_t c = 0; c < channels; ++c)
      add_moments(moments[c], moments[channels + c], moments[2 * channels + c], static_cast<double>(pixels),
                  mean[c], square[c]);
  } else {
    double all = 0, squares = 0;
    for (int64_t c = 0; c < channels; ++c) {
      all += mean[c] / static_cast<double>(channels);
      squares += square[c] / static_cast<double>(channels);
    }
    add_moments(moments[0], moments[1], moments[2], static_cast<double>(rows * columns), all, squares);
  }
  const std::string suffix = std::string(by_column ? " by column" : " by row") + (silu ? ", silu" : "") +
                             " " + std::to_string(pixels) + "x" + std::to_string(channels) + in(bfloat16);
  compare("moments" + suffix, own, exact, 1e-5);
  compare("group norm" + suffix, y.numbers(), norm, bound(bfloat16));
  // Silu is half as exact for bfloat16.
  compare("group norm's sums" + suffix, Numbers(sums.begin(), sums.end()), to_sums, bfloat16 ? 1e-3 : 2e-6);
  compare("group norm's gradient" + suffix, dx.numbers(), to_x, bound(bfloat16));
}

void geglu(int64_t rows, int64_t width, bool bfloat16) {
  Elements x = Elements::random(rows * 2 * width, bfloat16, 4), dy = Elements::random(rows * width, bfloat16);
  Elements y(rows * width, bfloat16), dx(rows * 2 * width, bfloat16);
  simd::geglu_rows(x.data(), bfloat16, rows, width, y.data());
  simd::geglu_gradient_rows(x.data(), dy.data(), bfloat16, rows, width, dx.data());
  Numbers product(rows * width), to_x(rows * 2 * width);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < width; ++i) {
      const double value = x[r * 2 * width + i], gate = x[r * 2 * width + width + i], by = dy[r * width + i];
      const double below = 0.5 * std::erfc(-gate / std::sqrt(2.0));
      const double density = std::exp(-gate * gate / 2) / std::sqrt(2 * M_PI);
      product[r * width + i] = value * gate * below;
      to_x[r * 2 * width + i] = by * gate * below;
      to_x[r * 2 * width + width + i] = by * value * (below + gate * density);
    }
  compare("geglu" + in(bfloat16), y.numbers(), product, bound(bfloat16));
  compare("geglu's gradient" + in(bfloat16), dx.numbers(), to_x, bound(bfloat16));
}

void adamw(int64_t count) {
  Elements weight = Elements::random(count), gradient = Elements::random(count),
           first = Elements::random(count), second = Elements::random(count),
           average = Elements::random(count), shadow(count, true);
  for (int64_t i = 0; i < count; ++i) second.set(i, static_cast<float>(second[i] * second[i]));
  const AdamWStep step{2, 0.999f, 0.1f, 0.999f, 0.001f, 0.03f, 1e-8f, -1e-3f, -0.01f};
  Numbers to_weight(count), to_first(count), to_second(count), to_average(count);
  for (int64_t i = 0; i < count; ++i) {
    const double g = gradient[i] / step.divisor;
    to_first[i] = first[i] + step.first * (g - first[i]);
    to_second[i] = second[i] * step.second_kept + step.second_new * g * g;
    to_weight[i] =
        weight[i] * step.weight_decay +
        step.step_size * to_first[i] / (std::sqrt(to_second[i]) / step.second_correction + step.epsilon);
    to_average[i] = average[i] + step.average * (average[i] - to_weight[i]);
  }
  simd::adamw({weight.floats(), gradient.floats(), first.floats(), second.floats(), average.floats(),
               shadow.data(), count},
              step);
  compare("adamw's weights", weight.numbers(), to_weight, 2e-7);
  compare("adamw's first moments", first.numbers(), to_first, 2e-7);
  compare("adamw's second moments", second.numbers(), to_second, 2e-7);
  compare("adamw's average", average.numbers(), to_average, 2e-7);
  compare("adamw's rounded weights", shadow.numbers(), to_weight, 2e-3);
}

/// Packed weights, whose last block is rounded up to whole vectors of at most 16 numbers.
Elements packed_weights(Elements& weight, int64_t outputs, int64_t numbers, bool bfloat16) {
  Elements packed((outputs + 15) / 16 * 16 * numbers, bfloat16), back(outputs * numbers, bfloat16);
  for (int64_t block = 0; block < simd::column_blocks(outputs); ++block) {
    simd::pack_columns(weight.data(), bfloat16 ? 2 : 4, outputs, numbers, block, packed.data());
    simd::unpack_columns(packed.data(), bfloat16 ? 2 : 4, outputs, numbers, block, back.data());
  }
  compare("packed weights" + in(bfloat16), back.numbers(), weight.numbers(), 0);
  return packed;
}

ColumnBlocks blocks_of(Elements& packed, bool bfloat16) {
  return {bfloat16 ? ColumnBlocks::Type::BFloat16 : ColumnBlocks::Type::Float32, packed.data()};
}

void half_product(int64_t rows, int64_t inputs, int64_t outputs) {
  Elements x = Elements::random(rows * inputs), weight = Elements::random(outputs * inputs, true),
           bias = Elements::random(outputs), addend = Elements::random(rows * outputs);
  Elements packed = packed_weights(weight, outputs, inputs, true), y(rows * outputs, false);
  std::vector<float> input(simd::half_product_input_size(rows, inputs)),
      scratch(simd::half_product_scratch_size(rows));
  simd::half_product_input(x.floats(), inputs, rows, inputs, 0, rows, input.data());
  const HalfProduct product{rows,          inputs,          outputs,   input.data(), blocks_of(packed, true),
                            bias.floats(), addend.floats(), y.floats()};
  for (int64_t block = 0; block < simd::column_blocks(outputs); ++block)
    simd::half_product(product, block, 0, rows, scratch.data());
  Numbers exact(rows * outputs);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t o = 0; o < outputs; ++o) {
      exact[r * outputs + o] = bias[o] + addend[r * outputs + o];
      for (int64_t i = 0; i < inputs; ++i)
        exact[r * outputs + o] += x[r * inputs + i] * weight[o * inputs + i];
    }
  compare("product with bfloat16 weights", y.numbers(), exact, 2e-6);
}

void winograd(int64_t height, int64_t width, int64_t in_channels, int64_t out_channels, int64_t tile) {
  const WinogradShape shape{1, height, width, in_channels, out_channels, tile};
  const int64_t outputs = height * width * out_channels;
  Elements x = Elements::random(height * width * in_channels), bias = Elements::random(out_channels),
           weight = Elements::random(out_channels * in_channels * 9), addend = Elements::random(outputs);
  Elements packed = packed_weights(weight, out_channels, in_channels * 9, false), y(outputs, false);
  const WinogradTiles all{0, shape.tiles()};
  std::vector<float> input(simd::winograd_input_size(shape, all.count)), zeros(in_channels),
      scratch(simd::winograd_scratch_size(shape, all.count));
  simd::winograd_input(shape, x.floats(), zeros.data(), all, all, input.data());
  for (int64_t block = 0; block < simd::column_blocks(out_channels); ++block)
    simd::winograd_output(shape, blocks_of(packed, false), block, input.data(), all, all,
                          {bias.floats(), addend.floats()}, scratch.data(), y.floats());
  Numbers exact(outputs);
  for (int64_t i = 0; i < outputs; ++i) {
    const int64_t row = i / out_channels / width, column = i / out_channels % width, o = i % out_channels;
    exact[i] = bias[o] + addend[i];
    for (int64_t tap = 0; tap < 9; ++tap) {
      const int64_t from = row + tap / 3 - 1, at = column + tap % 3 - 1;
      if (from < 0 || from >= height || at < 0 || at >= width) continue;
      for (int64_t c = 0; c < in_channels; ++c)
        exact[i] += x[(from * width + at) * in_channels + c] * weight[(o * in_channels + c) * 9 + tap];
    }
  }
  compare("winograd, tiles of " + std::to_string(tile), y.numbers(), exact, 5e-6);
}

void quantize(int64_t rows, int64_t width, bool bfloat16) {
  Elements x = Elements::random(rows * width, bfloat16, 3), y = x, bias = Elements::random(width, bfloat16);
  float least, greatest;
  simd::value_range(x.data(), bfloat16, rows * width, &least, &greatest);
  std::vector<uint8_t> codes(rows * width), row_codes(rows * width);
  std::vector<float> scales(rows);
  simd::quantize(x.data(), bfloat16, rows * width, 40, 127, codes.data());
  simd::quantize_rows(x.data(), bfloat16, rows, width, 127, 128, row_codes.data(), scales.data());
  simd::scale_rows(y.data(), bfloat16, rows, width, scales.data(), bias.data(), x.data());
  Numbers range{0, 0}, exact(rows * width), exact_scales(rows), scaled(rows * width);
  for (int64_t i = 0; i < rows * width; ++i) {
    range = {std::min(range[0], x[i]), std::max(range[1], x[i])};
    exact[i] = std::min(255.0, std::max(0.0, std::nearbyint(x[i] * 40) + 127));
    exact_scales[i / width] = std::max(exact_scales[i / width], std::abs(x[i]) / 127);
  }
  for (int64_t i = 0; i < rows * width; ++i) scaled[i] = x[i] * scales[i / width] + bias[i % width] + x[i];
  const auto numbers = [](const auto& from) { return Numbers(from.begin(), from.end()); };
  Numbers back(rows * width);
  for (int64_t i = 0; i < rows * width; ++i)
    back[i] = (row_codes[i] - 128) * static_cast<double>(scales[i / width]);
  compare("range" + in(bfloat16), {least, greatest}, range, 0);
  compare("codes" + in(bfloat16), numbers(codes), exact, 2e-4);
  compare("scales of rows" + in(bfloat16), numbers(scales), exact_scales, 2e-7);
  compare("codes of rows" + in(bfloat16), back, x.numbers(), 6e-3);
  compare("scaled rows" + in(bfloat16), y.numbers(), scaled, bound(bfloat16));
}

/// What is not a number must stay one, or become what the documentation says.
void not_finite() {
  const float nan = std::nanf("");
  Elements x = Elements::random(37);
  x.set(33, nan);
  float least, greatest;
  simd::value_range(x.data(), false, 37, &least, &greatest);
  std::vector<uint8_t> codes(37);
  simd::quantize(x.data(), false, 37, 40, 127, codes.data());
  compare("not a number", {std::isnan(least) + 0.0, std::isnan(greatest) + 0.0, codes[33] + 1.0}, {1, 1, 1},
          0);
}

}  // namespace

int main() {
  for (const bool bfloat16 : {false, true}) {
    attention(130, 77, 40, false, bfloat16);
    attention(70, 70, 13, true, bfloat16);
    attention(33, 200, 64, false, bfloat16);
    for (const bool by_column : {false, true})
      for (const bool silu : {false, true}) group_norm(150, 30, by_column, silu, bfloat16);
    geglu(5, 171, bfloat16);
    quantize(3, 93, bfloat16);
  }
  adamw(1003);
  half_product(19, 150, 53);
  winograd(9, 11, 70, 29, 2);
  winograd(9, 11, 70, 29, 4);
  not_finite();
  return failed ? 1 : 0;
}
