#include "core/error.h"

#include <c10/util/Exception.h>

#include <new>

#include "core/safetensors.h"

namespace ip2p {
namespace {

// libtorch separates its message from the stack dump by a line that starts so; the dump is of no use to
// users.
std::string first_line(const std::string& text) {
  const auto end = text.find('\n');
  return end == std::string::npos ? text : text.substr(0, end);
}

bool contains(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

/// Strips the prefix that libtorch adds to its message: "[enforce fail at alloc_cpu.cpp:127] err == 0. ".
std::string without_source_location(const std::string& line) {
  if (line.rfind("[enforce fail at ", 0) != 0) return line;
  const auto end = line.find(". ", line.find(']'));
  return end == std::string::npos ? line : line.substr(end + 2);
}

ErrorReport from_libtorch(const std::string& full) {
  const std::string line = without_source_location(first_line(full));
  // The CPU allocator reports exhaustion as a plain c10::Error.
  if (contains(line, "can't allocate memory") || contains(line, "not enough memory")) {
    static const std::string before = "you tried to allocate ";
    const auto at = line.find(before);
    if (at == std::string::npos) return {"ERR_OUT_OF_MEMORY", line};
    const auto end = line.find(" bytes", at);
    return {"ERR_OUT_OF_MEMORY",
            "out of memory: " + line.substr(at + before.size(), end - at - before.size()) +
                " bytes were asked for"};
  }
  if (contains(line, "Storage size calculation overflowed")) return {"ERR_OUT_OF_MEMORY", line};
  // CUDA's libraries allocate memory without libtorch's allocator.
  for (const char* exhausted :
       {"CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED",
        "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"})
    if (contains(line, exhausted)) return {"ERR_OUT_OF_MEMORY", line};
  for (const char* absent : {"Found no NVIDIA driver", "The NVIDIA driver on your system is too old",
                             "CUDA driver version is insufficient", "no CUDA-capable device is detected"})
    if (contains(line, absent)) return {"ERR_CUDA_UNAVAILABLE", line};
  return {"ERR_LIBTORCH", line};
}

}  // namespace

ErrorReport describe_exception(const std::exception_ptr& error) noexcept {
  try {
    try {
      std::rethrow_exception(error);
    } catch (const Error& e) {
      return {e.code(), e.what()};
    } catch (const SafetensorsError& e) {
      return {"ERR_SAFETENSORS", e.what()};
    } catch (const c10::OutOfMemoryError& e) {
      return {"ERR_OUT_OF_MEMORY", first_line(e.what_without_backtrace())};
    } catch (const c10::Error& e) {
      return from_libtorch(e.what_without_backtrace());
    } catch (const std::bad_alloc&) {
      return {"ERR_OUT_OF_MEMORY", "out of memory"};
    } catch (const std::length_error& e) {
      return {"ERR_OUT_OF_MEMORY", e.what()};
    } catch (const std::invalid_argument& e) {
      return {"ERR_INVALID_ARGUMENT", first_line(e.what())};
    } catch (const std::exception& e) {
      // A number that the element type cannot hold.
      if (contains(e.what(), "cannot be converted to type"))
        return {"ERR_INVALID_ARGUMENT", first_line(e.what())};
      return {"ERR_INTERNAL", first_line(e.what())};
    } catch (...) {
      return {"ERR_INTERNAL", "an unknown native error"};
    }
  } catch (...) {
    // Building the message failed too: out of memory.
    return {};
  }
}

}  // namespace ip2p
