// Opens shared libraries by absolute path, before the addon that needs them is loaded.
//
// libtorch's location is known only at run time, and LD_LIBRARY_PATH is read once, when a process starts. A
// library that is already open satisfies a later dependency of the same name, so opening libtorch here lets
// the addon be linked without a path to it. This module therefore must not depend on libtorch itself.

#include <node_api.h>

#include <cstddef>
#include <string>
#include <vector>

#ifdef _WIN32
#include "core/wide_text.h"
#else
#include <dlfcn.h>
#ifdef __APPLE__
#include <mach-o/dyld.h>
#else
#include <link.h>
#endif
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

/** The path of the library of this file name that is open; Windows takes the first one for a name. */
std::vector<std::string> OpenLibraries(const std::string& name) {
  const HMODULE module = GetModuleHandleW(ip2p::wide_text(name).c_str());
  if (module == nullptr) return {};
  std::wstring wide(32768, L'\0');
  wide.resize(GetModuleFileNameW(module, wide.data(), static_cast<DWORD>(wide.size())));
  const int length = static_cast<int>(wide.size());
  const int bytes = WideCharToMultiByte(CP_UTF8, 0, wide.data(), length, nullptr, 0, nullptr, nullptr);
  std::string path(static_cast<std::size_t>(bytes), '\0');
  WideCharToMultiByte(CP_UTF8, 0, wide.data(), length, path.data(), bytes, nullptr, nullptr);
  return {path};
}

#else

/** Empty if the library is open now, else the system's reason. The library stays open for the life of the
 * process. */
std::string Open(const std::string& path) {
  if (dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL) != nullptr) return {};
  const char* reason = dlerror();
  return reason != nullptr ? reason : path + ": cannot be opened";
}

bool HasName(const std::string& path, const std::string& name) {
  return path.size() > name.size() && path[path.size() - name.size() - 1] == '/' &&
         path.compare(path.size() - name.size(), name.size(), name) == 0;
}

/** The paths of all libraries of this file name that are open. */
std::vector<std::string> OpenLibraries(const std::string& name) {
  std::vector<std::string> paths;
  const auto look = [&](const char* path) {
    if (path != nullptr && HasName(path, name)) paths.emplace_back(path);
  };
#ifdef __APPLE__
  for (uint32_t i = 0; i < _dyld_image_count(); ++i) look(_dyld_get_image_name(i));
#else
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* looking) {
        (*static_cast<decltype(look)*>(looking))(info->dlpi_name);
        return 0;
      },
      const_cast<void*>(static_cast<const void*>(&look)));
#endif
  return paths;
}

#endif

/** The only argument; false if it is no string, in which case an exception is pending or none can be. */
bool StringArgument(napi_env env, napi_callback_info info, const char* problem, std::string& text) {
  std::size_t count = 1;
  napi_value argument = nullptr;
  if (napi_get_cb_info(env, info, &count, &argument, nullptr, nullptr) != napi_ok) return false;
  std::size_t length = 0;
  if (count < 1 || napi_get_value_string_utf8(env, argument, nullptr, 0, &length) != napi_ok) {
    napi_throw_type_error(env, nullptr, problem);
    return false;
  }
  text.assign(length + 1, '\0');
  if (napi_get_value_string_utf8(env, argument, text.data(), text.size(), &length) != napi_ok) return false;
  text.resize(length);
  return true;
}

/** dlopen(path: string): void. Throws the dynamic linker's own message. */
napi_value Dlopen(napi_env env, napi_callback_info info) {
  std::string path;
  if (!StringArgument(env, info, "dlopen: path must be a string", path)) return nullptr;
  const std::string reason = Open(path);
  if (!reason.empty()) napi_throw_error(env, nullptr, reason.c_str());
  return nullptr;
}

/** opened(name: string): string[]. The paths of the open libraries of this file name. */
napi_value Opened(napi_env env, napi_callback_info info) {
  std::string name;
  if (!StringArgument(env, info, "opened: name must be a string", name)) return nullptr;
  napi_value list = nullptr;
  if (napi_create_array(env, &list) != napi_ok) return nullptr;
  uint32_t count = 0;
  for (const std::string& path : OpenLibraries(name)) {
    napi_value text = nullptr;
    if (napi_create_string_utf8(env, path.data(), path.size(), &text) != napi_ok ||
        napi_set_element(env, list, count++, text) != napi_ok)
      return nullptr;
  }
  return list;
}

}  // namespace

NAPI_MODULE_INIT() {
  const struct {
    const char* name;
    napi_callback body;
  } functions[] = {{"dlopen", Dlopen}, {"opened", Opened}};
  for (const auto& [name, body] : functions) {
    napi_value function = nullptr;
    if (napi_create_function(env, name, NAPI_AUTO_LENGTH, body, nullptr, &function) != napi_ok ||
        napi_set_named_property(env, exports, name, function) != napi_ok)
      return nullptr;
  }
  return exports;
}
