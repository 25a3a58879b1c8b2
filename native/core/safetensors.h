#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "core/file.h"
#include "core/safetensors_header.h"

namespace ip2p {

/// An open safetensors file whose header has been checked (Hugging Face's format: 8 bytes of length, a JSON
/// header, raw tensors). https://huggingface.co/docs/safetensors
class SafetensorsFile {
 public:
  /// Throws SafetensorsError for a bad file and what MappedFile::open throws for one that cannot be read;
  /// both messages start with the path.
  static SafetensorsFile open(const std::string& path);

  const std::string& path() const { return file_.path(); }
  const SafetensorsHeader& header() const { return header_; }

  /// A tensor's bytes in the mapping, at no particular alignment, valid as long as this object; see
  /// MappedFile::bytes() for when that is safe.
  std::span<const std::byte> data(const TensorInfo& info) const;

  /// Copies a tensor's bytes, `out.size()` of them being exactly as many as it has. ERR_IO if the file has
  /// shrunk.
  void read(const TensorInfo& info, std::span<std::byte> out) const;

 private:
  SafetensorsFile(MappedFile file, SafetensorsHeader header);

  MappedFile file_;
  SafetensorsHeader header_;
};

}  // namespace ip2p
