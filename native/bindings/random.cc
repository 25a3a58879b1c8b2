#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/randperm.h>

#include <cstring>
#include <mutex>

#include "bindings/convert.h"
#include "bindings/objects.h"
#include "bindings/register.h"
#include "core/device.h"
#include "core/dtype.h"
#include "core/error.h"

namespace ip2p {
namespace {

using Info = Napi::CallbackInfo;
using Draw = at::Tensor (*)(at::IntArrayRef, std::optional<at::Generator>, at::TensorOptions);

/// The draw happens where the generator lives (a CPU generator gives the same numbers for every device) and
/// moves to the target; both on the generator's thread, so that draws keep their order.
Napi::Value draw(const Info& info, Draw kernel) {
  const auto shape = shape_argument(info[0], "shape");
  const auto dtype = parse_dtype(string_argument(info[1], "dtype"));
  const c10::Device device = parse_device(string_argument(info[2], "device"));
  const std::optional<at::Generator> generator = GeneratorObject::get_optional(info[3]);
  const c10::Device source = generator ? generator->device() : device;
  if (source.is_cuda() && device.is_cpu())
    throw Error("ERR_INVALID_ARGUMENT", "a CUDA generator cannot draw a tensor on the CPU");
  return submit_tensor(info.Env(), source, [=] {
    return kernel(shape, generator, at::TensorOptions().dtype(dtype).device(source)).to(device);
  });
}

Napi::Value randn(const Info& info) {
  return draw(info,
              [](at::IntArrayRef shape, std::optional<at::Generator> generator, at::TensorOptions options) {
                return at::randn(shape, std::move(generator), options);
              });
}

Napi::Value rand(const Info& info) {
  return draw(info, [](at::IntArrayRef shape, std::optional<at::Generator> generator,
                       at::TensorOptions options) { return at::rand(shape, std::move(generator), options); });
}

/// randnLike(tensor, generator | null): standard normal, drawn in the tensor's memory layout as
/// torch.randn_like does
Napi::Value randn_like(const Info& info) {
  const at::Tensor tensor = TensorObject::get(info[0]);
  const std::optional<at::Generator> generator = GeneratorObject::get_optional(info[1]);
  const c10::Device source = generator ? generator->device() : tensor.device();
  return submit_tensor(info.Env(), source, [=] {
    return at::empty_like(tensor, tensor.options().device(source))
        .normal_(0, 1, generator)
        .to(tensor.device());
  });
}

/// randint(low, high, shape, generator | null): int64 on the CPU, low included, high excluded
Napi::Value randint(const Info& info) {
  const int64_t low = integer_argument(info[0], "low"), high = integer_argument(info[1], "high");
  const auto shape = shape_argument(info[2], "shape");
  const std::optional<at::Generator> generator = GeneratorObject::get_optional(info[3]);
  return submit_tensor(info.Env(), generator ? generator->device() : c10::Device(c10::kCPU), [=] {
    const auto device = generator ? generator->device() : c10::Device(c10::kCPU);
    return at::randint(low, high, shape, generator, at::TensorOptions().dtype(at::kLong).device(device));
  });
}

/// randperm(n, generator | null): int64 [n] on the CPU
Napi::Value randperm(const Info& info) {
  const int64_t n = integer_argument(info[0], "n");
  const std::optional<at::Generator> generator = GeneratorObject::get_optional(info[1]);
  return submit_tensor(info.Env(), c10::kCPU,
                       [=] { return at::randperm(n, generator, at::TensorOptions().dtype(at::kLong)); });
}

/// randomInt64(generator): one draw from 0..2^63-1, as torch.empty((), dtype=torch.int64).random_()
Napi::Value random_int64(const Info& info) {
  const at::Generator generator = GeneratorObject::get(info[0]);
  return submit(info.Env(), generator.device(), [generator]() -> Finish {
    const at::Tensor drawn =
        at::empty({}, at::TensorOptions().dtype(at::kLong).device(generator.device())).random_(generator);
    const int64_t value = drawn.item<int64_t>();
    return [value](Napi::Env js) { return Napi::BigInt::New(js, value); };
  });
}

Napi::Value generator_state(const Info& info) {
  const at::Generator generator = GeneratorObject::get(info[0]);
  return submit(info.Env(), generator.device(), [generator]() -> Finish {
    at::Generator source = generator;
    const std::lock_guard<std::mutex> lock(source.mutex());
    at::Tensor state = source.get_state().clone();
    return [state](Napi::Env js) { return to_typed_array(js, state); };
  });
}

/// The Mersenne twister's position, which libtorch does not fully check: `next` counts up through its 624
/// words while `left` counts down, and a state where they disagree makes it read past the end.
void check_cpu_state(const at::Tensor& state) {
  constexpr int64_t kLeftAt = 8, kNextAt = 16, kWords = 624;
  if (state.numel() < kNextAt + 8) return;  // libtorch rejects it by its size
  int32_t left = 0;
  uint64_t next = 0;
  std::memcpy(&left, state.const_data_ptr<uint8_t>() + kLeftAt, sizeof left);
  std::memcpy(&next, state.const_data_ptr<uint8_t>() + kNextAt, sizeof next);
  if (left < 1 || left > kWords || next > static_cast<uint64_t>(kWords + 1 - left))
    throw Error("ERR_INVALID_ARGUMENT", "the bytes are not a state of this kind of generator");
}

Napi::Value set_generator_state(const Info& info) {
  const at::Generator generator = GeneratorObject::get(info[0]);
  const TypedArrayView bytes = typed_array_argument(info[1], "state");
  const at::Tensor state = from_typed_array(info[1], at::kByte, {static_cast<int64_t>(bytes.length)});
  if (generator.device().is_cpu()) check_cpu_state(state);
  return submit_void(info.Env(), generator.device(), [generator, state] {
    at::Generator target = generator;
    const std::lock_guard<std::mutex> lock(target.mutex());
    target.set_state(state);
  });
}

Napi::Value generator_seed(const Info& info) {
  return Napi::BigInt::New(info.Env(), GeneratorObject::get(info[0]).current_seed());
}

}  // namespace

void register_random(Napi::Env env, Napi::Object exports) {
  export_function<randn>(env, exports, "randn");
  export_function<rand>(env, exports, "rand");
  export_function<randn_like>(env, exports, "randnLike");
  export_function<randint>(env, exports, "randint");
  export_function<randperm>(env, exports, "randperm");
  export_function<random_int64>(env, exports, "randomInt64");
  export_function<generator_state>(env, exports, "generatorState");
  export_function<set_generator_state>(env, exports, "setGeneratorState");
  export_function<generator_seed>(env, exports, "generatorSeed");
}

}  // namespace ip2p
