#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace ip2p {

/// Bytes of the well-formed UTF-8 sequence that `text` starts with (1 to 4), or 0 where there is none:
/// truncated, overlong, a surrogate, above U+10FFFF, or a stray continuation byte (Unicode 15, table 3-7).
std::size_t utf8_sequence_length(std::string_view text);

bool is_valid_utf8(std::string_view text);

/// Appends a Unicode scalar value as UTF-8. Surrogates and values above U+10FFFF must not be passed.
void append_utf8(std::string& out, char32_t code_point);

/// `text` in double quotes for a one-line message: at most some 80 bytes of it, and whatever would break the
/// line or the quoting (control characters, line separators, quotes, malformed bytes) written as an escape.
std::string in_quotes(std::string_view text);

}  // namespace ip2p
