// Calls the hot kernels for processors, as compiled for AVX2, on fixed sizes and inputs. Prints a name per
// line; a profiler counts each call of `measured`, in the same order.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>

#include "kernels/simd/adamw.h"
#include "kernels/simd/attention.h"
#include "kernels/simd/geglu.h"
#include "kernels/simd/group_norm.h"
#include "kernels/simd/quantize.h"

extern "C" [[gnu::noinline]] void measured(const std::function<void()>& work) {
  work();
  // Without this the call would be a jump, and the profiler would see another function.
  asm volatile("" ::: "memory");
}

namespace {

using namespace ip2p;

void run(const std::string& name, const std::function<void()>& work) {
  std::puts(name.c_str());
  measured(work);
}

/// Numbers from `least` to `least` + 2, the same in every run; float32 or bfloat16, in memory aligned as
/// libtorch aligns it.
class Elements {
 public:
  explicit Elements(int64_t count, bool bfloat16 = false, float least = -1) : data_(allocate(count)) {
    static uint32_t state = 1;
    for (int64_t i = 0; i < count; ++i) {
      state = state * 1664525 + 1013904223;
      const float x = static_cast<float>(state >> 8) / (1 << 23) + least;
      if (bfloat16)
        static_cast<uint16_t*>(data())[i] = static_cast<uint16_t>(__builtin_bit_cast(uint32_t, x) >> 16);
      else
        floats()[i] = x;
    }
  }

  void* data() const { return data_.get(); }
  float* floats() const { return static_cast<float*>(data()); }

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };

  static void* allocate(int64_t count) {
    void* const memory = std::aligned_alloc(64, (count * sizeof(float) + 63) / 64 * 64);
    if (!memory) std::abort();
    return memory;
  }

  std::unique_ptr<void, Free> data_;
};

const char* type_name(bool bfloat16) {
  return bfloat16 ? ", bfloat16" : ", float32";
}

void attention(int64_t queries, int64_t keys, bool bfloat16) {
  constexpr int64_t CHANNELS = 40;
  const AttentionShape shape{
      bfloat16 ? AttentionType::BFloat16 : AttentionType::Float32, queries, keys, CHANNELS, 0.158f, false};
  const AttentionLayout layout = avx2::attention_layout(shape);
  const auto rows = [&](int64_t count) { return Elements(count * CHANNELS, bfloat16); };
  const Elements q = rows(queries), k = rows(keys), v = rows(keys), out = rows(queries);
  const Elements dq = rows(queries), dk = rows(keys), dv = rows(keys), dout = rows(queries);
  const Elements maximum(queries), sum(queries), logsumexp(queries, false, 4);
  const auto bytes = [](int64_t count) { return Elements(count / static_cast<int64_t>(sizeof(float))); };
  const Elements packed = bytes(layout.packed_bytes);
  const Elements forward_scratch = bytes(layout.forward_scratch_bytes);
  const Elements backward_scratch = bytes(layout.backward_scratch_bytes);
  const std::string suffix =
      type_name(bfloat16) + (", " + std::to_string(queries) + " x " + std::to_string(keys));

  run("attention forward" + suffix, [&] {
    for (int64_t first = 0; first < keys; first += layout.key_block)
      avx2::attention_pack(shape, {k.data(), CHANNELS}, {v.data(), CHANNELS}, first, packed.data());
    for (int64_t first = 0; first < queries; first += layout.query_block)
      avx2::attention_forward(shape, {q.data(), CHANNELS}, packed.data(), first, {out.data(), CHANNELS},
                              maximum.floats() + first, sum.floats() + first, forward_scratch.data());
  });
  run("attention backward" + suffix, [&] {
    const AttentionBackward head{{q.data(), CHANNELS},   {k.data(), CHANNELS},    {v.data(), CHANNELS},
                                 {out.data(), CHANNELS}, {dout.data(), CHANNELS}, logsumexp.floats(),
                                 {dq.data(), CHANNELS},  {dk.data(), CHANNELS},   {dv.data(), CHANNELS}};
    avx2::attention_backward(shape, head, backward_scratch.data());
  });
}

/// 128 pixels of 320 channels, which lie side by side.
void channels_last_group_norm(bool bfloat16) {
  constexpr int64_t PIXELS = 128, CHANNELS = 320;
  const Elements x(PIXELS * CHANNELS, bfloat16), y(PIXELS * CHANNELS, bfloat16);
  const Elements dy(PIXELS * CHANNELS, bfloat16), dx(PIXELS * CHANNELS, bfloat16);
  const Elements affine(GRADIENT_AFFINE * CHANNELS), moments(MOMENTS * CHANNELS);
  const Elements sums(GRADIENT_SUMS * CHANNELS);
  const FeatureBlock block{x.data(), bfloat16, PIXELS, CHANNELS};
  const std::string suffix = std::string(", channels last") + type_name(bfloat16);

  run("group norm forward" + suffix, [&] {
    avx2::moments_by_column(block, moments.floats());
    avx2::normalise_by_column(block, affine.floats(), true, y.data());
  });
  run("group norm backward" + suffix, [&] {
    const bool keeps_d = !bfloat16;
    avx2::gradient_sums_by_column(block, affine.floats(), true, dy.data(), sums.floats(),
                                  keeps_d ? dx.data() : nullptr);
    avx2::gradient_by_column(block, affine.floats(), !keeps_d, keeps_d ? dx.data() : dy.data(), dx.data());
  });
}

