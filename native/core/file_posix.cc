#include "core/file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "core/file_parts.h"

namespace ip2p {

using file_parts::fail_at, file_parts::reason;

namespace {

// The most that one read or write call transfers on Linux; macOS refuses more than 2^31-1.
constexpr std::size_t kMaxTransfer = std::size_t{1} << 30;

template <typename Call>
auto retry(Call call) {
  auto result = call();
  while (result == -1 && errno == EINTR) result = call();
  return result;
}

/// A write beyond RLIMIT_FSIZE raises a signal that ends the process, before it fails with EFBIG. It is sent
/// to the writing thread, so blocking it there and consuming it afterwards leaves just the error.
class FileSizeSignalBlock {
 public:
  FileSizeSignalBlock() {
    sigemptyset(&signal_);
    sigaddset(&signal_, SIGXFSZ);
    sigset_t pending;
    sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGXFSZ) == 1;
    pthread_sigmask(SIG_BLOCK, &signal_, &previous_);
  }
  ~FileSizeSignalBlock() {
    sigset_t pending;
    sigpending(&pending);
    int taken = 0;
    if (!was_pending_ && sigismember(&pending, SIGXFSZ) == 1) sigwait(&signal_, &taken);
    pthread_sigmask(SIG_SETMASK, &previous_, nullptr);
  }

 private:
  sigset_t signal_;
  sigset_t previous_;
  bool was_pending_;
};

std::string folder_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

namespace file_parts {

std::string reason(int error) {
  switch (error) {
    case ENOENT:
      return "no such file or folder";
    case EACCES:
    case EPERM:
      return "permission denied";
    case ENOSPC:
      return "no space left on the device";
    case EDQUOT:
      return "disk quota exceeded";
    case EFBIG:
      return "file size limit exceeded";
    case EROFS:
      return "the file system is read-only";
    case EMFILE:
    case ENFILE:
      return "too many open files";
    default:
      return std::generic_category().message(error);
  }
}

const char* error_code(int error) {
  return error == ENOENT || error == ENOTDIR ? "ERR_FILE_NOT_FOUND"
         : error == ENOMEM                   ? "ERR_OUT_OF_MEMORY"
                                             : "ERR_IO";
}

}  // namespace file_parts

bool FileHandle::reset() {
  const int fd = std::exchange(file_, NONE);
  // After EINTR the descriptor is gone on Linux, so it is not tried again.
  return fd == NONE || close(fd) == 0 || errno == EINTR;
}

InputFile InputFile::open(const std::string& path) {
  file_parts::refuse_nul(path);
  // Non-blocking, since opening a pipe would otherwise wait for a writer.
  FileHandle fd(retry([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); }));
  if (fd.get() == FileHandle::NONE) fail_at(path, reason(errno), errno);
  struct stat info;
  if (fstat(fd.get(), &info) != 0) fail_at(path, reason(errno), errno);
  if (S_ISDIR(info.st_mode)) file_parts::refuse_folder(path);
  if (!S_ISREG(info.st_mode)) file_parts::refuse_irregular(path);
  return {path, std::move(fd), static_cast<std::uint64_t>(info.st_size)};
}

void InputFile::read_at(std::uint64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const std::size_t wanted = std::min(out.size(), kMaxTransfer);
    const ssize_t count =
        retry([&] { return pread(file_.get(), out.data(), wanted, static_cast<off_t>(offset)); });
    if (count == -1) fail_at(path_, "cannot be read: " + reason(errno), errno);
    if (count == 0) fail_at(path_, "became shorter while it was being read", EIO);
    out = out.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
}

AtomicFile::AtomicFile(std::string path) : path_(std::move(path)) {
  file_parts::refuse_nul(path_);
  struct stat info;
  const bool exists = stat(path_.c_str(), &info) == 0;
  if (path_.empty() || path_.back() == '/' || (exists && S_ISDIR(info.st_mode)))
    file_parts::refuse_folder(path_);
  // The rename would replace a device by a file.
  if (exists && !S_ISREG(info.st_mode)) file_parts::refuse_irregular(path_);
  for (;;) {
    std::string name = folder_of(path_) + "/" + file_parts::temporary_name();
    file_ = FileHandle(retry(
        [&] { return ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666); }));
    if (file_.get() != FileHandle::NONE) {
      temporary_ = std::move(name);
      return;
    }
    if (errno != EEXIST) fail("cannot be written", errno);
  }
}

AtomicFile::~AtomicFile() {
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  const FileSizeSignalBlock no_signal;
  while (!bytes.empty()) {
    const std::size_t wanted = std::min(bytes.size(), kMaxTransfer);
    const ssize_t count = retry([&] { return ::write(file_.get(), bytes.data(), wanted); });
    if (count <= 0) fail("cannot be written", count == 0 ? ENOSPC : errno);
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
}

void AtomicFile::commit() {
  if (retry([&] { return fsync(file_.get()); }) != 0) fail("cannot be written", errno);
  if (!file_.reset()) fail("cannot be written", errno);
  if (rename(temporary_.c_str(), path_.c_str()) != 0) fail("cannot be replaced", errno);
  temporary_.clear();
  // Without this a power failure may undo the rename. Some network file systems do not support it.
  const FileHandle folder(
      retry([&] { return ::open(folder_of(path_).c_str(), O_RDONLY | O_CLOEXEC | O_DIRECTORY); }));
  if (folder.get() == FileHandle::NONE) {
    if (errno != EACCES) fail("its folder cannot be synced", errno);
  } else if (retry([&] { return fsync(folder.get()); }) != 0 && errno != EINVAL && errno != ENOTSUP) {
    fail("its folder cannot be synced", errno);
  }
}

}  // namespace ip2p
