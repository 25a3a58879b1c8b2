#pragma once

// What the two halves of file.h, file_posix.cc and file_windows.cc, have in common.

#include <string>

namespace ip2p::file_parts {

/// In words, for an error number of the system: errno, on Windows GetLastError().
std::string reason(int error);

/// The code of lib/errors.ts for such a number.
const char* error_code(int error);

/// Throws Error with the path before the message.
[[noreturn]] void fail_at(const std::string& path, const std::string& message, int error);
[[noreturn]] void refuse_folder(const std::string& path);
[[noreturn]] void refuse_irregular(const std::string& path);

/// Throws ERR_INVALID_ARGUMENT for a path that the system would take for a shorter one.
void refuse_nul(const std::string& path);

/// A name of its own, since the target's name may already be as long as the file system allows.
std::string temporary_name();

}  // namespace ip2p::file_parts
