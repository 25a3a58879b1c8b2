#pragma once

#include <memory>

#include "distributed/process_group.h"

namespace c10d {
class Store;
}

namespace ip2p {

/// @throws c10::Error, also where this build of libtorch or of the CUDA library is without NCCL
std::shared_ptr<ProcessGroup> make_nccl_group(c10d::Store& store, const GroupOptions& options);

}  // namespace ip2p
