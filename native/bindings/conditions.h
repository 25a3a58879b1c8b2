#pragma once

#include <napi.h>

#include <memory>
#include <string>
#include <vector>

#include "bindings/objects.h"
#include "core/error.h"
#include "models/model.h"
#include "nn/conditions.h"

namespace ip2p {

/// Conditions as JavaScript gave them (`NativeConditions`), read on its thread: the tensors are on any device
/// in any type.
struct GivenConditions {
  Conditions conditions;
  std::vector<at::Tensor> input_ids;                  ///< of each text encoder that is trained
  std::shared_ptr<UNetCacheObject::Counted> counted;  ///< keeps the cache alive, and counts its memory
  std::shared_ptr<UNetCache> cache;

  /// On the model's device, floating-point conditions in the type in which it computes: for its thread.
  /// Checks what the text and sample_rows need for a sample of `rows`; a single row of text is expanded to
  /// them.
  Conditions prepared(const Model& model, int64_t rows) const;
};

/// The model behind a handle, if it is of this class; ERR_INVALID_ARGUMENT names the class otherwise.
template <class T>
std::shared_ptr<T> model_argument(const Napi::Value& value, const char* kind) {
  auto model = std::dynamic_pointer_cast<T>(ModelObject::get(value));
  if (!model) throw Error("ERR_INVALID_ARGUMENT", std::string("expected a ") + kind);
  return model;
}

/// [{ name, rows }], or null. ERR_INVALID_ARGUMENT for weights that are not finite.
std::vector<AdapterWeights> adapters_argument(const Napi::Value& value);

/// ERR_INVALID_ARGUMENT for adapters that are not beside the model's weights, and for weights that are
/// neither one nor `rows`.
void require_adapters(const std::vector<AdapterWeights>& adapters, const Model& model, int64_t rows);

/// Equal for equal adapters.
std::string description(const std::vector<AdapterWeights>& adapters);

/// ERR_INVALID_ARGUMENT names the member.
GivenConditions conditions_argument(const Napi::Value& value);

/// Inputs are brought to the model's device and, if they are floating point, to the type in which it
/// computes.
at::Tensor prepared(const at::Tensor& x, const Model& model);

/// A result of the model in its type.
at::Tensor rounded(const at::Tensor& result, const Model& model);

/// ERR_INVALID_ARGUMENT unless x has so many dimensions and is not empty.
void require_dims(const at::Tensor& x, int64_t dims, const char* name, const char* shape);

/// ERR_INVALID_ARGUMENT unless the ids are int64 [B,T] and in the vocabulary: on a CUDA device an index out
/// of range would take the whole context down with it.
void require_ids(const at::Tensor& ids, int64_t vocabulary);

}  // namespace ip2p
