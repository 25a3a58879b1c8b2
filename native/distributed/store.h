#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace ip2p {

struct StoreOptions {
  /// Where the store is served.
  std::string host;
  /// 0 with `serve`: any free one.
  uint16_t port = 0;
  /// Whether this process serves it; otherwise it only connects.
  bool serve = false;
  /// How long to wait for the server.
  std::chrono::milliseconds timeout{0};
  /// For short exchanges beside another connection that waits: jobs with it have a thread of their own.
  bool heartbeats = false;
};

/// Keys and values that the processes of a training share: c10d's TCPStore, so that torchrun's and a Python
/// process's are understood. Every failure is ERR_DISTRIBUTED. Operations of one object wait for one another.
class Store {
 public:
  using Bytes = std::vector<uint8_t>;

  /// Connects. ERR_DISTRIBUTED if the port is taken, or if nobody serves it within the time.
  static std::shared_ptr<Store> open(const StoreOptions& options);
  virtual ~Store() = default;

  virtual uint16_t port() const = 0;
  virtual bool for_heartbeats() const = 0;
  virtual void set(const std::string& key, const Bytes& value) = 0;
  /// The value, once it is set; nothing after `timeout`. ERR_ABORTED if the running job is cancelled.
  virtual std::optional<Bytes> get(const std::string& key, std::chrono::milliseconds timeout) = 0;
  /// Adds to a number, which is 0 at first. → the sum
  virtual int64_t add(const std::string& key, int64_t value) = 0;
  virtual void remove(const std::string& key) = 0;
};

/// Whether this build has what several processes need.
bool distributed_available();

}  // namespace ip2p
