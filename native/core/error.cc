#include "core/error.h"

#include <c10/util/Exception.h>

#include <new>

#include "core/safetensors.h"

namespace ip2p {
namespace {

// libtorch separates its message from the stack dump by a line that starts so; the dump tells a user nothing.
std::string first_line(const std::string& text) {
  const auto end = text.find('\n');
  return end == std::string::npos ? text : text.substr(0, end);
}

bool contains(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

ErrorReport from_libtorch(const std::string& full) {
  const std::string line = first_line(full);
  // The CPU allocator reports exhaustion as a plain c10::Error.
  if (contains(line, "can't allocate memory") || contains(line, "not enough memory"))
    return {"ERR_OUT_OF_MEMORY", line};
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
      return {"ERR_INTERNAL", first_line(e.what())};
    } catch (...) {
      return {"ERR_INTERNAL", "an unknown native error"};
    }
  } catch (...) {
    // Even building the message failed, which leaves one explanation.
    return {};
  }
}

}  // namespace ip2p
