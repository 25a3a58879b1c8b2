#include "bindings/convert.h"
#include "bindings/objects.h"
#include "bindings/register.h"
#include "core/cancel.h"
#include "core/error.h"
#include "core/safetensors_writer.h"
#include "core/weights.h"

namespace ip2p {
namespace {

using Info = Napi::CallbackInfo;

Napi::Value metadata_pairs(Napi::Env env, const SafetensorsHeader& header) {
  if (!header.metadata) return env.Null();
  // Pairs, so that a key such as "__proto__" has no special meaning.
  Napi::Array pairs = Napi::Array::New(env, header.metadata->size());
  uint32_t i = 0;
  for (const auto& [key, value] : *header.metadata) {
    Napi::Array pair = Napi::Array::New(env, 2);
    pair.Set(0u, Napi::String::New(env, key));
    pair.Set(1u, Napi::String::New(env, value));
    pairs.Set(i++, pair);
  }
  return pairs;
}

/// readSafetensors(path): { names, tensors, metadata }, metadata as pairs or null. Names and tensors are two
/// lists, so that a name such as "__proto__" has no special meaning.
Napi::Value read_safetensors(const Info& info) {
  const std::string path = string_argument(info[0], "path");
  return submit(info.Env(), c10::kCPU, [path]() -> Finish {
    const WeightFile file(path);
    std::vector<std::pair<std::string, at::Tensor>> loaded;
    for (const TensorInfo& tensor : file.tensors()) {
      check_cancelled();
      loaded.emplace_back(tensor.name, file.read(tensor));
    }
    return [loaded, header = file.header()](Napi::Env js) -> Napi::Value {
      Napi::Array names = Napi::Array::New(js, loaded.size()), tensors = Napi::Array::New(js, loaded.size());
      for (size_t i = 0; i < loaded.size(); ++i) {
        names.Set(static_cast<uint32_t>(i), Napi::String::New(js, loaded[i].first));
        tensors.Set(static_cast<uint32_t>(i), TensorObject::make(js, loaded[i].second));
      }
      Napi::Object result = Napi::Object::New(js);
      result.Set("names", names);
      result.Set("tensors", tensors);
      result.Set("metadata", metadata_pairs(js, header));
      return result;
    };
  });
}

/// readSafetensorsHeader(path): { names, dtypes, shapes, metadata } of all tensors, of which none is read
Napi::Value read_safetensors_header(const Info& info) {
  const std::string path = string_argument(info[0], "path");
  return submit(info.Env(), c10::kCPU, [path]() -> Finish {
    return [header = WeightFile(path).header()](Napi::Env js) -> Napi::Value {
      const size_t count = header.tensors.size();
      Napi::Array names = Napi::Array::New(js, count), dtypes = Napi::Array::New(js, count),
                  shapes = Napi::Array::New(js, count);
      for (size_t i = 0; i < count; ++i) {
        const TensorInfo& tensor = header.tensors[i];
        const auto at = static_cast<uint32_t>(i);
        names.Set(at, Napi::String::New(js, tensor.name));
        dtypes.Set(at, Napi::String::New(js, safetensors_dtype_name(tensor.dtype).data(),
                                         safetensors_dtype_name(tensor.dtype).size()));
        shapes.Set(at, to_js(js, tensor.shape));
      }
      Napi::Object result = Napi::Object::New(js);
      result.Set("names", names);
      result.Set("dtypes", dtypes);
      result.Set("shapes", shapes);
      result.Set("metadata", metadata_pairs(js, header));
      return result;
    };
  });
}

/// writeSafetensors(path, names, tensors, metadata | null)
Napi::Value write_safetensors_file(const Info& info) {
  const std::string path = string_argument(info[0], "path");
  const auto names = strings_argument(info[1], "names");
  const auto tensors = tensors_argument(info[2], "tensors");
  if (names.size() != tensors.size())
    throw Error("ERR_INVALID_ARGUMENT", "names and tensors differ in number");
  std::optional<SafetensorsHeader::Metadata> metadata;
  if (info[3].IsObject()) {
    metadata.emplace();
    const auto object = info[3].As<Napi::Object>();
    const Napi::Array keys = object.GetPropertyNames();
    for (uint32_t i = 0; i < keys.Length(); ++i) {
      const std::string key = keys.Get(i).ToString();
      metadata->emplace(key, string_argument(object.Get(key), "metadata"));
    }
  }
  const c10::Device device = tensors.empty() ? c10::Device(c10::kCPU) : tensors[0].device();
  return submit_void(info.Env(), device, [=] {
    std::vector<TensorSource> sources;
    // One tensor at a time is brought to the CPU; it stays until the next one is asked for.
    auto current = std::make_shared<at::Tensor>();
    for (size_t i = 0; i < tensors.size(); ++i) {
      sources.push_back(
          {names[i], safetensors_dtype(tensors[i].scalar_type()), tensors[i].sizes().vec(),
           [current, tensor = tensors[i]]() -> std::span<const std::byte> {
             check_cancelled();
             *current = tensor.to(at::kCPU).contiguous();
             return {static_cast<const std::byte*>(current->const_data_ptr()), current->nbytes()};
           }});
    }
    write_safetensors(path, std::move(sources), metadata);
  });
}

}  // namespace

void register_files(Napi::Env env, Napi::Object exports) {
  export_function<read_safetensors>(env, exports, "readSafetensors");
  export_function<read_safetensors_header>(env, exports, "readSafetensorsHeader");
  export_function<write_safetensors_file>(env, exports, "writeSafetensors");
}

}  // namespace ip2p
