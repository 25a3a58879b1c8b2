#include "core/cpu_allocator.h"

#if defined(__linux__)

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <unordered_map>
#include <utility>

namespace ip2p {
namespace {

constexpr size_t PAGE = 4096;
constexpr size_t HUGE_PAGE = size_t{2} << 20;
constexpr size_t SMALLEST_BLOCK = size_t{64} << 10;
constexpr size_t SMALLEST_REGION = size_t{64} << 20;
// Longer than the usual pause between two steps of a model.
constexpr auto IDLE = std::chrono::seconds(10);

size_t round_up(size_t size, size_t unit) {
  return (size + unit - 1) / unit * unit;
}

/// Mapped regions, cut into blocks on demand (best fit); free neighbours are merged.
class Regions {
 public:
  /// Null if the system has no more memory.
  void* allocate(size_t wanted) {
    const size_t size = round_up(wanted, PAGE);
    const std::lock_guard<std::mutex> lock(mutex_);
    last_allocation_ = std::chrono::steady_clock::now();
    auto best = free_by_size_.lower_bound({size, nullptr});
    if (best == free_by_size_.end()) {
      // Free ranges that are too small would stay resident beside the new region, so they are released first.
      if (in_use_ + size + kept_ > std::max(peak_, in_use_ + size) + allowance()) discard();
      if (!add_region(size)) return nullptr;
      best = free_by_size_.lower_bound({size, nullptr});
    }
    char* const begin = best->second;
    const Free range = take(begin);
    if (range.size > size) put(begin + size, {range.size - size, range.resident});
    blocks_.emplace(begin, size);
    in_use_ += size;
    peak_ = std::max(peak_, in_use_);
    return begin;
  }

  /// False if the memory is not a block of this allocator.
  bool release(void* pointer) {
    auto* begin = static_cast<char*>(pointer);
    if (reinterpret_cast<size_t>(begin) % PAGE != 0) return false;
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto block = blocks_.find(begin);
    if (block == blocks_.end()) return false;
    const size_t size = block->second;
    in_use_ -= size;
    blocks_.erase(block);
    put_joined(begin, {size, true});
    return true;
  }

  /// Releases free memory whenever nothing has been allocated for a while. Does not return.
  [[noreturn]] void trim_when_idle() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      keeping_.wait(lock, [this] { return kept_ > 0; });
      if (is_idle()) {
        trim(lock);
        continue;
      }
      const auto idle_from = last_allocation_ + IDLE;
      lock.unlock();
      std::this_thread::sleep_until(idle_from);
      lock.lock();
    }
  }

