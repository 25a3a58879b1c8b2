#include "core/safetensors_header.h"

#include <algorithm>
#include <array>
#include <limits>
#include <tuple>
#include <utility>

#include "core/json_reader.h"
#include "core/utf8.h"

// Stricter than the reference implementation (Hugging Face's safetensors crate), which takes the last of two
// tensors of one name, white space before the header, a tensor described by an array instead of an object, a
// type written as
// {"F32": null}, and empty tensors with sizes beyond 63 bits: a name twice is ambiguous, the format wants the
// header to begin with '{', and the others are accidents of its deserialiser. Ranks above 64 and names above
// 64 KiB are refused too, since no tensor library has them.

namespace ip2p {
namespace {

constexpr std::size_t kLengthBytes = 8;
constexpr std::size_t kMaxRank = 64;
constexpr std::size_t kMaxNameBytes = 65536;
// Overhead per entry: the map's node and the allocator's overhead for up to three blocks.
constexpr std::size_t kMetadataEntryBytes = sizeof(SafetensorsHeader::Metadata::value_type) + 96;
constexpr std::size_t kTensorEntryBytes = 48 + sizeof(std::uint32_t);

using std::to_string;

[[noreturn]] void fail(const std::string& message) {
  throw SafetensorsError(message);
}

[[noreturn]] void fail_tensor(std::string_view name, const std::string& message) {
  fail("tensor " + in_quotes(name) + ": " + message);
}

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Counts the heap memory of the parsed header, so that a header that would need too much is refused first.
class MemoryBudget {
 public:
  explicit MemoryBudget(std::uint64_t bytes) : left_(bytes) {}

  void charge(std::uint64_t bytes) {
    if (bytes > left_)
      fail("the header describes more tensors or metadata than a file of this size can need");
    left_ -= bytes;
  }

  std::size_t left() const {
    return static_cast<std::size_t>(std::min<std::uint64_t>(left_, std::numeric_limits<std::size_t>::max()));
  }

  /// Makes room for one more element; while a vector moves, its old and its new block are both held.
  template <typename T>
  void grow(std::vector<T>& items) {
    if (items.size() < items.capacity()) return;
    const std::size_t held = items.capacity();
    const std::size_t wanted = std::max<std::size_t>(16, 2 * held);
    charge(wanted * sizeof(T));
    items.reserve(wanted);
    left_ += held * sizeof(T);
  }

