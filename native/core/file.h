#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

namespace ip2p {

/// Owns an open file: a descriptor, on Windows a handle.
class FileHandle {
 public:
#if defined(_WIN32)
  using Native = std::intptr_t;
#else
  using Native = int;
#endif
  static constexpr Native NONE = -1;

  explicit FileHandle(Native file = NONE) : file_(file) {}
  ~FileHandle() {
    reset();
  }
  FileHandle(FileHandle&& other) noexcept : file_(std::exchange(other.file_, NONE)) {}
  FileHandle& operator=(FileHandle&& other) noexcept;
  Native get() const {
    return file_;
  }
  /// Closes now. False, with the system's error set, where it reports a write that failed late.
  bool reset();

 private:
  Native file_;
};

/// A regular file, open for reading, of fixed size. Names and errors are those of one path, which is UTF-8:
/// every member throws Error with a code of lib/core/errors.ts and a message that starts with the path.
/// Opening anything but a regular file (a pipe, a device, a folder) fails at once and never blocks.
class InputFile {
 public:
  /// ERR_FILE_NOT_FOUND or ERR_IO (no permission, not a regular file, …).
  static InputFile open(const std::string& path);

  const std::string& path() const { return path_; }
  std::uint64_t size() const { return size_; }

  /// Copies `out.size()` bytes from `offset`. From any number of threads at once. Past the end, as when
  /// another process has shortened the file meanwhile, it is ERR_IO. (A mapping would be no faster, and
  /// reading a truncated part of it would crash the process.)
  void read_at(std::uint64_t offset, std::span<std::byte> out) const;

 private:
  InputFile(std::string path, FileHandle file, std::uint64_t size);

  std::string path_;
  FileHandle file_;
  std::uint64_t size_;
};

/// Writes a file so that its path always holds either the old content or all of the new: into a temporary
/// file of the same folder, which commit() syncs and renames. Without commit() the temporary file is removed.
/// Errors are Error with a message that starts with the path: ERR_FILE_NOT_FOUND (no such folder) or ERR_IO
/// (no space, no permission, over a quota or a file size limit, on Windows open elsewhere, …).
class AtomicFile {
 public:
  explicit AtomicFile(std::string path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  /// Syncs the file, renames it over the path and syncs the folder. Call once, last.
  void commit();

 private:
  [[noreturn]] void fail(const char* what, int error) const;

  std::string path_;
  std::string temporary_;  // empty once it has been renamed or removed
  FileHandle file_;
};

}  // namespace ip2p
