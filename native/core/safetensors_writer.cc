#include "core/safetensors_writer.h"

#include <algorithm>
#include <bit>
#include <string_view>
#include <utility>

#include "core/file.h"
#include "core/utf8.h"

namespace ip2p {
namespace {

static_assert(std::endian::native == std::endian::little,
              "safetensors files are little-endian, and so is the memory");

std::span<const std::byte> as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

void check_text(std::string_view text, const char* what) {
  if (!is_valid_utf8(text))
    throw SafetensorsError(std::string(what) + " " + in_quotes(text) + " is not valid UTF-8");
}

void append_json_string(std::string& out, std::string_view text) {
  constexpr std::string_view kShort = "\bb\tt\nn\ff\rr\"\"\\\\";
  constexpr char kHex[] = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    const auto code = static_cast<unsigned char>(c);
    if (code >= 0x20 && c != '"' && c != '\\') {
      out += c;
      continue;
    }
    out += '\\';
    std::size_t i = 0;
    while (i < kShort.size() && kShort[i] != c) i += 2;
    if (i < kShort.size())
      out += kShort[i + 1];
    else
      ((out += "u00") += kHex[code >> 4]) += kHex[code & 0xf];
  }
  out += '"';
}

void append_metadata(std::string& out, const SafetensorsHeader::Metadata& metadata) {
  out += "\"__metadata__\":{";
  bool first = true;
  for (const auto& [key, value] : metadata) {
    if (!std::exchange(first, false)) out += ',';
    append_json_string(out, key);
    out += ':';
    append_json_string(out, value);
  }
  out += '}';
}

void append_tensor(std::string& out, const TensorInfo& info) {
  append_json_string(out, info.name);
  ((out += ":{\"dtype\":\"") += safetensors_dtype_name(info.dtype)) += "\",\"shape\":[";
  for (std::size_t i = 0; i < info.shape.size(); ++i) (out += i ? "," : "") += std::to_string(info.shape[i]);
  ((out += "],\"data_offsets\":[") += std::to_string(info.begin)) += ',';
  (out += std::to_string(info.end)) += "]}";
}

void write_all(AtomicFile& file, SafetensorsHeader& header, const std::vector<TensorSource>& sources) {
  file.write(as_bytes(serialize_safetensors_header(header)));
  for (const TensorInfo& info : header.tensors) {
    const auto source =
        std::lower_bound(sources.begin(), sources.end(), info.name,
                         [](const TensorSource& a, const std::string& name) { return a.name < name; });
    const std::span<const std::byte> bytes = source->bytes();
    if (bytes.size() != info.end - info.begin)
      throw SafetensorsError("tensor " + in_quotes(info.name) + " has " + std::to_string(bytes.size()) +
                             " bytes, but its shape and type take " + std::to_string(info.end - info.begin));
    file.write(bytes);
  }
}

}  // namespace

SafetensorsHeader layout_safetensors(std::vector<TensorInfo> tensors,
                                     std::optional<SafetensorsHeader::Metadata> metadata) {
  SafetensorsHeader header;
  header.tensors = std::move(tensors);
  header.metadata = std::move(metadata);
  const auto order = [](const TensorInfo& a, const TensorInfo& b) {
    return a.dtype != b.dtype ? a.dtype > b.dtype : a.name < b.name;
  };
  std::sort(header.tensors.begin(), header.tensors.end(), order);
  std::uint64_t offset = 0;
  for (TensorInfo& info : header.tensors) {
    check_text(info.name, "the tensor name");
    if (info.name == "__metadata__")
      throw SafetensorsError("\"__metadata__\" cannot be the name of a tensor");
    std::uint64_t size = 0;
    try {
      size = safetensors_byte_size(info.dtype, info.shape);
    } catch (const SafetensorsError& error) {
      throw SafetensorsError("tensor " + in_quotes(info.name) + ": " + error.what());
    }
    if (size > static_cast<std::uint64_t>(INT64_MAX) - offset)
      throw SafetensorsError("the tensors take more than 2^63 bytes together");
    info.begin = offset;
    info.end = offset += size;
  }
  if (header.metadata)
    for (const auto& [key, value] : *header.metadata) {
      check_text(key, "the metadata key");
      check_text(value, "the metadata value");
    }
  index_safetensors_by_name(header);
  return header;
}

std::string serialize_safetensors_header(SafetensorsHeader& header) {
  std::string out(8, '\0');
  out += '{';
  if (header.metadata) append_metadata(out, *header.metadata);
  bool first = !header.metadata;
  for (const TensorInfo& info : header.tensors) {
    if (!std::exchange(first, false)) out += ',';
    append_tensor(out, info);
  }
  out += '}';
  out.resize((out.size() + 7) / 8 * 8, ' ');
  const std::uint64_t length = out.size() - 8;
  if (length > kMaxSafetensorsHeaderBytes)
    throw SafetensorsError("the header would be " + std::to_string(length) +
                           " bytes long, more than the allowed " +
                           std::to_string(kMaxSafetensorsHeaderBytes));
  for (int i = 0; i < 8; ++i) out[static_cast<std::size_t>(i)] = static_cast<char>(length >> (8 * i));
  header.data_start = out.size();
  return out;
}

void write_safetensors(const std::string& path, std::vector<TensorSource> tensors,
                       std::optional<SafetensorsHeader::Metadata> metadata) {
  try {
    std::sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
    std::vector<TensorInfo> infos;
    infos.reserve(tensors.size());
    for (const TensorSource& source : tensors)
      infos.push_back({source.name, source.dtype, source.shape, 0, 0});
    SafetensorsHeader header = layout_safetensors(std::move(infos), std::move(metadata));
    AtomicFile file(path);
    write_all(file, header, tensors);
    file.commit();
  } catch (const SafetensorsError& error) {
    throw SafetensorsError(path + ": " + error.what());
  }
}

}  // namespace ip2p
