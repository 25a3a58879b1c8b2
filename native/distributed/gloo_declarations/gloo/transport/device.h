#pragma once

namespace gloo::transport {

/// See algorithm.h.
class Device;
class UnboundBuffer;

}  // namespace gloo::transport
