// The one file that includes c10d's headers, which take long to compile.
#include "core/error.h"
#include "distributed/buckets.h"
#include "distributed/process_group.h"

#if defined(IP2P_DISTRIBUTED)

#include <c10/util/Logging.h>
#include <torch/csrc/distributed/c10d/exception.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <torch/csrc/distributed/c10d/reducer.hpp>

#include <algorithm>
#include <condition_variable>
#include <limits>
#include <mutex>
#include <utility>

#include "core/cancel.h"
#include "core/cuda_library.h"
#include "core/exit_guard.h"

namespace ip2p {
namespace {

/// How often a wait looks whether its job was cancelled.
constexpr std::chrono::milliseconds kSlice{250};

/// Without the place in Gloo's source, and what it and c10d advise developers to do.
std::string reason_of(const std::exception_ptr& error) {
  std::string reason = describe_exception(error).message;
  const size_t place = reason.rfind("[/", 0) == 0 ? reason.find("] ") : std::string::npos;
  if (place != std::string::npos) reason.erase(0, place + 2);
  for (const char* advice : {". This is typically caused by ", ". Did the remote server "})
    if (const size_t start = reason.find(advice); start != std::string::npos) reason.erase(start);
  return reason;
}

/// Runs `body`; what c10d throws becomes ERR_DISTRIBUTED.
template <class Body>
auto distributed(const std::string& what, Body&& body) -> decltype(body()) {
  try {
    return body();
  } catch (const Error&) {
    throw;
  } catch (...) {
    throw Error("ERR_DISTRIBUTED", what + ": " + reason_of(std::current_exception()));
  }
}

class TcpStore : public Store {
 public:
  explicit TcpStore(const StoreOptions& options) : heartbeats_(options.heartbeats) {
    // c10d warns of every wait that takes longer than it was asked to; TORCH_CPP_LOG_LEVEL says otherwise.
    static const bool quiet = [] {
      FLAGS_caffe2_log_level = c10::GLOG_ERROR;
      c10::initLogging();
      return true;
    }();
    (void)quiet;
    c10d::TCPStoreOptions given;
    given.port = options.port;
    given.isServer = options.serve;
    given.waitWorkers = false;
    given.timeout = options.timeout;
    const std::string place = options.host + " port " + std::to_string(options.port);
    store_ = distributed(options.serve ? "the processes' store cannot be served on " + place
                                       : "the processes' store on " + place + " cannot be reached",
                         [&] { return c10::make_intrusive<c10d::TCPStore>(options.host, given); });
  }

  uint16_t port() const override { return store_->getPort(); }
  bool for_heartbeats() const override { return heartbeats_; }

  void set(const std::string& key, const Bytes& value) override {
    operation([&] { store_->set(key, value); });
  }

  std::optional<Bytes> get(const std::string& key, std::chrono::milliseconds timeout) override {
    const auto end = std::chrono::steady_clock::now() + timeout;
    for (;;) {
      check_cancelled();
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
      if (operation([&] { return store_->check({key}); })) return operation([&] { return store_->get(key); });
      if (left.count() <= 0) return std::nullopt;
      try {
        store_->wait({key}, std::max(std::chrono::milliseconds(1), std::min(left, kSlice)));
      } catch (const c10::DistNetworkError&) {
        fail(std::current_exception());
      } catch (const c10::DistError&) {
        // The time was over.
      } catch (...) {
        fail(std::current_exception());
      }
    }
  }

  int64_t add(const std::string& key, int64_t value) override {
    return operation([&] { return store_->add(key, value); });
  }

  void remove(const std::string& key) override {
    operation([&] { store_->deleteKey(key); });
  }

  const c10::intrusive_ptr<c10d::TCPStore>& store() const { return store_; }

 private:
  template <class Body>
  static auto operation(Body&& body) -> decltype(body()) {
    return distributed("the processes' store is gone", std::forward<Body>(body));
  }

  [[noreturn]] static void fail(const std::exception_ptr& error) {
    throw Error("ERR_DISTRIBUTED", "the processes' store is gone: " + reason_of(error));
  }

  bool heartbeats_;
  c10::intrusive_ptr<c10d::TCPStore> store_;
};

/// Gloo cannot be interrupted, so a wait looks from time to time whether it has to be given up.
class GlooCollective : public Collective {
 public:
  explicit GlooCollective(c10::intrusive_ptr<c10d::Work> work) : state_(std::make_shared<State>()) {
    work->getFuture()->addCallback([state = state_](c10::ivalue::Future& future) {
      const std::lock_guard<std::mutex> lock(state->mutex);
      state->done = true;
      if (future.hasError()) state->error = future.exception_ptr();
      state->changed.notify_all();
    });
  }

  void wait() override {
    std::unique_lock<std::mutex> lock(state_->mutex);
    while (!state_->changed.wait_for(lock, kSlice, [this] { return state_->done; })) check_cancelled();
    if (state_->error)
      throw Error("ERR_DISTRIBUTED",
                  "an exchange with the other processes failed: " + reason_of(state_->error));
  }

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    bool done = false;
    std::exception_ptr error;
  };

  std::shared_ptr<State> state_;
};

class GlooGroup : public ProcessGroup {
 public:
  GlooGroup(c10::intrusive_ptr<c10d::Store> store, const GroupOptions& options)
      : rank_(options.rank), size_(options.size), running_(std::make_unique<ExitGuard::Running>()) {
    distributed("the processes cannot be connected", [&] {
      group_ = c10::make_intrusive<c10d::ProcessGroupGloo>(
          std::move(store), rank_, size_, c10d::ProcessGroupGloo::Options::create_default(options.timeout));
    });
  }

