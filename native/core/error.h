#pragma once

#include <exception>
#include <stdexcept>
#include <string>
#include <utility>

namespace ip2p {

/// An error with one of the stable codes of lib/core/errors.ts; `what()` is one line for people.
class Error : public std::runtime_error {
 public:
  Error(std::string code, const std::string& message) : std::runtime_error(message), code_(std::move(code)) {}
  const std::string& code() const { return code_; }

 private:
  std::string code_;
};

struct ErrorReport {
  std::string code;
  std::string message;
};

/// Maps any exception to a code and one line: libtorch's C++ stack dumps are cut, a failed allocation on any
/// device becomes ERR_OUT_OF_MEMORY.
ErrorReport describe_exception(const std::exception_ptr& error) noexcept;

}  // namespace ip2p
