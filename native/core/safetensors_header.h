#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "core/safetensors_dtype.h"

namespace ip2p {

/// A file that is not valid safetensors, or tensors that cannot be written as such. `what()` is one line,
/// without the file's name unless a function says so.
class SafetensorsError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The header's entry for one tensor, which is stored contiguously in row-major order.
struct TensorInfo {
  std::string name;
  SafetensorsDtype dtype = SafetensorsDtype::kF32;
  std::vector<std::int64_t> shape;
  /// The tensor's bytes, as offsets from the end of the header. They need not be aligned: old files start the
  /// data anywhere.
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

/// A checked header: the tensors' byte ranges follow one another without gap or overlap from 0 to the end of
/// the file, each has exactly the size of its shape and type, names are unique, and every size fits
/// std::int64_t.
struct SafetensorsHeader {
  using Metadata = std::map<std::string, std::string>;

  /// By offset; ties (empty tensors) by name.
  std::vector<TensorInfo> tensors;
  /// The `__metadata__` entry, where there is one.
  std::optional<Metadata> metadata;
  /// Offset of the data in the file: 8 bytes more than the header is long.
  std::uint64_t data_start = 8;

  /// The tensor of this name or null, by binary search.
  const TensorInfo* find(std::string_view name) const;

  /// Indices into `tensors`, by name.
  std::vector<std::uint32_t> by_name;
};

/// Longest header that is read or written, as in the reference implementation.
constexpr std::uint64_t kMaxSafetensorsHeaderBytes = 100'000'000;

/// Enough of a file's start for safetensors_header_length().
constexpr std::size_t kSafetensorsProbeBytes = 64;

/// The length of the JSON header of a file of `file_size` bytes that starts with `start`
/// (kSafetensorsProbeBytes of them, or the whole of a shorter file). Throws SafetensorsError where the file
/// cannot hold such a header; the message names what is often mistaken for safetensors (a Git LFS pointer, a
/// pickle, a web page).
std::uint64_t safetensors_header_length(std::span<const std::byte> start, std::uint64_t file_size);

/// Parses and checks the header of a file of `file_size` bytes, of which `file_prefix` holds at least the
/// length field and the header. Allocates at most `file_size` + kMaxSafetensorsHeaderBytes − the header's
/// length. Throws SafetensorsError.
///
/// Accepts what the reference implementation does, except for what the format forbids or no tensor library
/// could hold; safetensors_header.cc lists the differences.
SafetensorsHeader parse_safetensors_header(std::span<const std::byte> file_prefix, std::uint64_t file_size);

/// Fills `by_name` from `tensors`. Throws SafetensorsError for a name that appears twice.
void index_safetensors_by_name(SafetensorsHeader& header);

/// Bytes of a contiguous tensor. Throws SafetensorsError for a negative size, a product (of all sizes but
/// zeros) beyond std::int64_t, or packed elements that do not fill their last byte.
std::uint64_t safetensors_byte_size(SafetensorsDtype dtype, std::span<const std::int64_t> shape);

}  // namespace ip2p
