#pragma once

// Windows only, and free of libtorch: the preload module has it, too.

#include <windows.h>

#include <cstddef>
#include <string>

namespace ip2p {

/// Converts UTF-8 to UTF-16 for Windows' calls. Empty for invalid UTF-8.
inline std::wstring wide_text(const std::string& text) {
  const auto size = static_cast<int>(text.size());
  const auto convert = [&](wchar_t* to, int room) {
    return MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, text.data(), size, to, room);
  };
  std::wstring wide(static_cast<std::size_t>(convert(nullptr, 0)), L'\0');
  convert(wide.data(), static_cast<int>(wide.size()));
  return wide;
}

}  // namespace ip2p
