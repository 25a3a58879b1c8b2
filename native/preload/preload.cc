// Opens shared libraries by absolute path, before the addon that needs them is loaded.
//
// Where libtorch lies is known only at run time, and LD_LIBRARY_PATH is read once, when a process starts. A
// library that is already open satisfies a later dependency of the same name, so opening libtorch here is
// what lets the addon be linked without a path to it. This module therefore must not depend on libtorch
// itself.

#include <node_api.h>

#include <cstddef>
#include <string>

#ifdef _WIN32
#include "core/wide_text.h"
#else
#include <dlfcn.h>
#endif

namespace {

#ifdef _WIN32

/** Empty if the library is open now, else the system's reason. The library stays open for the life of the
 * process. */
std::string Open(const std::string& path) {
  // An absolute path also searches the library's own folder; a bare name only the system's folders.
  const bool absolute = path.find_first_of("\\/") != std::string::npos;
  const DWORD flags = absolute ? LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR | LOAD_LIBRARY_SEARCH_DEFAULT_DIRS
                               : LOAD_LIBRARY_SEARCH_DEFAULT_DIRS;
  if (LoadLibraryExW(ip2p::wide_text(path).c_str(), nullptr, flags) != nullptr) return {};
  return path + ": error " + std::to_string(GetLastError());
}

#else

/** Empty if the library is open now, else the system's reason. The library stays open for the life of the
 * process. */
std::string Open(const std::string& path) {
  if (dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL) != nullptr) return {};
  const char* reason = dlerror();
  return reason != nullptr ? reason : path + ": cannot be opened";
}

#endif

/** dlopen(path: string): void. Throws the dynamic linker's own message. */
napi_value Dlopen(napi_env env, napi_callback_info info) {
  std::size_t count = 1;
  napi_value argument = nullptr;
  if (napi_get_cb_info(env, info, &count, &argument, nullptr, nullptr) != napi_ok) return nullptr;

  std::size_t length = 0;
  if (count < 1 || napi_get_value_string_utf8(env, argument, nullptr, 0, &length) != napi_ok) {
    napi_throw_type_error(env, nullptr, "dlopen: path must be a string");
    return nullptr;
  }
  std::string path(length + 1, '\0');
  if (napi_get_value_string_utf8(env, argument, path.data(), path.size(), &length) != napi_ok) return nullptr;
  path.resize(length);

  const std::string reason = Open(path);
  if (!reason.empty()) napi_throw_error(env, nullptr, reason.c_str());
  return nullptr;
}

}  // namespace

NAPI_MODULE_INIT() {
  napi_value function = nullptr;
  if (napi_create_function(env, "dlopen", NAPI_AUTO_LENGTH, Dlopen, nullptr, &function) != napi_ok)
    return nullptr;
  if (napi_set_named_property(env, exports, "dlopen", function) != napi_ok) return nullptr;
  return exports;
}
