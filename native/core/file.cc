#include "core/file.h"

#include <random>
#include <utility>

#include "core/error.h"
#include "core/file_parts.h"

namespace ip2p {
namespace file_parts {

void fail_at(const std::string& path, const std::string& message, int error) {
  throw Error(error_code(error), path + ": " + message);
}

void refuse_folder(const std::string& path) {
  throw Error("ERR_IO", path + ": is a folder, not a file");
}

void refuse_irregular(const std::string& path) {
  throw Error("ERR_IO", path + ": is not a regular file");
}

void refuse_nul(const std::string& path) {
  if (path.find('\0') != std::string::npos)
    throw Error("ERR_INVALID_ARGUMENT", "a path holds a NUL character");
}

std::string temporary_name() {
  std::random_device random;
  constexpr char kDigits[] = "0123456789abcdefghijklmnopqrstuv";
  std::string name = ".ip2p-";
  for (int word = 0; word < 2; ++word)
    for (unsigned bits = random(), i = 0; i < 6; ++i, bits >>= 5) name += kDigits[bits & 31];
  return name + ".tmp";
}

}  // namespace file_parts

FileHandle& FileHandle::operator=(FileHandle&& other) noexcept {
  if (this != &other) {
    reset();
    file_ = std::exchange(other.file_, NONE);
  }
  return *this;
}

InputFile::InputFile(std::string path, FileHandle file, std::uint64_t size)
    : path_(std::move(path)), file_(std::move(file)), size_(size) {}

void AtomicFile::fail(const char* what, int error) const {
  file_parts::fail_at(path_, std::string(what) + ": " + file_parts::reason(error), error);
}

}  // namespace ip2p
