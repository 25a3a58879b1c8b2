#pragma once

// Shared by the two implementations of file.h, file_posix.cc and file_windows.cc.

#include <string>

namespace ip2p::file_parts {

/// The message for a system error number: errno, on Windows GetLastError().
std::string reason(int error);

/// The code of lib/core/errors.ts for a system error number.
const char* error_code(int error);

/// Throws Error with the path before the message.
[[noreturn]] void fail_at(const std::string& path, const std::string& message, int error);
[[noreturn]] void refuse_folder(const std::string& path);
[[noreturn]] void refuse_irregular(const std::string& path);

/// Throws ERR_INVALID_ARGUMENT for a path that contains NUL, where the system would cut it off.
void refuse_nul(const std::string& path);

/// Independent of the target's name, which may already be as long as the file system allows.
std::string temporary_name();

}  // namespace ip2p::file_parts
