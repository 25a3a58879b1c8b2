#pragma once

#include <optional>

namespace ip2p {

/// Keeps jobs and the end of the process apart. `process.exit()` runs no cleanup hook, only exit handlers,
/// and among those libtorch's destructors: a job that still computes then would take the process down with a
/// signal.
class ExitGuard {
 public:
  /// Adds the handler; the latest one added runs first, and libtorch goes on adding its own as it makes
  /// things when they are first needed. So this is called before the first worker starts, and once more when
  /// JavaScript hears that the process ends.
  static void install();

  /// JavaScript has heard that the process ends, and with which status, if it could tell.
  static void process_ends(std::optional<int> status);

  /// Around every job. Once the process is ending no job begins any more: the constructor does not return.
  class Running {
   public:
    Running();
    ~Running();
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;
  };
};

}  // namespace ip2p