  ~GlooGroup() override {
    // Its destructor would wait for what is stuck. The guard ends the process without it.
    if (!*failed_) return;
    group_.release();
    running_.release();
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  std::unique_ptr<Collective> all_reduce(const at::Tensor& tensor) override {
    return begin([&] {
      std::vector<at::Tensor> tensors{tensor};
      return group_->allreduce(tensors);
    });
  }

  std::unique_ptr<Collective> broadcast(const at::Tensor& tensor, int root) override {
    return begin([&] {
      std::vector<at::Tensor> tensors{tensor};
      c10d::BroadcastOptions options;
      options.rootRank = root;
      return group_->broadcast(tensors, options);
    });
  }

 private:
  class Watched : public Collective {
   public:
    Watched(c10::intrusive_ptr<c10d::Work> work, std::shared_ptr<bool> failed)
        : collective_(std::move(work)), failed_(std::move(failed)) {}
    ~Watched() override {
      if (!waited_) *failed_ = true;
    }
    void wait() override {
      collective_.wait();
      waited_ = true;
    }

   private:
    GlooCollective collective_;
    std::shared_ptr<bool> failed_;
    bool waited_ = false;
  };

  template <class Begin>
  std::unique_ptr<Collective> begin(Begin&& start) {
    if (*failed_) throw Error("ERR_DISTRIBUTED", "an earlier exchange with the other processes failed");
    return distributed("an exchange with the other processes cannot begin",
                       [&] { return std::make_unique<Watched>(start(), failed_); });
  }

  int rank_, size_;
  std::unique_ptr<ExitGuard::Running> running_;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> group_;
  std::shared_ptr<bool> failed_ = std::make_shared<bool>(false);
};

/// NCCL for tensors on the process's CUDA device, Gloo for all others. What the CUDA library throws becomes
/// ERR_DISTRIBUTED.
class DeviceGroup : public ProcessGroup {
 public:
  DeviceGroup(std::shared_ptr<ProcessGroup> gloo, std::shared_ptr<ProcessGroup> nccl)
      : gloo_(std::move(gloo)), nccl_(std::move(nccl)) {}

  int rank() const override { return gloo_->rank(); }
  int size() const override { return gloo_->size(); }

  std::unique_ptr<Collective> all_reduce(const at::Tensor& tensor) override {
    if (!tensor.is_cuda()) return gloo_->all_reduce(tensor);
    return checked([&] { return nccl_->all_reduce(tensor); });
  }

  std::unique_ptr<Collective> broadcast(const at::Tensor& tensor, int root) override {
    if (!tensor.is_cuda()) return gloo_->broadcast(tensor, root);
    return checked([&] { return nccl_->broadcast(tensor, root); });
  }

 private:
  class Checked : public Collective {
   public:
    explicit Checked(std::unique_ptr<Collective> inner) : inner_(std::move(inner)) {}
    void wait() override {
      distributed("an exchange with the other processes failed", [&] { inner_->wait(); });
    }

   private:
    std::unique_ptr<Collective> inner_;
  };

  template <class Begin>
  static std::unique_ptr<Collective> checked(Begin&& begin) {
    return distributed("an exchange with the other processes cannot begin",
                       [&] { return std::make_unique<Checked>(begin()); });
  }

  std::shared_ptr<ProcessGroup> gloo_, nccl_;
};

}  // namespace

bool distributed_available() {
  return true;
}

std::vector<std::vector<size_t>> first_buckets(const std::vector<at::Tensor>& tensors) {
  return std::get<0>(c10d::compute_bucket_assignment_by_size(tensors, {std::numeric_limits<int64_t>::max()}));
}

std::vector<std::vector<size_t>> assign_buckets(const std::vector<at::Tensor>& tensors,
                                                const std::vector<size_t>& order) {
  const std::vector<int64_t> indices(order.begin(), order.end());
  return std::get<0>(c10d::compute_bucket_assignment_by_size(tensors, {1 << 20, 25 << 20}, {}, indices));
}

std::shared_ptr<Store> Store::open(const StoreOptions& options) {
  return std::make_shared<TcpStore>(options);
}

std::shared_ptr<ProcessGroup> ProcessGroup::connect(const Store& store, const GroupOptions& options) {
  const auto part = [&](const char* name) {
    const auto shared = static_cast<const TcpStore&>(store).store()->clone();
    shared->setTimeout(options.timeout);
    return c10::make_intrusive<c10d::PrefixStore>(options.name + "/" + name, shared);
  };
  if (!options.device.is_cuda()) return std::make_shared<GlooGroup>(part("gloo"), options);
  const CudaLibrary& library = require_cuda_library();
  auto gloo = std::make_shared<GlooGroup>(part("gloo"), options);
  auto nccl = distributed("the processes cannot be connected over NCCL",
                          [&] { return library.nccl_group(*part("nccl"), options); });
  return std::make_shared<DeviceGroup>(std::move(gloo), std::move(nccl));
}

}  // namespace ip2p

#else

namespace ip2p {

bool distributed_available() {
  return false;
}

std::vector<std::vector<size_t>> first_buckets(const std::vector<at::Tensor>&) {
  throw Error("ERR_DISTRIBUTED", "training by several processes is supported on Linux only");
}

std::vector<std::vector<size_t>> assign_buckets(const std::vector<at::Tensor>&, const std::vector<size_t>&) {
  throw Error("ERR_DISTRIBUTED", "training by several processes is supported on Linux only");
}

std::shared_ptr<Store> Store::open(const StoreOptions&) {
  throw Error("ERR_DISTRIBUTED", "training by several processes is supported on Linux only");
}

std::shared_ptr<ProcessGroup> ProcessGroup::connect(const Store&, const GroupOptions&) {
  throw Error("ERR_DISTRIBUTED", "training by several processes is supported on Linux only");
}

}  // namespace ip2p

#endif
