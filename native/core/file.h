#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

namespace ip2p {

/// Owns a file descriptor.
class FileDescriptor {
 public:
  explicit FileDescriptor(int fd = -1) : fd_(fd) {}
  ~FileDescriptor() { reset(); }
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept;
  int get() const { return fd_; }
  /// Closes now. False, with errno set, where the system reports a write that failed late.
  bool reset();

 private:
  int fd_;
};

/// A regular file, open for reading, of fixed size, mapped into memory. Names and errors are those of one
/// path: every member throws Error with a code of lib/errors.ts and a message that starts with the path.
/// Opening anything but a regular file (a pipe, a device, a folder) fails at once and never blocks.
class MappedFile {
 public:
  /// ERR_FILE_NOT_FOUND, ERR_IO (no permission, not a regular file, …) or ERR_OUT_OF_MEMORY (no address
  /// space).
  static MappedFile open(const std::string& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&&) = delete;

  const std::string& path() const { return path_; }
  std::uint64_t size() const { return size_; }

  /// The whole file, mapped privately for reading. Costs nothing until touched, but when another process
  /// shortens the file meanwhile, touching what is gone kills this one: for files that nobody else can be
  /// writing.
  std::span<const std::byte> bytes() const { return {data_, static_cast<std::size_t>(size_)}; }

  /// Copies `out.size()` bytes from `offset` without the mapping, so that a file that shrinks is an error
  /// (ERR_IO) and nothing worse. As fast as copying from the mapping, or faster.
  void read_at(std::uint64_t offset, std::span<std::byte> out) const;

 private:
  MappedFile(std::string path, FileDescriptor fd, std::uint64_t size, const std::byte* data);

  std::string path_;
  FileDescriptor fd_;
  std::uint64_t size_;
  const std::byte* data_;
};

/// Writes a file so that its path always holds either the old content or all of the new: into a temporary
/// file of the same folder, which commit() syncs and renames. Without commit() the temporary file is removed.
/// Errors are Error with a message that starts with the path: ERR_FILE_NOT_FOUND (no such folder) or ERR_IO
/// (no space, no permission, over a quota or a file size limit, …).
class AtomicFile {
 public:
  explicit AtomicFile(std::string path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  /// Syncs the file, renames it over the path and syncs the folder. To be called once, last.
  void commit();

 private:
  [[noreturn]] void fail(const char* what, int error) const;

  std::string path_;
  std::string folder_;
  std::string temporary_;  // empty once there is none to remove
  FileDescriptor fd_;
};

}  // namespace ip2p
