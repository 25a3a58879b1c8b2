#include <algorithm>

#include "core/file.h"
#include "core/file_parts.h"
#include "core/wide_text.h"

namespace ip2p {

using file_parts::fail_at, file_parts::reason;

namespace {

// Sizes of one call are 32 bits, and network drives reject large requests.
constexpr std::size_t MAX_TRANSFER = std::size_t{64} << 20;

/// A path that is too long for the old limit of 260 characters is made absolute and gets the prefix that
/// lifts it.
std::wstring wide_path(const std::string& path) {
  std::wstring wide = wide_text(path);
  const DWORD needed = GetFullPathNameW(wide.c_str(), 0, nullptr, nullptr);
  if (needed <= MAX_PATH || wide.starts_with(LR"(\\?\)") || wide.starts_with(LR"(\\.\)")) return wide;
  std::wstring full(needed, L'\0');
  full.resize(GetFullPathNameW(wide.c_str(), needed, full.data(), nullptr));
  return full.starts_with(LR"(\\)") ? LR"(\\?\UNC)" + full.substr(1) : LR"(\\?\)" + full;
}

HANDLE native(const FileHandle& file) {
  return reinterpret_cast<HANDLE>(file.get());
}

int last_error() {
  return static_cast<int>(GetLastError());
}

/// Others may read, write, rename and delete the file meanwhile, as on other systems. A pipe server may not
/// impersonate this process.
FileHandle open_file(const std::string& path, DWORD access, DWORD disposition, DWORD flags) {
  return FileHandle(reinterpret_cast<FileHandle::Native>(
      CreateFileW(wide_path(path).c_str(), access, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
                  nullptr, disposition, flags | SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION, nullptr)));
}

/// Without FILE_FLAG_BACKUP_SEMANTICS a folder could not be told from a file without permission.
FileHandle open_anything(const std::string& path, DWORD access) {
  return open_file(path, access, OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS);
}

void require_regular(const std::string& path, const FileHandle& file) {
  if (GetFileType(native(file)) != FILE_TYPE_DISK) file_parts::refuse_irregular(path);
  BY_HANDLE_FILE_INFORMATION info;
  if (!GetFileInformationByHandle(native(file), &info)) {
    const int error = last_error();
    fail_at(path, reason(error), error);
  }
  if (info.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY) file_parts::refuse_folder(path);
}

bool is_absent(int error) {
  switch (error) {
    case ERROR_FILE_NOT_FOUND:
    case ERROR_PATH_NOT_FOUND:
    case ERROR_BAD_NETPATH:
    case ERROR_BAD_NET_NAME:
    case ERROR_INVALID_DRIVE:
      return true;
    default:
      return false;
  }
}

bool is_no_name(int error) {
  switch (error) {
    case ERROR_INVALID_NAME:
    case ERROR_BAD_PATHNAME:
    case ERROR_DIRECTORY:
      return true;
    default:
      return false;
  }
}

}  // namespace

namespace file_parts {

std::string reason(int error) {
  if (is_absent(error)) return "no such file or folder";
  if (is_no_name(error)) return "not a valid file name on Windows";
  switch (error) {
    case ERROR_ACCESS_DENIED:
    case ERROR_PRIVILEGE_NOT_HELD:
      return "permission denied";
    case ERROR_SHARING_VIOLATION:
    case ERROR_LOCK_VIOLATION:
    case ERROR_USER_MAPPED_FILE:
      return "in use by another program";
    case ERROR_DISK_FULL:
    case ERROR_HANDLE_DISK_FULL:
      return "no space left on the device";
    case ERROR_FILE_TOO_LARGE:
      return "file size limit exceeded";
    case ERROR_WRITE_PROTECT:
      return "the file system is read-only";
    case ERROR_TOO_MANY_OPEN_FILES:
      return "too many open files";
    default:
      // Windows' own messages are in the user's language and code page.
      return "error " + std::to_string(error) + " of Windows";
  }
}

const char* error_code(int error) {
  if (is_absent(error) || is_no_name(error)) return "ERR_FILE_NOT_FOUND";
  switch (error) {
    case ERROR_NOT_ENOUGH_MEMORY:
    case ERROR_OUTOFMEMORY:
    case ERROR_COMMITMENT_LIMIT:
      return "ERR_OUT_OF_MEMORY";
    default:
      return "ERR_IO";
  }
}

}  // namespace file_parts

bool FileHandle::reset() {
  const Native file = std::exchange(file_, NONE);
  return file == NONE || CloseHandle(reinterpret_cast<HANDLE>(file));
}

InputFile InputFile::open(const std::string& path) {
  file_parts::refuse_nul(path);
  FileHandle file = open_anything(path, GENERIC_READ);
  if (file.get() == FileHandle::NONE) {
    const int error = last_error();
    fail_at(path, reason(error), error);
  }
  require_regular(path, file);
  LARGE_INTEGER size;
  if (!GetFileSizeEx(native(file), &size)) {
    const int error = last_error();
    fail_at(path, reason(error), error);
  }
  return {path, std::move(file), static_cast<std::uint64_t>(size.QuadPart)};
}

void InputFile::read_at(std::uint64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    OVERLAPPED from{};
    from.Offset = static_cast<DWORD>(offset);
    from.OffsetHigh = static_cast<DWORD>(offset >> 32);
    DWORD count = 0;
    const auto wanted = static_cast<DWORD>(std::min(out.size(), MAX_TRANSFER));
    if (!ReadFile(native(file_), out.data(), wanted, &count, &from)) {
      const int error = last_error();
      if (error != ERROR_HANDLE_EOF) fail_at(path_, "cannot be read: " + reason(error), error);
      count = 0;
    }
    if (count == 0) fail_at(path_, "became shorter while it was being read", ERROR_HANDLE_EOF);
    out = out.subspan(count);
    offset += count;
  }
}

