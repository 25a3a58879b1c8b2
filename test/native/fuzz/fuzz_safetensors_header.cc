// Any bytes at all, as a safetensors file: either one typed error of one line, or a header that keeps every
// promise of SafetensorsHeader and survives being written and read again.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>

#include "core/safetensors_header.h"
#include "core/safetensors_writer.h"
#include "core/utf8.h"
#include "require.h"

using namespace ip2p;

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace {

constexpr std::size_t kLengthBytes = 8;

void check_promises(const SafetensorsHeader& header, std::uint64_t file_size) {
  std::uint64_t end = 0;
  for (const TensorInfo& info : header.tensors) {
    REQUIRE(info.begin == end);
    REQUIRE(info.end >= info.begin);
    REQUIRE(info.end - info.begin == safetensors_byte_size(info.dtype, info.shape));
    REQUIRE(is_valid_utf8(info.name));
    REQUIRE(header.find(info.name) == &info);
    end = info.end;
  }
  REQUIRE(header.data_start + end == file_size);
  REQUIRE(header.by_name.size() == header.tensors.size());
  REQUIRE(header.find("no such tensor in any corpus") == nullptr);
}

void check_round_trip(SafetensorsHeader header) {
  const std::string start = serialize_safetensors_header(header);
  REQUIRE(start.size() == header.data_start);
  const std::uint64_t data_size = header.tensors.empty() ? 0 : header.tensors.back().end;
  const SafetensorsHeader again =
      parse_safetensors_header(std::as_bytes(std::span(start)), header.data_start + data_size);
  REQUIRE(again.metadata == header.metadata);
  REQUIRE(again.by_name == header.by_name);
  REQUIRE(again.tensors.size() == header.tensors.size());
  for (std::size_t i = 0; i < again.tensors.size(); ++i) {
    const TensorInfo& a = again.tensors[i];
    const TensorInfo& b = header.tensors[i];
    REQUIRE(a.name == b.name && a.dtype == b.dtype && a.shape == b.shape && a.begin == b.begin &&
            a.end == b.end);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span file(reinterpret_cast<const std::byte*>(data), size);
  try {
    const SafetensorsHeader header = parse_safetensors_header(file, size);
    check_promises(header, size);
    check_round_trip(header);
  } catch (const SafetensorsError& error) {
    const std::string message = error.what();
    REQUIRE(!message.empty() && message.size() < 4000);
    REQUIRE(message.find_first_of("\n\r") == std::string::npos && is_valid_utf8(message));
  }
  return 0;
}

// Most changes of a header change its length, which the length field would then contradict: half of the time
// the header alone is changed and the length put right.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned int seed) {
  if (seed % 2 == 0 || size < kLengthBytes) return LLVMFuzzerMutate(data, size, max_size);
  std::uint64_t length;
  std::memcpy(&length, data, kLengthBytes);
  length = std::min<std::uint64_t>(length, size - kLengthBytes);
  const std::string tail(data + kLengthBytes + length, data + size);
  const std::size_t room = max_size - kLengthBytes - tail.size();
  if (room == 0) return LLVMFuzzerMutate(data, size, max_size);
  length = LLVMFuzzerMutate(data + kLengthBytes, static_cast<std::size_t>(length), room);
  std::memcpy(data, &length, kLengthBytes);
  std::memcpy(data + kLengthBytes + length, tail.data(), tail.size());
  return kLengthBytes + static_cast<std::size_t>(length) + tail.size();
}
