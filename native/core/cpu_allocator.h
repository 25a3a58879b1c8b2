#pragma once

#include <cstddef>

namespace ip2p {

/// The memory of libtorch's CPU tensors, kept for reuse.
///
/// The C library hands every large block back to the system when it is freed and maps it anew, zeroed page by
/// page, when the next is asked for; a denoising step asks for thousands. Here blocks of 64 KiB and more are
/// cut from mapped regions with huge pages, and what is freed is used again. What is kept never lets the
/// process grow noticeably beyond what it had in use at its peak, and goes back to the system, on a thread of
/// its own, when nothing has been allocated for ten seconds. Linux only; elsewhere libtorch's own allocator
/// stays in place.
class CpuAllocator {
 public:
  /// Puts it in libtorch's place; later calls do nothing, nor where libtorch's own is no longer in place, as
  /// when another copy of this package has put its allocator there. IP2P_CPU_ALLOCATOR=system leaves
  /// libtorch's own.
  static void install();

  struct Statistics {
    size_t mapped = 0;  // bytes of address space held
    size_t in_use = 0;  // bytes in blocks
    size_t kept = 0;    // bytes free for reuse that may be resident
  };
  static Statistics statistics();
};

}  // namespace ip2p
