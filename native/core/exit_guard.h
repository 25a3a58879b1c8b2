#pragma once

#include <optional>

namespace ip2p {

/// Keeps running jobs from crashing the process at exit. `process.exit()` runs no cleanup hooks, only exit
/// handlers, libtorch's destructors among them; a job still computing then would crash with a signal.
class ExitGuard {
 public:
  /// Adds the handler; the latest one added runs first, and libtorch adds more on first use of its features.
  /// So this is called before the first worker starts, and again when JavaScript learns that the process
  /// ends.
  static void install();

  /// Called when JavaScript learns that the process ends, with the exit status if known.
  static void process_ends(std::optional<int> status);

  /// Scope of every job. Once the process is ending the constructor does not return, so no further job
  /// begins.
  class Running {
   public:
    Running();
    ~Running();
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;
  };
};

}  // namespace ip2p
