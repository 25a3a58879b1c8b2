#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "core/file.h"
#include "core/safetensors_header.h"

namespace ip2p {

/// An open safetensors file whose header has been checked (Hugging Face's format: 8 bytes of length, a JSON
/// header, raw tensors). https://huggingface.co/docs/safetensors
class SafetensorsFile {
 public:
  /// Throws SafetensorsError for a bad file and what InputFile::open throws for one that cannot be read;
  /// both messages start with the path.
  static SafetensorsFile open(const std::string& path);

  const std::string& path() const { return file_.path(); }
  const SafetensorsHeader& header() const { return header_; }

  /// Copies `out.size()` of a tensor's bytes, from the `first` on. ERR_IO if the file has shrunk.
  void read(const TensorInfo& info, std::span<std::byte> out, std::uint64_t first = 0) const;

 private:
  SafetensorsFile(InputFile file, SafetensorsHeader header);

  InputFile file_;
  SafetensorsHeader header_;
};

}  // namespace ip2p
