#include "core/job_queue.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <utility>

#include "core/cpu_allocator.h"
#include "core/exit_guard.h"

#if defined(__linux__)
#include <sched.h>
#include <sys/resource.h>
#elif defined(_WIN32)
#include <windows.h>

#include <vector>
#endif

namespace ip2p {
namespace {

#if defined(__linux__)
// "0-1" or "0,2": the first number names the physical core that a hardware thread belongs to.
std::string read_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

int cgroup_cpu_limit() {
  const std::string limit = read_line("/sys/fs/cgroup/cpu.max");  // "max 100000" or "150000 100000"
  const auto space = limit.find(' ');
  if (space == std::string::npos || limit.rfind("max", 0) == 0) return 0;
  try {
    const double quota = std::stod(limit.substr(0, space));
    const double period = std::stod(limit.substr(space + 1));
    return period > 0 ? std::max(1, static_cast<int>(quota / period + 0.999)) : 0;
  } catch (const std::exception&) {
    return 0;
  }
}
#elif defined(_WIN32)
// Processors that this process may use; 0 if Windows does not report them.
int physical_core_count() {
  DWORD_PTR allowed = 0, present = 0;
  DWORD size = 0;
  GetLogicalProcessorInformation(nullptr, &size);
  std::vector<SYSTEM_LOGICAL_PROCESSOR_INFORMATION> entries(size /
                                                            sizeof(SYSTEM_LOGICAL_PROCESSOR_INFORMATION));
  if (!GetProcessAffinityMask(GetCurrentProcess(), &allowed, &present) ||
      !GetLogicalProcessorInformation(entries.data(), &size))
    return 0;
  return static_cast<int>(std::count_if(entries.begin(), entries.end(), [&](const auto& entry) {
    return entry.Relationship == RelationProcessorCore && (entry.ProcessorMask & allowed) != 0;
  }));
}

// Keeps the addon loaded: Node unloads it with its last environment, but the queues' threads go on. On Linux
// a linker flag does this.
void keep_library_loaded() {
  HMODULE library;
  GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_PIN | GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS,
                     reinterpret_cast<LPCWSTR>(&keep_library_loaded), &library);
}
#endif

}  // namespace

int default_thread_count() {
  // The standard OpenMP variable applies here too.
  if (const char* wanted = std::getenv("OMP_NUM_THREADS")) {
    const int count = std::atoi(wanted);
    if (count >= 1) return count;
  }
  int count = std::max(1u, std::thread::hardware_concurrency());
#if defined(__linux__)
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0) {
    std::set<std::string> cores;
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (!CPU_ISSET(cpu, &allowed)) continue;
      const std::string siblings =
          read_line("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list");
      cores.insert(siblings.empty() ? "cpu" + std::to_string(cpu) : siblings);
    }
    if (!cores.empty()) count = static_cast<int>(cores.size());
  }
  if (const int limit = cgroup_cpu_limit()) count = std::min(count, limit);
#elif defined(_WIN32)
  if (const int cores = physical_core_count()) count = cores;
#endif
  return count;
}

void raise_compute_niceness([[maybe_unused]] int least) {
#if defined(__linux__)
  // On Linux a thread has its own niceness, and 0 means the calling one. Each thread of the team takes one
  // turn. More of it needs no privilege, so nothing can fail.
  at::parallel_for(0, at::get_num_threads(), 1, [&](int64_t, int64_t) {
    if (getpriority(PRIO_PROCESS, 0) < least) setpriority(PRIO_PROCESS, 0, least);
  });
#endif
}

JobQueue::JobQueue(std::function<void()> on_start) : on_start_(std::move(on_start)) {
#if defined(_WIN32)
  keep_library_loaded();
#endif
  ExitGuard::install();
  CpuAllocator::install();
  // Detached on purpose: at process exit the thread is asleep (every environment drains its jobs before it
  // goes), and joining it from a static destructor would race libtorch's own.
  std::thread([this] { work(); }).detach();
}

void JobQueue::post(Job job) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  wake_.notify_one();
}

void JobQueue::work() {
  on_start_();
  for (;;) {
    Job job;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [this] { return !jobs_.empty(); });
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    const ExitGuard::Running running;
    job();
    job = nullptr;
  }
}

JobQueue& JobQueue::of(c10::Device device) {
  static std::mutex mutex;
  // Leaked, like the threads that use it.
  static auto* queues = new std::map<c10::Device, JobQueue*, bool (*)(c10::Device, c10::Device)>(
      [](c10::Device a, c10::Device b) {
        return std::pair(a.type(), a.index()) < std::pair(b.type(), b.index());
      });
  const c10::Device key = device.is_cpu() ? c10::Device(c10::kCPU) : device;
  const std::lock_guard<std::mutex> lock(mutex);
  auto& queue = (*queues)[key];
  if (!queue) {
    queue = new JobQueue([key] {
      at::init_num_threads();
      at::set_num_threads(default_thread_count());
      c10::GradMode::set_enabled(false);
      if (!key.is_cuda()) return;
      try {
        at::globalContext().lazyInitDevice(c10::kCUDA);
      } catch (const std::exception&) {
        // The first job that needs the device meets the same error and reports it.
      }
    });
  }
  return *queue;
}

JobQueue& JobQueue::io() {
  static auto* queue = new JobQueue([] {});
  return *queue;
}

JobQueue& JobQueue::waits() {
  static auto* queue = new JobQueue([] {});
  return *queue;
}

JobQueue& JobQueue::heartbeats() {
  static auto* queue = new JobQueue([] {});
  return *queue;
}

JobQueue& JobQueue::releases() {
  static auto* queue = new JobQueue([] {});
  return *queue;
}

}  // namespace ip2p
