#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <string>
#include <vector>

#include "core/safetensors.h"

namespace ip2p {

/// The element type of a tensor in a file; ERR_SAFETENSORS for a type without a libtorch equivalent.
c10::ScalarType scalar_type(const TensorInfo& info);
SafetensorsDtype safetensors_dtype(c10::ScalarType type);

/// Consecutive elements of a file's tensor, read as a parameter of another name and shape: files that other
/// software wrote name their tensors differently and fuse some of them.
struct TensorView {
  std::string source;
  std::string name;
  /// Of the elements as they lie in the file.
  std::vector<int64_t> shape;
  /// The first element.
  int64_t first = 0;
  /// Whether the parameter is the transpose, [shape[1],shape[0]].
  bool transposed = false;
};

/// A safetensors file whose tensors are read one by one, each straight from the file into its place.
class WeightFile {
 public:
  explicit WeightFile(const std::string& path);

  const std::vector<TensorInfo>& tensors() const { return file_.header().tensors; }
  const std::string& path() const { return path_; }
  const SafetensorsHeader& header() const { return file_.header(); }

  /// The entry that reads a view. ERR_STATE_DICT if the file has no such tensor, or too few elements.
  TensorInfo info_of(const TensorView& view) const;
  struct Read {
    /// A new tensor with the file's values, converted to `dtype` and moved to `device`.
    at::Tensor tensor;
    /// Whether its values are; true for what is not asked for.
    bool finite;
  };
  Read read(const TensorInfo& info, c10::ScalarType dtype, c10::Device device, bool look_if_finite) const;
  /// A new CPU tensor of the file's own type.
  at::Tensor read(const TensorInfo& info) const;

 private:
  /// ERR_SAFETENSORS with the path.
  c10::ScalarType type_of(const TensorInfo& info) const;

  std::string path_;
  SafetensorsFile file_;
};

}  // namespace ip2p
