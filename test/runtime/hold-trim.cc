// Preloaded by idle-trim.addon.test.ts: holds the addon while it returns its first unused pages to the
// system.
//
// The folder in HOLD_TRIM then gets a file `held`; the addon goes on when there is a file `release` too.

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>

namespace {

bool is_called_by_addon(void* caller) {
  Dl_info info;
  return dladdr(caller, &info) != 0 && info.dli_fname && std::strstr(info.dli_fname, "ip2p.node");
}

void hold() {
  const char* folder = std::getenv("HOLD_TRIM");
  if (!folder) return;
  close(open((std::string(folder) + "/held").c_str(), O_CREAT | O_WRONLY, 0600));
  const std::string release = std::string(folder) + "/release";
  while (access(release.c_str(), F_OK) != 0) usleep(10'000);
}

}  // namespace

extern "C" int madvise(void* start, size_t length, int advice) noexcept {
  if (advice == MADV_DONTNEED && is_called_by_addon(__builtin_return_address(0))) {
    static bool held = false;
    static std::mutex mutex;
    const std::lock_guard<std::mutex> lock(mutex);
    if (!held) hold();
    held = true;
  }
  return static_cast<int>(syscall(SYS_madvise, start, length, advice));
}
