#include "bindings/environment.h"

#include <utility>

#include "core/device_memory.h"
#include "core/error.h"

namespace ip2p {

/// The state that worker threads use. It outlives the environment as long as a job refers to it.
struct Environment::Shared {
  std::mutex mutex;
  std::condition_variable drained;
  int in_flight = 0;
  CancelFlag closing;
  napi_threadsafe_function deliver = nullptr;
};

struct Environment::Pending {
  Pending(Napi::Env env, std::shared_ptr<CancelFlag> flag, Work job)
      : deferred(Napi::Promise::Deferred::New(env)), request(std::move(flag)), work(std::move(job)) {}

  Napi::Promise::Deferred deferred;
  std::shared_ptr<CancelFlag> request;
  Work work;
  Finish finish;
  ErrorReport error;
};

Environment::Environment(Napi::Env env) : env_(env), shared_(std::make_shared<Shared>()) {
  const napi_status status =
      napi_create_threadsafe_function(env, nullptr, nullptr, Napi::String::New(env, "instruct-pix2pix"), 0, 1,
                                      nullptr, nullptr, this, complete, &shared_->deliver);
  if (status != napi_ok) throw Napi::Error::New(env, "could not create the addon's completion channel");
  // Idle, the addon must not keep the process alive; a running job does (see submit).
  napi_unref_threadsafe_function(env, shared_->deliver);
  napi_add_env_cleanup_hook(env, on_teardown, this);
}

void Environment::install(Napi::Env env) {
  env.SetInstanceData(new Environment(env));
}

Environment& Environment::of(Napi::Env env) {
  return *env.GetInstanceData<Environment>();
}

// Runs before Node tears the completion channel down. Jobs of this environment are told to stop and waited
// for: a worker that still computed while static destructors run would take the process down.
void Environment::on_teardown(void* data) {
  auto* self = static_cast<Environment*>(data);
  const std::shared_ptr<Shared> shared = self->shared_;
  shared->closing.cancel();
  {
    std::unique_lock<std::mutex> lock(shared->mutex);
    shared->drained.wait(lock, [&] { return shared->in_flight == 0; });
  }
  self->memory->close();
}

Napi::Promise Environment::submit(JobQueue& queue, std::shared_ptr<CancelFlag> request, Work work) {
  auto pending = std::make_shared<Pending>(env_, std::move(request), std::move(work));
  const Napi::Promise promise = pending->deferred.Promise();
  if (pending_count_++ == 0) napi_ref_threadsafe_function(env_, shared_->deliver);
  {
    const std::lock_guard<std::mutex> lock(shared_->mutex);
    ++shared_->in_flight;
  }
  queue.post([shared = shared_, pending = std::move(pending)]() mutable {
    try {
      const CancelScope scope(pending->request.get(), &shared->closing);
      check_cancelled();
      pending->finish = pending->work();
    } catch (...) {
      pending->error = describe_exception(std::current_exception());
      if (pending->error.code.empty()) pending->error = {"ERR_OUT_OF_MEMORY", "out of memory"};
    }
    pending->work = nullptr;  // inputs are released as soon as they are not needed
    if (pending->error.code == "ERR_OUT_OF_MEMORY") empty_device_cache_quietly();
    auto* message = new std::shared_ptr<Pending>(std::move(pending));
    // Fails only while the environment closes; then no promise can be settled.
    if (napi_call_threadsafe_function(shared->deliver, message, napi_tsfn_nonblocking) != napi_ok)
      delete message;
    // Notified under the lock: the waiter may free everything the moment it sees zero.
    const std::lock_guard<std::mutex> lock(shared->mutex);
    if (--shared->in_flight == 0) shared->drained.notify_all();
  });
  return promise;
}

void Environment::complete(napi_env raw_env, napi_value, void* context, void* data) {
  const std::unique_ptr<std::shared_ptr<Pending>> holder(static_cast<std::shared_ptr<Pending>*>(data));
  if (raw_env == nullptr) return;  // the environment is going away
  auto& self = *static_cast<Environment*>(context);
  Pending& pending = **holder;
  if (--self.pending_count_ == 0) napi_unref_threadsafe_function(raw_env, self.shared_->deliver);
  try {
    const Napi::HandleScope scope(raw_env);
    self.settle(pending);
  } catch (...) {
    // Only a terminating environment refuses to settle a promise, and no code can await it there.
  }
}

void Environment::settle(Pending& pending) {
  try {
    if (pending.error.code.empty()) return pending.deferred.Resolve(pending.finish(env_));
  } catch (const Napi::Error& error) {
    return pending.deferred.Reject(error.Value());
  } catch (...) {
    pending.error = describe_exception(std::current_exception());
  }
  pending.deferred.Reject(make_error(pending.error.code, pending.error.message).Value());
}

Napi::Error Environment::make_error(const std::string& code, const std::string& message) {
  if (!error_class.IsEmpty()) {
    try {
      return {env_, error_class.New({Napi::String::New(env_, code), Napi::String::New(env_, message)})};
    } catch (const Napi::Error&) {
      // If the error class cannot be constructed, the original error must still be reported.
    }
  }
  Napi::Error error = Napi::Error::New(env_, message);
  error.Set("code", Napi::String::New(env_, code));
  return error;
}

void throw_as_javascript(Napi::Env env, const std::exception_ptr& error) {
  const ErrorReport report = describe_exception(error);
  throw Environment::of(env).make_error(report.code, report.message);
}

}  // namespace ip2p
