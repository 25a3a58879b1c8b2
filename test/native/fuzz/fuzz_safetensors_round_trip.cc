// Any tensors and metadata: what can be laid out is read back as it was, and the rest is refused with a typed
// error.

#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "core/safetensors_header.h"
#include "core/safetensors_writer.h"
#include "require.h"

using namespace ip2p;

namespace {

TensorInfo consume_tensor(FuzzedDataProvider& input) {
  TensorInfo info;
  info.name = input.ConsumeRandomLengthString(24);
  const auto last = static_cast<int>(SafetensorsDtype::kU64);
  info.dtype = static_cast<SafetensorsDtype>(input.ConsumeIntegralInRange<int>(0, last));
  for (auto rank = input.ConsumeIntegralInRange<int>(0, 5); rank > 0; --rank)
    info.shape.push_back(input.ConsumeBool() ? input.ConsumeIntegralInRange<std::int64_t>(-1, 9)
                                             : input.ConsumeIntegral<std::int64_t>());
  return info;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider input(data, size);
  std::optional<SafetensorsHeader::Metadata> metadata;
  if (input.ConsumeBool()) {
    metadata.emplace();
    for (auto count = input.ConsumeIntegralInRange<int>(0, 4); count > 0; --count) {
      const std::string key = input.ConsumeRandomLengthString(16);
      (*metadata)[key] = input.ConsumeRandomLengthString(64);
    }
  }
  std::vector<TensorInfo> tensors;
  for (auto count = input.ConsumeIntegralInRange<int>(0, 8); count > 0; --count)
    tensors.push_back(consume_tensor(input));

  SafetensorsHeader header;
  std::string start;
  try {
    header = layout_safetensors(tensors, metadata);
    start = serialize_safetensors_header(header);
  } catch (const SafetensorsError&) {
    return 0;
  }
  REQUIRE(start.size() % 8 == 0 && start.size() == header.data_start);
  const std::uint64_t data_size = header.tensors.empty() ? 0 : header.tensors.back().end;
  if (data_size > static_cast<std::uint64_t>(INT64_MAX) - header.data_start) return 0;
  // Anything layout_safetensors() lets through must be readable: an error here is a finding.
  const SafetensorsHeader read =
      parse_safetensors_header(std::as_bytes(std::span(start)), header.data_start + data_size);
  REQUIRE(read.metadata == metadata);
  REQUIRE(read.tensors.size() == tensors.size());
  for (const TensorInfo& wanted : tensors) {
    const TensorInfo* found = read.find(wanted.name);
    REQUIRE(found && found->dtype == wanted.dtype && found->shape == wanted.shape);
  }
  REQUIRE(std::is_sorted(read.tensors.begin(), read.tensors.end(),
                         [](const TensorInfo& a, const TensorInfo& b) { return a.dtype > b.dtype; }) ||
          std::any_of(read.tensors.begin(), read.tensors.end(),
                      [](const TensorInfo& info) { return info.begin == info.end; }));
  return 0;
}