/// A group of ten channels of 4096 pixels.
void contiguous_group_norm(bool bfloat16) {
  constexpr int64_t CHANNELS = 10, PIXELS = 4096;
  const Elements x(CHANNELS * PIXELS, bfloat16), y(CHANNELS * PIXELS, bfloat16);
  const Elements dy(CHANNELS * PIXELS, bfloat16), dx(CHANNELS * PIXELS, bfloat16);
  const Elements affine(GRADIENT_AFFINE * CHANNELS), moments(MOMENTS), sums(GRADIENT_SUMS * CHANNELS);
  const FeatureBlock block{x.data(), bfloat16, CHANNELS, PIXELS};
  const std::string suffix = std::string(", contiguous") + type_name(bfloat16);

  run("group norm forward" + suffix, [&] {
    avx2::group_moments({x.data(), bfloat16, 1, CHANNELS * PIXELS}, nullptr, moments.floats());
    avx2::normalise_by_row(block, affine.floats(), true, y.data());
  });
  run("group norm backward" + suffix, [&] {
    const bool keeps_d = !bfloat16;
    avx2::gradient_sums_by_row(block, affine.floats(), true, dy.data(), sums.floats(),
                               keeps_d ? dx.data() : nullptr);
    avx2::gradient_by_row(block, affine.floats(), !keeps_d, keeps_d ? dx.data() : dy.data(), dx.data());
  });
}

void geglu(bool bfloat16) {
  constexpr int64_t ROWS = 16, WIDTH = 1280;
  const Elements x(ROWS * 2 * WIDTH, bfloat16), y(ROWS * WIDTH, bfloat16);
  const Elements dx(ROWS * 2 * WIDTH, bfloat16), dy(ROWS * WIDTH, bfloat16);
  run(std::string("geglu forward") + type_name(bfloat16),
      [&] { avx2::geglu_rows(x.data(), bfloat16, ROWS, WIDTH, y.data()); });
  run(std::string("geglu backward") + type_name(bfloat16),
      [&] { avx2::geglu_gradient_rows(x.data(), dy.data(), bfloat16, ROWS, WIDTH, dx.data()); });
}

/// 16 rows of 640 numbers as 8-bit codes, and a product's rows as numbers again.
void int8(bool bfloat16) {
  constexpr int64_t ROWS = 16, WIDTH = 640, COUNT = ROWS * WIDTH;
  const Elements x(COUNT, bfloat16), y(COUNT, bfloat16), bias(WIDTH, bfloat16), scales(ROWS);
  const Elements codes(COUNT);
  const auto bytes = static_cast<uint8_t*>(codes.data());
  run(std::string("8-bit codes of a whole") + type_name(bfloat16), [&] {
    float least, greatest;
    avx2::value_range(x.data(), bfloat16, COUNT, &least, &greatest);
    avx2::quantize(x.data(), bfloat16, COUNT, 254 / (greatest - least), 100, bytes);
  });
  run(std::string("8-bit codes row by row") + type_name(bfloat16),
      [&] { avx2::quantize_rows(x.data(), bfloat16, ROWS, WIDTH, 127, 128, bytes, scales.floats()); });
  run(std::string("rows scaled") + type_name(bfloat16),
      [&] { avx2::scale_rows(y.data(), bfloat16, ROWS, WIDTH, scales.floats(), bias.data(), x.data()); });
}

void adamw() {
  constexpr int64_t COUNT = 16384;
  const Elements weight(COUNT), gradient(COUNT), exp_avg(COUNT), exp_avg_sq(COUNT, false, 0), average(COUNT);
  const AdamWElements elements{
      weight.floats(), gradient.floats(), exp_avg.floats(), exp_avg_sq.floats(), nullptr, nullptr, COUNT};
  const AdamWStep step{1, 0.999f, 0.1f, 0.999f, 0.001f, 0.03f, 1e-8f, -1e-3f, -0.01f};
  AdamWElements averaged = elements;
  averaged.average = average.floats();
  run("adamw", [&] { avx2::adamw(elements, step); });
  run("adamw, average", [&] { avx2::adamw(averaged, step); });
  const Elements shadow(COUNT, true);
  AdamWElements rounded = elements;
  rounded.shadow = shadow.data();
  run("adamw, rounded weights", [&] { avx2::adamw(rounded, step); });
}

}  // namespace

int main() {
  for (const bool bfloat16 : {false, true}) {
    attention(256, 256, bfloat16);
    attention(64, 77, bfloat16);
    channels_last_group_norm(bfloat16);
    contiguous_group_norm(bfloat16);
    geglu(bfloat16);
    int8(bfloat16);
  }
  adamw();
}
