#include "core/exit_guard.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <thread>

#if defined(__linux__)
#include <unistd.h>
#elif defined(_WIN32)
#include <windows.h>
#endif

namespace ip2p {
namespace {

struct State {
  std::mutex mutex;
  int running = 0;
  bool ending = false;
  std::optional<int> status;
};

// Leaked: it is used after static destructors have begun.
State& state() {
  static auto* instance = new State;
  return *instance;
}

#if defined(__linux__)
void on_process_exit(int status, void*) {
  State& shared = state();
  bool busy;
  {
    const std::lock_guard<std::mutex> lock(shared.mutex);
    shared.ending = true;
    busy = shared.running > 0;
  }
  if (!busy) return;
  // A job cannot be stopped from outside and may take seconds more; nothing needs its results any more.
  std::fflush(nullptr);
  _exit(status);
}
#elif defined(_WIN32)
// Handlers of a library run when Windows has already ended all threads but this one, wherever they were: a
// lock that one of them held stays locked, and libtorch's destructors, which come next, must not meet it.
void on_process_exit() {
  State& shared = state();
  const std::unique_lock<std::mutex> lock(shared.mutex, std::try_to_lock);
  const bool busy = !lock || shared.running > 0;
  if (busy && shared.status) TerminateProcess(GetCurrentProcess(), static_cast<UINT>(*shared.status));
}
#else
void on_process_exit() {
  State& shared = state();
  bool busy;
  {
    const std::lock_guard<std::mutex> lock(shared.mutex);
    shared.ending = true;
    busy = shared.running > 0;
  }
  // Without the exit status the only option is to wait for the job.
  while (busy) {
    std::this_thread::yield();
    const std::lock_guard<std::mutex> lock(shared.mutex);
    busy = shared.running > 0;
  }
}
#endif

}  // namespace

void ExitGuard::install() {
#if defined(__linux__)
  on_exit(on_process_exit, nullptr);
#else
  std::atexit(on_process_exit);
#endif
}

void ExitGuard::process_ends(std::optional<int> status) {
  {
    const std::lock_guard<std::mutex> lock(state().mutex);
    state().status = status;
  }
  install();
}

ExitGuard::Running::Running() {
  State& shared = state();
  {
    const std::lock_guard<std::mutex> lock(shared.mutex);
    if (!shared.ending) {
      ++shared.running;
      return;
    }
  }
  for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
}

ExitGuard::Running::~Running() {
  State& shared = state();
  const std::lock_guard<std::mutex> lock(shared.mutex);
  --shared.running;
}

}  // namespace ip2p
