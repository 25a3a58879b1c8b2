#pragma once
#include <chrono>

namespace gloo {

/// See algorithm.h. Never made here; the member exists in libtorch.
class Context {
 public:
  void setTimeout(std::chrono::milliseconds timeout);
};

}  // namespace gloo
