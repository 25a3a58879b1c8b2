#include "core/operator_trace.h"

#include <ATen/record_function.h>

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <optional>

namespace ip2p {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMostCalls = 1'000'000;

struct Recording {
  Clock::time_point began = Clock::now();
  at::CallbackHandle callback = 0;
  OperatorTrace trace;
  std::map<std::string, uint32_t> names;
  std::map<uint64_t, uint32_t> threads;
};

std::mutex mutex;
std::optional<Recording> recording;

struct Begun : at::ObserverContext {
  Clock::time_point start = Clock::now();
};

/// The index of a key, a new one if there is none yet.
template <class Key>
uint32_t index_of(std::map<Key, uint32_t>& known, const Key& key) {
  return known.emplace(key, static_cast<uint32_t>(known.size())).first->second;
}

std::unique_ptr<at::ObserverContext> on_start(const at::RecordFunction&) {
  return std::make_unique<Begun>();
}

void on_end(const at::RecordFunction& function, at::ObserverContext* context) {
  const Clock::time_point start = static_cast<Begun*>(context)->start, end = Clock::now();
  const std::lock_guard<std::mutex> lock(mutex);
  // Calls that began before the recording are not of it.
  if (!recording || start < recording->began || recording->trace.calls.size() >= kMostCalls) return;
  const auto since = [](Clock::time_point time) {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(time - recording->began).count();
  };
  const uint32_t name = index_of(recording->names, std::string(function.name()));
  if (name == recording->trace.names.size()) recording->trace.names.emplace_back(function.name());
  const uint32_t thread = index_of(recording->threads, at::RecordFunction::currentThreadId());
  recording->trace.calls.push_back({name, thread, since(start), since(end)});
}

}  // namespace

bool start_operator_trace() {
  const std::lock_guard<std::mutex> lock(mutex);
  if (recording) return false;
  recording.emplace();
  recording->callback =
      at::addGlobalCallback(at::RecordFunctionCallback(on_start, on_end)
                                .scopes({at::RecordScope::FUNCTION, at::RecordScope::BACKWARD_FUNCTION}));
  return true;
}

OperatorTrace stop_operator_trace() {
  std::optional<Recording> ended;
  {
    const std::lock_guard<std::mutex> lock(mutex);
    ended.swap(recording);
  }
  if (!ended) return {};
  at::removeCallback(ended->callback);
  return std::move(ended->trace);
}

}  // namespace ip2p
