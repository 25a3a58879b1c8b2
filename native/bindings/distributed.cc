#include <chrono>
#include <string>

#include "bindings/convert.h"
#include "bindings/objects.h"
#include "bindings/register.h"
#include "core/device.h"
#include "core/error.h"
#include "distributed/process_group.h"
#include "distributed/store.h"

namespace ip2p {
namespace {

using Info = Napi::CallbackInfo;

/// c10d adds time-outs to the clock's time in nanoseconds, which must not overflow.
constexpr int64_t kMostMilliseconds = 30LL * 24 * 3600 * 1000;

std::chrono::milliseconds milliseconds_argument(const Napi::Value& value, const char* name) {
  const int64_t count = integer_argument(value, name);
  if (count < 0 || count > kMostMilliseconds)
    throw Error("ERR_INVALID_ARGUMENT", std::string(name) + " is not a time of up to 30 days");
  return std::chrono::milliseconds(count);
}

int int_argument(const Napi::Value& value, const char* name, int64_t least, int64_t most) {
  const int64_t number = integer_argument(value, name);
  if (number < least || number > most)
    throw Error("ERR_INVALID_ARGUMENT", std::string(name) + " is out of range");
  return static_cast<int>(number);
}

JobQueue& queue_of(const Store& store) {
  return store.for_heartbeats() ? JobQueue::heartbeats() : JobQueue::waits();
}

/// openStore(host, port, serve, timeout in ms, heartbeats): a connection
Napi::Value open_store(const Info& info) {
  StoreOptions options;
  options.host = string_argument(info[0], "host");
  options.port = static_cast<uint16_t>(int_argument(info[1], "port", 0, 65535));
  options.serve = bool_argument(info[2], "serve");
  options.timeout = milliseconds_argument(info[3], "timeout");
  options.heartbeats = bool_argument(info[4], "heartbeats");
  if (!options.serve && options.port == 0)
    throw Error("ERR_INVALID_ARGUMENT", "a store is reached by its port, which cannot be 0");
  return Environment::of(info.Env()).submit(JobQueue::waits(), nullptr, [options]() -> Finish {
    const std::shared_ptr<Store> store = Store::open(options);
    return [store](Napi::Env js) { return StoreObject::make(js, store); };
  });
}

/// storePort(store)
Napi::Value store_port(const Info& info) {
  return Napi::Number::New(info.Env(), StoreObject::get(info[0])->port());
}

/// storeSet(store, key, text)
Napi::Value store_set(const Info& info) {
  const auto store = StoreObject::get(info[0]);
  const std::string key = string_argument(info[1], "key"), text = string_argument(info[2], "text");
  return Environment::of(info.Env()).submit(queue_of(*store), nullptr, void_work([=] {
                                              store->set(key, {text.begin(), text.end()});
                                            }));
}

/// storeGet(store, key, timeout in ms, cancel): the text, or null if it is not set within the time
Napi::Value store_get(const Info& info) {
  const auto store = StoreObject::get(info[0]);
  const std::string key = string_argument(info[1], "key");
  const auto timeout = milliseconds_argument(info[2], "timeout");
  return Environment::of(info.Env())
      .submit(queue_of(*store), CancelObject::get_optional(info[3]), [=]() -> Finish {
        const auto bytes = store->get(key, timeout);
        return [bytes](Napi::Env js) -> Napi::Value {
          if (!bytes) return js.Null();
          return Napi::String::New(js, reinterpret_cast<const char*>(bytes->data()), bytes->size());
        };
      });
}

/// storeAdd(store, key, number): the sum of all numbers that were added to this key
Napi::Value store_add(const Info& info) {
  const auto store = StoreObject::get(info[0]);
  const std::string key = string_argument(info[1], "key");
  const int64_t number = integer_argument(info[2], "number");
  return Environment::of(info.Env()).submit(queue_of(*store), nullptr, [=]() -> Finish {
    const auto sum = static_cast<double>(store->add(key, number));
    return [sum](Napi::Env js) { return Napi::Number::New(js, sum); };
  });
}

/// storeRemove(store, key)
Napi::Value store_remove(const Info& info) {
  const auto store = StoreObject::get(info[0]);
  const std::string key = string_argument(info[1], "key");
  return Environment::of(info.Env()).submit(queue_of(*store), nullptr, void_work([=] {
                                              store->remove(key);
                                            }));
}

/// openProcessGroup(store, name, rank, size, timeout in ms, device): over Gloo, and on a CUDA device also
/// over NCCL
Napi::Value open_process_group(const Info& info) {
  const auto store = StoreObject::get(info[0]);
  GroupOptions options;
  options.name = string_argument(info[1], "name");
  options.size = int_argument(info[3], "size", 1, 1 << 16);
  options.rank = int_argument(info[2], "rank", 0, options.size - 1);
  options.timeout = milliseconds_argument(info[4], "timeout");
  options.device = parse_device(string_argument(info[5], "device"));
  return Environment::of(info.Env()).submit(JobQueue::waits(), nullptr, [=]() -> Finish {
    const auto group = ProcessGroup::connect(*store, options);
    return [group](Napi::Env js) { return ProcessGroupObject::make(js, group); };
  });
}

/// groupBroadcast(group, tensor, root, cancel): replaces a tensor by that of one process
Napi::Value group_broadcast(const Info& info) {
  const auto group = ProcessGroupObject::get(info[0]);
  const at::Tensor tensor = TensorObject::get(info[1]);
  const int root = int_argument(info[2], "root", 0, group->size() - 1);
  return submit(info.Env(), tensor.device(), void_work([=] {
                  const at::Tensor dense = tensor.detach().contiguous();
                  group->broadcast(dense, root)->wait();
                  if (!dense.is_alias_of(tensor)) tensor.detach().copy_(dense);
                }),
                CancelObject::get_optional(info[3]));
}

/// groupSum(group, tensor, cancel): replaces a tensor by its sum over all processes
Napi::Value group_sum(const Info& info) {
  const auto group = ProcessGroupObject::get(info[0]);
  const at::Tensor tensor = TensorObject::get(info[1]);
  if (!tensor.device().is_cpu() || !tensor.is_contiguous())
    throw Error("ERR_INVALID_ARGUMENT", "a contiguous tensor on the CPU is needed");
  return submit(info.Env(), tensor.device(), void_work([=] { group->all_reduce(tensor)->wait(); }),
                CancelObject::get_optional(info[2]));
}

}  // namespace

void register_distributed(Napi::Env env, Napi::Object exports) {
  export_function<open_store>(env, exports, "openStore");
  export_function<store_port>(env, exports, "storePort");
  export_function<store_set>(env, exports, "storeSet");
  export_function<store_get>(env, exports, "storeGet");
  export_function<store_add>(env, exports, "storeAdd");
  export_function<store_remove>(env, exports, "storeRemove");
  export_function<open_process_group>(env, exports, "openProcessGroup");
  export_function<group_sum>(env, exports, "groupSum");
  export_function<group_broadcast>(env, exports, "groupBroadcast");
}

}  // namespace ip2p
