#include "kernels/simd/instruction_set.h"

#include <cstdlib>
#include <cstring>

#if defined(_MSC_VER) && defined(_M_X64)
#include <immintrin.h>
#include <intrin.h>
#endif

namespace ip2p {
namespace {

constexpr InstructionSet ALL[] = {InstructionSet::None, InstructionSet::Avx2, InstructionSet::Avx512,
                                  InstructionSet::Avx512Bf16};

InstructionSet best() {
#if defined(__x86_64__) && !defined(_MSC_VER)
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("f16c"))
    return InstructionSet::None;
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
    return InstructionSet::Avx2;
  return __builtin_cpu_supports("avx512bf16") ? InstructionSet::Avx512Bf16 : InstructionSet::Avx512;
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

const char* instruction_set_name(InstructionSet set) {
  switch (set) {
    case InstructionSet::Avx2:
      return "avx2";
    case InstructionSet::Avx512:
      return "avx512";
    case InstructionSet::Avx512Bf16:
      return "avx512_bf16";
    default:
      return "none";
  }
}

}  // namespace ip2p
