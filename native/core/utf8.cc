#include "core/utf8.h"

#include <cstdint>

namespace ip2p {
namespace {

constexpr std::size_t kQuotedBytes = 80;

std::uint8_t byte_at(std::string_view text, std::size_t i) {
  return static_cast<std::uint8_t>(text[i]);
}

bool continuation_at(std::string_view text, std::size_t i) {
  return (byte_at(text, i) & 0xc0) == 0x80;
}

void append_hex_escape(std::string& out, const char* prefix, unsigned value, int digits) {
  constexpr char kHex[] = "0123456789abcdef";
  out += prefix;
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) out += kHex[(value >> shift) & 0xf];
}

// C0 and C1 controls, DEL, and the two separators that JavaScript counts as line ends.
bool breaks_a_line(std::string_view sequence) {
  const std::uint8_t first = byte_at(sequence, 0);
  if (sequence.size() == 1) return first < 0x20 || first == 0x7f;
  if (sequence.size() == 2) return first == 0xc2 && byte_at(sequence, 1) < 0xa0;
  return sequence == "\u2028" || sequence == "\u2029";
}

unsigned code_point_of(std::string_view sequence) {
  unsigned value = byte_at(sequence, 0);
  if (sequence.size() > 1) value &= 0x7fu >> sequence.size();
  for (std::size_t i = 1; i < sequence.size(); ++i) value = value << 6 | (byte_at(sequence, i) & 0x3fu);
  return value;
}

}  // namespace

std::size_t utf8_sequence_length(std::string_view text) {
  if (text.empty()) return 0;
  const std::uint8_t first = byte_at(text, 0);
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4) return 0;
  const std::size_t length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  if (text.size() < length) return 0;
  // Only the second byte has a range narrower than 80..BF, and only after these four.
  const std::uint8_t second = byte_at(text, 1);
  const std::uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
  const std::uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
  if (second < low || second > high) return 0;
  for (std::size_t i = 2; i < length; ++i)
    if (!continuation_at(text, i)) return 0;
  return length;
}

bool is_valid_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = utf8_sequence_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

void append_utf8(std::string& out, char32_t code_point) {
  const auto value = static_cast<std::uint32_t>(code_point);
  const auto tail = [&](int shift) { out += static_cast<char>(0x80 | ((value >> shift) & 0x3f)); };
  if (value < 0x80) {
    out += static_cast<char>(value);
  } else if (value < 0x800) {
    out += static_cast<char>(0xc0 | (value >> 6));
    tail(0);
  } else if (value < 0x10000) {
    out += static_cast<char>(0xe0 | (value >> 12));
    tail(6);
    tail(0);
  } else {
    out += static_cast<char>(0xf0 | (value >> 18));
    tail(12);
    tail(6);
    tail(0);
  }
}

std::string in_quotes(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    if (out.size() > kQuotedBytes) return out + "\xe2\x80\xa6\"";  // an ellipsis
    const std::size_t length = utf8_sequence_length(text);
    const std::string_view sequence = text.substr(0, length == 0 ? 1 : length);
    if (length == 0)
      append_hex_escape(out, "\\x", byte_at(text, 0), 2);
    else if (breaks_a_line(sequence))
      append_hex_escape(out, "\\u", code_point_of(sequence), 4);
    else if (sequence == "\"" || sequence == "\\")
      (out += '\\') += sequence;
    else
      out += sequence;
    text.remove_prefix(sequence.size());
  }
  return out + '"';
}

}  // namespace ip2p