AtomicFile::AtomicFile(std::string path) : path_(std::move(path)) {
  file_parts::refuse_nul(path_);
  if (path_.empty() || path_.back() == '/' || path_.back() == '\\') file_parts::refuse_folder(path_);
  // The rename would not replace a device.
  if (const FileHandle old = open_anything(path_, FILE_READ_ATTRIBUTES); old.get() != FileHandle::NONE)
    require_regular(path_, old);
  // The part before the name, including the separator: "C:name" lies in that drive's current folder.
  const auto separator = path_.find_last_of("/\\");
  const std::string before = separator != std::string::npos        ? path_.substr(0, separator + 1)
                             : path_.size() > 1 && path_[1] == ':' ? path_.substr(0, 2)
                                                                   : "";
  for (;;) {
    std::string name = before + file_parts::temporary_name();
    file_ = open_file(name, GENERIC_WRITE, CREATE_NEW, FILE_ATTRIBUTE_NORMAL);
    if (file_.get() != FileHandle::NONE) {
      temporary_ = std::move(name);
      return;
    }
    if (GetLastError() != ERROR_FILE_EXISTS) fail("cannot be written", last_error());
  }
}

AtomicFile::~AtomicFile() {
  file_.reset();
  if (!temporary_.empty()) DeleteFileW(wide_path(temporary_).c_str());
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    DWORD count = 0;
    const auto wanted = static_cast<DWORD>(std::min(bytes.size(), MAX_TRANSFER));
    if (!WriteFile(native(file_), bytes.data(), wanted, &count, nullptr))
      fail("cannot be written", last_error());
    if (count == 0) fail("cannot be written", ERROR_DISK_FULL);
    bytes = bytes.subspan(count);
  }
}

void AtomicFile::commit() {
  if (!FlushFileBuffers(native(file_))) fail("cannot be written", last_error());
  if (!file_.reset()) fail("cannot be written", last_error());
  // A folder cannot be synced; writing through is what makes the rename last.
  if (!MoveFileExW(wide_path(temporary_).c_str(), wide_path(path_).c_str(),
                   MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH)) {
    const int error = last_error();
    // Windows' error for a file that is open elsewhere.
    if (error == ERROR_ACCESS_DENIED)
      fail_at(path_, "cannot be replaced: open elsewhere, or permission denied", error);
    fail("cannot be replaced", error);
  }
  temporary_.clear();
}

}  // namespace ip2p