 private:
  std::uint64_t left_;
};

std::string shape_text(std::span<const std::int64_t> shape) {
  std::string out = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) out += (i ? ", " : "") + to_string(shape[i]);
  return out + "]";
}

std::vector<std::int64_t> read_shape(JsonReader& reader, MemoryBudget& budget) {
  std::array<std::int64_t, kMaxRank> sizes;
  std::size_t rank = 0;
  reader.enter_array();
  while (reader.next_element()) {
    const std::uint64_t size = reader.read_unsigned();
    if (rank == kMaxRank) fail("more than " + to_string(kMaxRank) + " dimensions");
    if (size > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
      fail("a dimension of " + to_string(size) + ", which is more than 2^63-1");
    sizes[rank++] = static_cast<std::int64_t>(size);
  }
  budget.charge(rank * sizeof(std::int64_t));
  return {sizes.begin(), sizes.begin() + static_cast<std::ptrdiff_t>(rank)};
}

std::pair<std::uint64_t, std::uint64_t> read_offsets(JsonReader& reader) {
  std::array<std::uint64_t, 2> offsets{};
  std::size_t count = 0;
  reader.enter_array();
  while (reader.next_element()) {
    const std::uint64_t offset = reader.read_unsigned();
    if (count < 2) offsets[count] = offset;
    ++count;
  }
  if (count != 2) fail("data_offsets has " + to_string(count) + " numbers, not 2");
  return {offsets[0], offsets[1]};
}

// Parses the object that describes a tensor; its name was read before. Keys of later versions of the format
// are skipped.
void read_tensor_fields(JsonReader& reader, MemoryBudget& budget, TensorInfo& info) {
  bool has_dtype = false;
  bool has_shape = false;
  bool has_offsets = false;
  const auto once = [](bool& seen, const char* key) {
    if (std::exchange(seen, true)) fail(std::string("the key \"") + key + "\" appears twice");
  };
  std::string key;
  reader.enter_object();
  while (reader.next_key(key, kMaxNameBytes)) {
    if (key == "dtype") {
      once(has_dtype, "dtype");
      const std::string dtype = reader.read_string(kMaxNameBytes);
      const auto known = parse_safetensors_dtype(dtype);
      if (!known) fail("unknown dtype " + in_quotes(dtype));
      info.dtype = *known;
    } else if (key == "shape") {
      once(has_shape, "shape");
      info.shape = read_shape(reader, budget);
    } else if (key == "data_offsets") {
      once(has_offsets, "data_offsets");
      std::tie(info.begin, info.end) = read_offsets(reader);
    } else {
      reader.skip_value();
    }
  }
  if (!has_dtype) fail("\"dtype\" is missing");
  if (!has_shape) fail("\"shape\" is missing");
  if (!has_offsets) fail("\"data_offsets\" is missing");
}

void check_range(const TensorInfo& info, std::uint64_t data_size) {
  const auto offsets = [&] {
    return "data_offsets [" + to_string(info.begin) + ", " + to_string(info.end) + "]";
  };
  if (info.begin > info.end) fail(offsets() + " end before they begin");
  const std::uint64_t size = safetensors_byte_size(info.dtype, info.shape);
  if (info.end - info.begin != size)
    fail(offsets() + " span " + to_string(info.end - info.begin) + " bytes, but shape " +
         shape_text(info.shape) + " of " + std::string(safetensors_dtype_name(info.dtype)) + " takes " +
         to_string(size));
  if (info.end > data_size)
    fail(offsets() + " reach beyond the end of the file, which holds " + to_string(data_size) +
         " bytes of data: is it truncated?");
}

SafetensorsHeader::Metadata read_metadata(JsonReader& reader, MemoryBudget& budget) {
  SafetensorsHeader::Metadata metadata;
  std::string key;
  reader.enter_object();
  while (reader.next_key(key, kMaxNameBytes)) {
    budget.charge(kMetadataEntryBytes + key.capacity());
    std::string value = reader.read_string(budget.left());
    budget.charge(value.capacity());
    const std::string shown = in_quotes(key);
    if (!metadata.emplace(std::move(key), std::move(value)).second)
      fail("the key " + shown + " appears twice");
    key.clear();
  }
  return metadata;
}

void read_entries(JsonReader& reader, MemoryBudget& budget, std::uint64_t data_size,
                  SafetensorsHeader& header) {
  bool has_metadata = false;
  std::string name;
  reader.enter_object();
  while (reader.next_key(name, kMaxNameBytes)) {
    try {
      if (name == "__metadata__") {
        if (std::exchange(has_metadata, true)) fail("appears twice");
        // The reference implementation takes null for none.
        if (!reader.read_null()) header.metadata = read_metadata(reader, budget);
        continue;
      }
      budget.grow(header.tensors);
      budget.charge(kTensorEntryBytes + name.capacity());
      TensorInfo info;
      read_tensor_fields(reader, budget, info);
      check_range(info, data_size);
      info.name = std::move(name);
      header.tensors.push_back(std::move(info));
      name.clear();
    } catch (const SafetensorsError& error) {
      if (name == "__metadata__") fail(std::string("__metadata__: ") + error.what());
      fail_tensor(name, error.what());
    } catch (const JsonError& error) {
      if (name == "__metadata__")
        fail(std::string("__metadata__ must map strings to strings: ") + error.what());
      fail_tensor(name, error.what());
    }
  }
  reader.finish();
}

// Sorts the tensors by offset and makes sure that they tile the data.
void check_tiling(std::vector<TensorInfo>& tensors, std::uint64_t data_size) {
  const auto before = [](const TensorInfo& a, const TensorInfo& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  };
  if (!std::is_sorted(tensors.begin(), tensors.end(), before))
    std::sort(tensors.begin(), tensors.end(), before);
  std::uint64_t end = 0;
  const TensorInfo* previous = nullptr;
  for (const TensorInfo& info : tensors) {
    if (info.begin < end)
      fail_tensor(info.name, "its data overlap those of tensor " + in_quotes(previous->name) + " at byte " +
                                 to_string(info.begin));
    if (info.begin > end)
      fail_tensor(info.name, "a hole of " + to_string(info.begin - end) +
                                 " bytes lies before its data at byte " + to_string(info.begin));
    end = info.end;
    previous = &info;
  }
  if (end != data_size)
    fail("the file goes on for " + to_string(data_size - end) + " bytes after the data of its last tensor");
}

const char* known_impostor(std::string_view start) {
  using namespace std::string_view_literals;
  if (start.starts_with("version https://git-lfs"sv))
    return "the file is a Git LFS pointer, not the weights themselves: run `git lfs pull`";
  if (start.starts_with("PK\x03\x04"sv) || (start.size() > 1 && start[0] == '\x80' && start[1] <= '\x05'))
    return "the file is a PyTorch pickle, not safetensors; pickles are never read";
  if (start.starts_with("GGUF"sv)) return "the file is GGUF, not safetensors";
  if (start.starts_with("<!DOCTYPE"sv) || start.starts_with("<!doctype"sv) || start.starts_with("<html"sv))
    return "the file is a web page, not safetensors: was the download refused?";
  return nullptr;
}

}  // namespace

const TensorInfo* SafetensorsHeader::find(std::string_view name) const {
  const auto found =
      std::lower_bound(by_name.begin(), by_name.end(), name,
                       [&](std::uint32_t i, std::string_view key) { return tensors[i].name < key; });
  return found != by_name.end() && tensors[*found].name == name ? &tensors[*found] : nullptr;
}

void index_safetensors_by_name(SafetensorsHeader& header) {
  auto& tensors = header.tensors;
  auto& index = header.by_name;
  index.resize(tensors.size());
  for (std::size_t i = 0; i < index.size(); ++i) index[i] = static_cast<std::uint32_t>(i);
  std::sort(index.begin(), index.end(), [&](auto a, auto b) { return tensors[a].name < tensors[b].name; });
  const auto twin = std::adjacent_find(index.begin(), index.end(),
                                       [&](auto a, auto b) { return tensors[a].name == tensors[b].name; });
  if (twin != index.end()) fail_tensor(tensors[*twin].name, "the name appears twice");
}

std::uint64_t safetensors_byte_size(SafetensorsDtype dtype, std::span<const std::int64_t> shape) {
  constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  const std::uint64_t bits = safetensors_dtype_bits(dtype);
  // Strides of an empty tensor are products of its other sizes, so they must not overflow either.
  std::uint64_t product = bits;
  bool empty = false;
  for (const std::int64_t size : shape) {
    if (size < 0) fail("shape " + shape_text(shape) + " has a negative size");
    if (size == 0) {
      empty = true;
      continue;
    }
    if (product > kMax / static_cast<std::uint64_t>(size))
      fail("shape " + shape_text(shape) + " overflows 64 bits");
    product *= static_cast<std::uint64_t>(size);
  }
  if (empty) return 0;
  if (product % 8 != 0)
    fail("shape " + shape_text(shape) + " of " + std::string(safetensors_dtype_name(dtype)) +
         " does not fill its last byte");
  return product / 8;
}

std::uint64_t safetensors_header_length(std::span<const std::byte> start, std::uint64_t file_size) {
  if (file_size == 0) fail("the file is empty");
  std::uint64_t length = std::numeric_limits<std::uint64_t>::max();
  if (file_size >= kLengthBytes && start.size() >= kLengthBytes) {
    length = 0;
    for (std::size_t i = 0; i < kLengthBytes; ++i)
      length |= std::to_integer<std::uint64_t>(start[i]) << (8 * i);
    if (length <= kMaxSafetensorsHeaderBytes && length <= file_size - kLengthBytes) return length;
  }
  if (const char* impostor = known_impostor(as_text(start))) fail(impostor);
  if (file_size < kLengthBytes || start.size() < kLengthBytes)
    fail("the file has " + to_string(file_size) +
         " bytes, too few for the header's length: is it truncated?");
  if (length > kMaxSafetensorsHeaderBytes)
    fail("its header would be " + to_string(length) + " bytes long, more than the allowed " +
         to_string(kMaxSafetensorsHeaderBytes) + ": not a safetensors file?");
  fail("its header is " + to_string(length) + " bytes long, but only " + to_string(file_size - kLengthBytes) +
       " follow: is the file truncated?");
}

SafetensorsHeader parse_safetensors_header(std::span<const std::byte> file_prefix, std::uint64_t file_size) {
  const std::uint64_t length = safetensors_header_length(file_prefix, file_size);
  const std::uint64_t data_start = kLengthBytes + length;
  if (file_prefix.size() < data_start) throw std::invalid_argument("the header lies beyond the bytes given");
  const std::string_view text = as_text(file_prefix.subspan(kLengthBytes, static_cast<std::size_t>(length)));
  if (!text.starts_with('{')) fail("its header does not start with '{'");

  SafetensorsHeader header;
  header.data_start = data_start;
  const std::uint64_t data_size = file_size - data_start;
  MemoryBudget budget(file_size - length + kMaxSafetensorsHeaderBytes);
  try {
    JsonReader reader(text);
    read_entries(reader, budget, data_size, header);
  } catch (const JsonError& error) {
    fail(std::string("its header is not valid JSON: ") + error.what());
  }
  check_tiling(header.tensors, data_size);
  index_safetensors_by_name(header);
  return header;
}

}  // namespace ip2p
