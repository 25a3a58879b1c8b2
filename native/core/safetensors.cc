#include "core/safetensors.h"

#include <algorithm>
#include <stdexcept>
#include <utility>
#include <vector>

namespace ip2p {
namespace {

SafetensorsHeader read_header(const InputFile& file) {
  std::vector<std::byte> start(
      static_cast<std::size_t>(std::min<std::uint64_t>(file.size(), kSafetensorsProbeBytes)));
  file.read_at(0, start);
  const std::uint64_t length = safetensors_header_length(start, file.size());
  // A copy: parsing a mapping in place would crash if another process shortened the file.
  std::vector<std::byte> prefix(static_cast<std::size_t>(8 + length));
  file.read_at(0, prefix);
  return parse_safetensors_header(prefix, file.size());
}

}  // namespace

SafetensorsFile SafetensorsFile::open(const std::string& path) {
  InputFile file = InputFile::open(path);
  try {
    SafetensorsHeader header = read_header(file);
    return {std::move(file), std::move(header)};
  } catch (const SafetensorsError& error) {
    throw SafetensorsError(path + ": " + error.what());
  }
}

SafetensorsFile::SafetensorsFile(InputFile file, SafetensorsHeader header)
    : file_(std::move(file)), header_(std::move(header)) {}

void SafetensorsFile::read(const TensorInfo& info, std::span<std::byte> out, std::uint64_t first) const {
  const std::uint64_t size = info.end - info.begin;
  if (first > size || out.size() > size - first)
    throw std::invalid_argument("more bytes than the tensor has");
  file_.read_at(header_.data_start + info.begin + first, out);
}

}  // namespace ip2p
