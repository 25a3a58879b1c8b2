#include "core/json_reader.h"

#include "core/utf8.h"

namespace ip2p {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

}  // namespace

void JsonReader::fail(const std::string& what) const {
  throw JsonError("at byte " + std::to_string(position_) + ": " + what);
}

void JsonReader::skip_white_space() {
  while (position_ < text_.size()) {
    const char c = text_[position_];
    if (c != ' ' && c != '\n' && c != '\r' && c != '\t') return;
    ++position_;
  }
}

char JsonReader::peek() {
  skip_white_space();
  return position_ < text_.size() ? text_[position_] : '\0';
}

bool JsonReader::consume(char expected) {
  // The position is checked too, since a NUL character in the text also peeks as '\0'.
  if (peek() != expected || position_ == text_.size()) return false;
  ++position_;
  return true;
}

void JsonReader::enter(char opening) {
  if (!consume(opening)) fail(opening == '{' ? "expected an object" : "expected an array");
  if (++depth_ > kMaxDepth) fail("nested more than " + std::to_string(kMaxDepth) + " deep");
  first_ = true;
}

void JsonReader::enter_object() {
  enter('{');
}

void JsonReader::enter_array() {
  enter('[');
}

// Whether another member follows; consumes the comma before it.
bool JsonReader::next_member(char closing) {
  const bool first = first_;
  first_ = false;
  if (consume(closing)) {
    --depth_;
    return false;
  }
  if (!first && !consume(',')) fail(std::string("expected ',' or '") + closing + "'");
  return true;
}

bool JsonReader::next_key(std::string& key, std::size_t max_bytes) {
  if (!next_member('}')) return false;
  if (peek() != '"') fail("expected a key in quotes");
  key = read_string(max_bytes);
  if (!consume(':')) fail("expected ':' after a key");
  return true;
}

bool JsonReader::next_element() {
  return next_member(']');
}

// The position of the closing quote of a string whose content starts at the current position.
std::size_t JsonReader::scan_string() const {
  for (std::size_t i = position_; i < text_.size(); ++i) {
    if (text_[i] == '"') return i;
    if (text_[i] == '\\') ++i;
  }
  fail("a string without an end");
}

std::string JsonReader::read_string(std::size_t max_bytes) {
  std::string out;
  decode_string(&out, max_bytes);
  return out;
}

// Checks a string and, unless `out` is null, appends its decoded value.
void JsonReader::decode_string(std::string* out, std::size_t max_bytes) {
  if (!consume('"')) fail("expected a string");
  const std::size_t end = scan_string();
  if (end - position_ > max_bytes) fail("a string of more than " + std::to_string(max_bytes) + " bytes");
  if (out) out->reserve(end - position_);  // escapes only ever shrink
  while (position_ < end) {
    const char c = text_[position_];
    if (c == '\\') {
      const char32_t value = read_escape();
      if (out) append_utf8(*out, value);
      continue;
    }
    if (static_cast<unsigned char>(c) < 0x20) fail("a control character in a string");
    const std::size_t length = utf8_sequence_length(text_.substr(position_, end - position_));
    if (length == 0) fail("malformed UTF-8");
    if (out) out->append(text_, position_, length);
    position_ += length;
  }
  ++position_;
}

// At a backslash; scan_string() has made sure that a character and, later, the closing quote follow.
char32_t JsonReader::read_escape() {
  const char kind = text_[position_ + 1];
  position_ += 2;
  switch (kind) {
    case '"':
    case '\\':
    case '/':
      return static_cast<char32_t>(kind);
    case 'b':
      return U'\b';
    case 'f':
      return U'\f';
    case 'n':
      return U'\n';
    case 'r':
      return U'\r';
    case 't':
      return U'\t';
    case 'u':
      break;
    default:
      position_ -= 2;
      fail("an unknown escape in a string");
  }
  const char32_t value = read_hex4();
  if (value >= 0xdc00 && value < 0xe000) fail("an unpaired surrogate in a string");
  if (value < 0xd800 || value >= 0xe000) return value;
  if (text_.substr(position_, 2) != "\\u") fail("an unpaired surrogate in a string");
  position_ += 2;
  const char32_t low = read_hex4();
  if (low < 0xdc00 || low >= 0xe000) fail("an unpaired surrogate in a string");
  return 0x10000 + ((value - 0xd800) << 10) + (low - 0xdc00);
}

char32_t JsonReader::read_hex4() {
  char32_t value = 0;
  for (int i = 0; i < 4; ++i, ++position_) {
    const char c = position_ < text_.size() ? text_[position_] : '\0';
    const char lower = static_cast<char>(c | 0x20);
    if (is_digit(c))
      value = value << 4 | static_cast<char32_t>(c - '0');
    else if (lower >= 'a' && lower <= 'f')
      value = value << 4 | static_cast<char32_t>(lower - 'a' + 10);
    else
      fail("\\u needs four hexadecimal digits");
  }
  return value;
}

std::uint64_t JsonReader::read_unsigned() {
  const char first = peek();
  if (!is_digit(first)) fail("expected a non-negative integer");
  std::uint64_t value = 0;
  const std::size_t start = position_;
  for (; position_ < text_.size() && is_digit(text_[position_]); ++position_) {
    const auto digit = static_cast<std::uint64_t>(text_[position_] - '0');
    if (value > (UINT64_MAX - digit) / 10) fail("an integer above 2^64-1");
    value = value * 10 + digit;
  }
  if (first == '0' && position_ - start > 1) fail("an integer with a leading zero");
  const char next = position_ < text_.size() ? text_[position_] : '\0';
  if (next == '.' || next == 'e' || next == 'E') fail("expected an integer, not a fraction or an exponent");
  return value;
}

bool JsonReader::read_null() {
  if (peek() != 'n') return false;
  skip_literal("null");
  return true;
}

void JsonReader::skip_literal(std::string_view literal) {
  if (text_.substr(position_, literal.size()) != literal) fail("expected a value");
  position_ += literal.size();
}

bool JsonReader::skip_digits() {
  const std::size_t start = position_;
  while (position_ < text_.size() && is_digit(text_[position_])) ++position_;
  return position_ > start;
}

void JsonReader::skip_number() {
  const auto at = [&](char c) { return position_ < text_.size() && text_[position_] == c; };
  if (at('-')) ++position_;
  if (at('0'))
    ++position_;
  else if (!skip_digits())
    fail("expected a value");
  if (at('.')) {
    ++position_;
    if (!skip_digits()) fail("a number with no digits after its point");
  }
  if (at('e') || at('E')) {
    ++position_;
    if (at('+') || at('-')) ++position_;
    if (!skip_digits()) fail("a number with an empty exponent");
  }
}

void JsonReader::skip_value() {
  switch (peek()) {
    case '{':
      enter_object();
      while (next_member('}')) {
        decode_string(nullptr, text_.size());
        if (!consume(':')) fail("expected ':' after a key");
        skip_value();
      }
      return;
    case '[':
      enter_array();
      while (next_element()) skip_value();
      return;
    case '"':
      return decode_string(nullptr, text_.size());
    case 't':
      return skip_literal("true");
    case 'f':
      return skip_literal("false");
    case 'n':
      return skip_literal("null");
    default:
      return skip_number();
  }
}

void JsonReader::finish() {
  skip_white_space();
  if (position_ < text_.size()) fail("something after the end of the JSON value");
}

}  // namespace ip2p
