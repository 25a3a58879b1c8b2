#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/safetensors_header.h"

namespace ip2p {

/// A tensor to be written.
struct TensorSource {
  std::string name;
  SafetensorsDtype dtype = SafetensorsDtype::kF32;
  std::vector<std::int64_t> shape;
  /// Returns the tensor's bytes: row-major, contiguous, little-endian. Called once, when its turn comes; the
  /// bytes must stay until the next tensor's are asked for, so that what has to be copied from a device first
  /// is copied one tensor at a time. May throw, which ends the writing.
  std::function<std::span<const std::byte>()> bytes;
};

/// Puts tensors in the order of a file (widest types first, then by name) and gives them their byte ranges,
/// as the reference implementation does. What `begin` and `end` were is ignored. Throws SafetensorsError for
/// a name that appears twice or is not one, and for impossible shapes.
SafetensorsHeader layout_safetensors(std::vector<TensorInfo> tensors,
                                     std::optional<SafetensorsHeader::Metadata> metadata);

/// The first `data_start` bytes of a file: length, JSON, spaces up to a multiple of 8. Sets
/// `header.data_start`.
std::string serialize_safetensors_header(SafetensorsHeader& header);

/// Writes a file that is byte for byte what Python's `safetensors` would write (with several metadata
/// entries, up to their order: sorted here, random there). The path never holds a half-written file: see
/// AtomicFile. Throws SafetensorsError, with the path in front, for tensors that cannot be stored, and Error
/// for failures of the disk.
void write_safetensors(const std::string& path, std::vector<TensorSource> tensors,
                       std::optional<SafetensorsHeader::Metadata> metadata = std::nullopt);

}  // namespace ip2p
