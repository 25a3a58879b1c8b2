#include "kernels/simd/instruction_set.h"

#include <cstdlib>
#include <cstring>

#if defined(_MSC_VER) && defined(_M_X64)
#include <immintrin.h>
#include <intrin.h>
#endif
#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#if defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace ip2p {
namespace {

/// Those of this processor's family, the least first.
#if defined(__aarch64__)
constexpr InstructionSet ALL[] = {InstructionSet::None, InstructionSet::Neon, InstructionSet::NeonBf16};
#else
constexpr InstructionSet ALL[] = {InstructionSet::None, InstructionSet::Avx2, InstructionSet::Avx512,
                                  InstructionSet::Avx512Bf16, InstructionSet::Amx};
#endif

#if defined(__aarch64__)
bool has_arm_bfloat16() {
#if defined(__APPLE__)
  int present = 0;
  size_t size = sizeof present;
  return sysctlbyname("hw.optional.arm.FEAT_BF16", &present, &size, nullptr, 0) == 0 && present != 0;
#else
  constexpr unsigned long BF16 = 1ul << 14;  // HWCAP2_BF16, which older headers lack
  return (getauxval(AT_HWCAP2) & BF16) != 0;
#endif
}
#endif

#if defined(__x86_64__) && defined(__linux__)
/// Asks the system for the tile registers, which it gives to processes that ask; later threads have them too.
bool may_use_tiles() {
  unsigned leaf, features, unused;
  if (!__get_cpuid_count(7, 0, &leaf, &unused, &unused, &features)) return false;
  constexpr unsigned BFLOAT16 = 1u << 22, TILES = 1u << 24;
  if ((features & BFLOAT16) == 0 || (features & TILES) == 0) return false;
  constexpr long REQUEST = 0x1023, TILE_DATA = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
}
#else
bool may_use_tiles() {
  return false;
}
#endif

InstructionSet best() {
#if defined(__x86_64__) && !defined(_MSC_VER)
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("f16c"))
    return InstructionSet::None;
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
    return InstructionSet::Avx2;
  if (!__builtin_cpu_supports("avx512bf16")) return InstructionSet::Avx512;
  return may_use_tiles() ? InstructionSet::Amx : InstructionSet::Avx512Bf16;
#elif defined(_M_X64)
  int leaf1[4], leaf7[4], leaf7_1[4];
  __cpuid(leaf1, 1);
  __cpuidex(leaf7, 7, 0);
  __cpuidex(leaf7_1, 7, 1);
  const bool saved = leaf1[2] >> 27 & 1;
  const unsigned long long state = saved ? _xgetbv(0) : 0;
  const bool avx2 = (state & 6) == 6 && leaf7[1] >> 5 & 1 && leaf1[2] >> 12 & 1 && leaf1[2] >> 29 & 1;
  if (!avx2) return InstructionSet::None;
  const bool avx512 = (state & 0xe6) == 0xe6 && leaf7[1] >> 16 & 1 && leaf7[1] >> 17 & 1 &&
                      leaf7[1] >> 30 & 1 && leaf7[1] >> 31 & 1;
  if (!avx512) return InstructionSet::Avx2;
  return leaf7_1[0] >> 5 & 1 ? InstructionSet::Avx512Bf16 : InstructionSet::Avx512;
#elif defined(__aarch64__)
  return has_arm_bfloat16() ? InstructionSet::NeonBf16 : InstructionSet::Neon;
#else
  return InstructionSet::None;
#endif
}

InstructionSet decide() {
  const InstructionSet available = best();
  const char* const wanted = std::getenv("IP2P_CPU_CAPABILITY");
  if (!wanted) return available;
  for (const InstructionSet set : ALL)
    if (std::strcmp(wanted, instruction_set_name(set)) == 0) return set < available ? set : available;
  return available;
}

}  // namespace

InstructionSet instruction_set() {
  static const InstructionSet set = decide();
  return set;
}

bool is_avx512() {
  const InstructionSet set = instruction_set();
  return set == InstructionSet::Avx512 || set == InstructionSet::Avx512Bf16 || set == InstructionSet::Amx;
}

bool multiplies_bfloat16() {
  const InstructionSet set = instruction_set();
  return set == InstructionSet::Avx512Bf16 || set == InstructionSet::Amx || set == InstructionSet::NeonBf16;
}

bool multiplies_tiles() {
  return instruction_set() == InstructionSet::Amx;
}

bool onednn_takes_bfloat16() {
  return is_avx512() || multiplies_bfloat16();
}

const char* instruction_set_name(InstructionSet set) {
  switch (set) {
    case InstructionSet::Avx2:
      return "avx2";
    case InstructionSet::Avx512:
      return "avx512";
    case InstructionSet::Avx512Bf16:
      return "avx512_bf16";
    case InstructionSet::Amx:
      return "amx";
    case InstructionSet::Neon:
      return "neon";
    case InstructionSet::NeonBf16:
      return "neon_bf16";
    default:
      return "none";
  }
}

}  // namespace ip2p
