#pragma once

#include "core/cuda_library.h"

namespace ip2p {

std::unique_ptr<CudaGraph> record_graph(c10::Device device, const std::function<void()>& work);

}  // namespace ip2p
