#include "core/file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <random>
#include <system_error>

#include "core/error.h"

namespace ip2p {
namespace {

// The most that one read or write call transfers on Linux; macOS refuses more than 2^31-1.
constexpr std::size_t kMaxTransfer = std::size_t{1} << 30;

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

[[noreturn]] void fail_at(const std::string& path, const std::string& message, int error) {
  const char* code = error == ENOENT || error == ENOTDIR ? "ERR_FILE_NOT_FOUND"
                     : error == ENOMEM                   ? "ERR_OUT_OF_MEMORY"
                                                         : "ERR_IO";
  throw Error(code, path + ": " + message);
}

template <typename Call>
auto retry(Call call) {
  auto result = call();
  while (result == -1 && errno == EINTR) result = call();
  return result;
}

/// A write beyond RLIMIT_FSIZE raises a signal that ends the process, before it fails with EFBIG. It is sent
/// to the writing thread, so holding it back there and taking it off afterwards leaves just the error.
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

// A name of its own, since the target's name may already be as long as the file system allows.
std::string temporary_name() {
  std::random_device random;
  constexpr char kDigits[] = "0123456789abcdefghijklmnopqrstuv";
  std::string name = ".ip2p-";
  for (int word = 0; word < 2; ++word)
    for (unsigned bits = random(), i = 0; i < 6; ++i, bits >>= 5) name += kDigits[bits & 31];
  return name + ".tmp";
}

}  // namespace

FileDescriptor& FileDescriptor::operator=(FileDescriptor&& other) noexcept {
  if (this != &other) {
    reset();
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

bool FileDescriptor::reset() {
  const int fd = std::exchange(fd_, -1);
  // After EINTR the descriptor is gone on Linux, so it is not tried again.
  return fd == -1 || close(fd) == 0 || errno == EINTR;
}

MappedFile MappedFile::open(const std::string& path) {
  if (path.find('\0') != std::string::npos)
    throw Error("ERR_INVALID_ARGUMENT", "a path holds a NUL character");
  // Non-blocking, or opening a pipe would wait for somebody to write into it.
  FileDescriptor fd(
      retry([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); }));
  if (fd.get() == -1) fail_at(path, reason(errno), errno);
  struct stat info;
  if (fstat(fd.get(), &info) != 0) fail_at(path, reason(errno), errno);
  if (S_ISDIR(info.st_mode)) fail_at(path, "is a folder, not a file", EISDIR);
  if (!S_ISREG(info.st_mode)) fail_at(path, "is not a regular file", EINVAL);
  const auto size = static_cast<std::uint64_t>(info.st_size);
  const std::byte* data = nullptr;
  if (size > 0) {
    if (size > SIZE_MAX) fail_at(path, "too large for this machine's address space", ENOMEM);
    void* mapping = mmap(nullptr, static_cast<std::size_t>(size), PROT_READ, MAP_PRIVATE, fd.get(), 0);
    if (mapping == MAP_FAILED) fail_at(path, "cannot be mapped into memory: " + reason(errno), errno);
    data = static_cast<const std::byte*>(mapping);
  }
  return {path, std::move(fd), size, data};
}

MappedFile::MappedFile(std::string path, FileDescriptor fd, std::uint64_t size, const std::byte* data)
    : path_(std::move(path)), fd_(std::move(fd)), size_(size), data_(data) {}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::move(other.fd_)),
      size_(std::exchange(other.size_, 0)),
      data_(std::exchange(other.data_, nullptr)) {}

MappedFile::~MappedFile() {
  if (data_) munmap(const_cast<std::byte*>(data_), static_cast<std::size_t>(size_));
}

void MappedFile::read_at(std::uint64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const std::size_t wanted = std::min(out.size(), kMaxTransfer);
    const ssize_t count =
        retry([&] { return pread(fd_.get(), out.data(), wanted, static_cast<off_t>(offset)); });
    if (count == -1) fail_at(path_, "cannot be read: " + reason(errno), errno);
    if (count == 0) fail_at(path_, "became shorter while it was being read", EIO);
    out = out.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
}

void AtomicFile::fail(const char* what, int error) const {
  fail_at(path_, std::string(what) + ": " + reason(error), error);
}

AtomicFile::AtomicFile(std::string path) : path_(std::move(path)) {
  if (path_.find('\0') != std::string::npos)
    throw Error("ERR_INVALID_ARGUMENT", "a path holds a NUL character");
  const auto slash = path_.rfind('/');
  folder_ = slash == std::string::npos ? "." : slash == 0 ? "/" : path_.substr(0, slash);
  struct stat info;
  const bool exists = stat(path_.c_str(), &info) == 0;
  if (path_.empty() || path_.back() == '/' || (exists && S_ISDIR(info.st_mode)))
    fail_at(path_, "is a folder, not a file", EISDIR);
  // The rename would replace a device by a file.
  if (exists && !S_ISREG(info.st_mode)) fail_at(path_, "is not a regular file", EINVAL);
  for (;;) {
    std::string name = folder_ + "/" + temporary_name();
    fd_ = FileDescriptor(retry(
        [&] { return ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666); }));
    if (fd_.get() != -1) {
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
    const ssize_t count = retry([&] { return ::write(fd_.get(), bytes.data(), wanted); });
    if (count <= 0) fail("cannot be written", count == 0 ? ENOSPC : errno);
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
}

void AtomicFile::commit() {
  if (retry([&] { return fsync(fd_.get()); }) != 0) fail("cannot be written", errno);
  if (!fd_.reset()) fail("cannot be written", errno);
  if (rename(temporary_.c_str(), path_.c_str()) != 0) fail("cannot be replaced", errno);
  temporary_.clear();
  // Without this the rename itself may be lost with the power. Some network file systems have no such
  // operation.
  const FileDescriptor folder(
      retry([&] { return ::open(folder_.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECTORY); }));
  if (folder.get() == -1) {
    if (errno != EACCES) fail("its folder cannot be synced", errno);
  } else if (retry([&] { return fsync(folder.get()); }) != 0 && errno != EINVAL && errno != ENOTSUP) {
    fail("its folder cannot be synced", errno);
  }
}

}  // namespace ip2p
