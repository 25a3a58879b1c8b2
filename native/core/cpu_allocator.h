#pragma once

#include <cstddef>

namespace ip2p {

/// The memory of libtorch's CPU tensors, kept for reuse.
///
/// The C library returns every large block to the system when it is freed and maps the next one anew, zeroed
/// page by page; a denoising step allocates thousands. Here blocks of 64 KiB and more are cut from mapped
/// regions with huge pages, and freed blocks are reused. The cache never lets the process grow noticeably
/// beyond its peak use, and a background thread returns it to the system when nothing has been allocated for
/// ten seconds. Linux only; elsewhere libtorch's own allocator stays in place.
class CpuAllocator {
 public:
  /// Installs it in libtorch. Does nothing if called again or if libtorch's own allocator has already been
  /// replaced, for example by another copy of this package. IP2P_CPU_ALLOCATOR=system keeps libtorch's own.
  static void install();

  struct Statistics {
    size_t mapped = 0;  // bytes of address space held
    size_t in_use = 0;  // bytes in blocks
    size_t kept = 0;    // bytes free for reuse that may be resident
  };
  static Statistics statistics();
};

}  // namespace ip2p
