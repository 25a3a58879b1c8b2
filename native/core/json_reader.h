#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace ip2p {

/// An error in a JSON text with its byte position, in one line.
class JsonError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A strict reader of RFC 8259 JSON that pulls one token after another and builds no tree, so that hostile
/// input costs no more memory than the caller asks to keep. These throw JsonError: comments, trailing commas,
/// unpaired surrogates, raw control characters, malformed UTF-8, nesting deeper than `kMaxDepth`.
///
///     reader.enter_object();
///     while (reader.next_key(key)) { … exactly one of read_*, skip_value, enter_* and its loop … }
///     reader.finish();
class JsonReader {
 public:
  static constexpr int kMaxDepth = 127;

  /// `text` must outlive the reader.
  explicit JsonReader(std::string_view text) : text_(text) {}

  void enter_object();
  /// Reads the next key of the innermost object and its colon; false, past the closing brace, where there is
  /// none. A key of more than `max_bytes` is an error.
  bool next_key(std::string& key, std::size_t max_bytes);

  void enter_array();
  /// Whether the innermost array has another element, which is then the next value; if not, moves past its
  /// bracket.
  bool next_element();

  /// A string, decoded to UTF-8. More than `max_bytes` between its quotes is an error, before anything is
  /// allocated.
  std::string read_string(std::size_t max_bytes);
  /// An integer in 0..2^64-1 written without a sign, a fraction or an exponent.
  std::uint64_t read_unsigned();
  /// Consumes `null` if it is the next value.
  bool read_null();
  /// Checks any value and drops it.
  void skip_value();

  /// The first character of the next value, '\0' at the end of the text.
  char peek();
  /// Only white space may remain.
  void finish();

 private:
  [[noreturn]] void fail(const std::string& what) const;
  void skip_white_space();
  bool consume(char expected);
  void enter(char opening);
  bool next_member(char closing);
  void decode_string(std::string* out, std::size_t max_bytes);
  std::size_t scan_string() const;
  char32_t read_escape();
  char32_t read_hex4();
  void skip_number();
  bool skip_digits();
  void skip_literal(std::string_view literal);

  std::string_view text_;
  std::size_t position_ = 0;
  int depth_ = 0;
  bool first_ = false;  // whether nothing of the innermost container has been read yet
};

}  // namespace ip2p
