#pragma once

namespace ip2p {

/// The instruction sets that kernels are compiled for: of x86-64, then of 64-bit ARM. `None`: a processor
/// without any of them, where operators are composed of libtorch's.
/// `Amx` is Avx512Bf16 with tiles of bfloat16, which single kernels use.
enum class InstructionSet { None, Avx2, Avx512, Avx512Bf16, Amx, Neon, NeonBf16 };

/// The best one of this processor, unless the environment variable IP2P_CPU_CAPABILITY lowers it: `none`,
/// `avx2`, `avx512`, `avx512_bf16` or `amx`; on ARM `none`, `neon` or `neon_bf16`. Read once.
InstructionSet instruction_set();

/// Whether that is AVX-512, with or without bfloat16.
bool is_avx512();

/// Whether that has products of bfloat16 numbers.
bool multiplies_bfloat16();

/// Whether it has products of tiles of bfloat16 numbers, which the system lets this process use.
bool multiplies_tiles();

/// Whether oneDNN computes in bfloat16 with it: with AVX-512 even if the processor has no such products.
bool onednn_takes_bfloat16();

const char* instruction_set_name(InstructionSet set);

}  // namespace ip2p

// The sources of this folder are compiled once for every instruction set, each time into a namespace of that
// name (IP2P_SIMD). They include no inline functions of libtorch or the C++ library: the linker keeps one
// copy of an inline function, and it might be one that the processor cannot run.
//
//   IP2P_DECLARE_SIMD(void scale(float* x, int64_t n, float by))     in a header
//   IP2P_SELECT_SIMD(scale)                                            the function for this processor, or
//   null for None
#if defined(__aarch64__)

#define IP2P_DECLARE_SIMD(...) \
  namespace ip2p::neon {       \
  __VA_ARGS__;                 \
  }                            \
  namespace ip2p::neon_bf16 {  \
  __VA_ARGS__;                 \
  }

#define IP2P_SELECT_SIMD(name)               \
  ([]() -> decltype(&::ip2p::neon::name) {   \
    switch (::ip2p::instruction_set()) {     \
      case ::ip2p::InstructionSet::NeonBf16: \
        return &::ip2p::neon_bf16::name;     \
      case ::ip2p::InstructionSet::Neon:     \
        return &::ip2p::neon::name;          \
      default:                               \
        return nullptr;                      \
    }                                        \
  }())

#else

#define IP2P_DECLARE_SIMD(...)  \
  namespace ip2p::avx2 {        \
  __VA_ARGS__;                  \
  }                             \
  namespace ip2p::avx512 {      \
  __VA_ARGS__;                  \
  }                             \
  namespace ip2p::avx512_bf16 { \
  __VA_ARGS__;                  \
  }

#if defined(__x86_64__) || defined(_M_X64)
#define IP2P_SELECT_SIMD(name)                 \
  ([]() -> decltype(&::ip2p::avx2::name) {     \
    switch (::ip2p::instruction_set()) {       \
      case ::ip2p::InstructionSet::Amx:        \
      case ::ip2p::InstructionSet::Avx512Bf16: \
        return &::ip2p::avx512_bf16::name;     \
      case ::ip2p::InstructionSet::Avx512:     \
        return &::ip2p::avx512::name;          \
      case ::ip2p::InstructionSet::Avx2:       \
        return &::ip2p::avx2::name;            \
      default:                                 \
        return nullptr;                        \
    }                                          \
  }())
#else
#define IP2P_SELECT_SIMD(name) (static_cast<decltype(&::ip2p::avx2::name)>(nullptr))
#endif

#endif