  CpuAllocator::Statistics statistics() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return {mapped_, in_use_, kept_};
  }

 private:
  struct Free {
    size_t size;
    bool resident;  // false: its pages were returned to the system
  };

  size_t allowance() const { return peak_ / 16 + SMALLEST_REGION; }

  bool is_idle() const { return std::chrono::steady_clock::now() - last_allocation_ >= IDLE; }

  /// Returning pages takes 0.2 s per gigabyte and must not block allocations: each range is taken off the
  /// free list while its pages are returned without the lock. Ends early when an allocation happens.
  void trim(std::unique_lock<std::mutex>& lock) {
    while (is_idle()) {
      const auto kept =
          std::find_if(free_.begin(), free_.end(), [](auto& entry) { return entry.second.resident; });
      if (kept == free_.end()) {
        unmap_free_regions();
        peak_ = in_use_;
        return;
      }
      char* const begin = kept->first;
      Free range = take(begin);
      lock.unlock();
      madvise(begin, range.size, MADV_DONTNEED);
      lock.lock();
      range.resident = false;
      put_joined(begin, range);
    }
  }

  /// Unmaps regions without a block; their pages were returned already, so this is quick.
  void unmap_free_regions() {
    for (auto region = regions_.begin(); region != regions_.end();) {
      const auto whole = free_.find(region->first);
      if (whole == free_.end() || whole->second.size != region->second) {
        ++region;
        continue;
      }
      take(region->first);
      munmap(region->first, region->second);
      mapped_ -= region->second;
      region = regions_.erase(region);
    }
  }

  /// Merged with the free neighbours in its region; resident if any of them is.
  void put_joined(char* begin, Free range) {
    const auto region = std::prev(regions_.upper_bound(begin));
    const auto join = [&](char* neighbour) {
      const Free other = take(neighbour);
      range.size += other.size;
      range.resident = range.resident || other.resident;
    };
    if (const auto next = free_.find(begin + range.size);
        next != free_.end() && next->first < region->first + region->second)
      join(next->first);
    if (const auto after = free_.lower_bound(begin); after != free_.begin()) {
      const auto before = std::prev(after);
      if (before->first + before->second.size == begin && before->first >= region->first) {
        begin = before->first;
        join(begin);
      }
    }
    put(begin, range);
  }

  bool add_region(size_t size) {
    const size_t length = round_up(std::max(size, SMALLEST_REGION), HUGE_PAGE);
    // Maps a little more and unmaps the excess, to align the start for huge pages. Without MAP_NORESERVE,
    // with which the system would overcommit and kill the process on use.
    void* const mapped =
        mmap(nullptr, length + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) return false;
    auto* const first = static_cast<char*>(mapped);
    auto* const begin = reinterpret_cast<char*>(round_up(reinterpret_cast<size_t>(first), HUGE_PAGE));
    if (begin > first) munmap(first, begin - first);
    if (const size_t rest = first + HUGE_PAGE - begin) munmap(begin + length, rest);
    madvise(begin, length, MADV_HUGEPAGE);
    regions_.emplace(begin, length);
    mapped_ += length;
    put(begin, {length, false});
    return true;
  }

  void put(char* begin, Free range) {
    free_.emplace(begin, range);
    free_by_size_.emplace(range.size, begin);
    if (!range.resident) return;
    if (kept_ == 0) keeping_.notify_one();
    kept_ += range.size;
  }

  Free take(char* begin) {
    const auto entry = free_.find(begin);
    const Free range = entry->second;
    free_by_size_.erase({range.size, begin});
    free_.erase(entry);
    if (range.resident) kept_ -= range.size;
    return range;
  }

  void discard() {
    for (auto& [begin, range] : free_) {
      if (!range.resident) continue;
      madvise(begin, range.size, MADV_DONTNEED);
      range.resident = false;
    }
    kept_ = 0;
  }

  std::mutex mutex_;
  std::condition_variable keeping_;
  std::map<char*, size_t> regions_;
  std::map<char*, Free> free_;
  std::set<std::pair<size_t, char*>> free_by_size_;
  std::unordered_map<char*, size_t> blocks_;
  size_t mapped_ = 0, in_use_ = 0, kept_ = 0, peak_ = 0;
  std::chrono::steady_clock::time_point last_allocation_;
};

// Leaked: tensors of other static objects are freed after its destructor would have run.
Regions& regions() {
  static auto* instance = new Regions;
  return *instance;
}

c10::Allocator* libtorch_allocator() {
  return c10::GetDefaultCPUAllocator();
}

void release(void* block) {
  if (block && !regions().release(block)) libtorch_allocator()->raw_deleter()(block);
}

class Allocator : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t size) override {
    void* data = size >= SMALLEST_BLOCK ? regions().allocate(size) : nullptr;
    // Also after a failed mapping: libtorch's allocator either succeeds or reports the size in its error.
    if (!data) data = libtorch_allocator()->raw_allocate(size);
    return {data, data, &release, c10::Device(c10::kCPU)};
  }

  // Frees memory that libtorch requested through raw_allocate.
  c10::DeleterFnPtr raw_deleter() const override { return &release; }

  void copy_data(void* to, const void* from, size_t count) const override {
    default_copy_data(to, from, count);
  }
};

}  // namespace

void CpuAllocator::install() {
  static const bool installed = [] {
    const char* wanted = std::getenv("IP2P_CPU_ALLOCATOR");
    if (wanted && std::strcmp(wanted, "system") == 0) return false;
    // Memory from raw_allocate is freed by the allocator that is installed at that time.
    if (c10::GetCPUAllocator() != libtorch_allocator()) return false;
    c10::SetCPUAllocator(new Allocator);
    std::thread([] { regions().trim_when_idle(); }).detach();
    return true;
  }();
  (void)installed;
}

CpuAllocator::Statistics CpuAllocator::statistics() {
  return regions().statistics();
}

}  // namespace ip2p

#else

namespace ip2p {

void CpuAllocator::install() {}
CpuAllocator::Statistics CpuAllocator::statistics() {
  return {};
}

}  // namespace ip2p

#endif
