#include <napi.h>

#include "bindings/environment.h"
#include "bindings/objects.h"
#include "bindings/register.h"
#include "kernels/registry.h"

namespace {

Napi::Object initialise(Napi::Env env, Napi::Object exports) {
  ip2p::Environment::install(env);
  ip2p::guarded(env, [] { ip2p::Operators::register_all(); });
  ip2p::TensorObject::define(env, exports);
  ip2p::GeneratorObject::define(env, exports);
  ip2p::ModelObject::define(env, exports);
  ip2p::TrainerObject::define(env, exports);
  ip2p::StoreObject::define(env, exports);
  ip2p::ProcessGroupObject::define(env, exports);
  ip2p::UNetCacheObject::define(env, exports);
  ip2p::CancelObject::define(env, exports);
  ip2p::register_system(env, exports);
  ip2p::register_cuda(env, exports);
  ip2p::register_tensor_ops(env, exports);
  ip2p::register_random(env, exports);
  ip2p::register_files(env, exports);
  ip2p::register_models(env, exports);
  ip2p::register_unet(env, exports);
  ip2p::register_image_models(env, exports);
  ip2p::register_training(env, exports);
  ip2p::register_distributed(env, exports);
  ip2p::register_operators(env, exports);
  ip2p::register_pictures(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(ip2p, initialise)
