#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <unordered_map>
#include <utility>

namespace ip2p {

/// What a UNet keeps from one denoising step to the next: keys and values of cross-attention, which depend on
/// the text only, and, where that is asked for, features of its deep levels. Belongs to one model, whose
/// weights do not change meanwhile.
class UNetCache {
 public:
  /// What the last up block was given; undefined: nothing.
  at::Tensor deep_features;

  using KeysValues = std::pair<at::Tensor, at::Tensor>;

  /// What is kept belongs to this model from now on; nothing, if it was another's.
  void belong_to(const std::shared_ptr<const void>& model) {
    if (model_.lock() != model) {
      entries_.clear();
      deep_features.reset();
    }
    model_ = model;
  }

  /// What `make` made for this layer and these embeddings the last time, or makes now.
  const KeysValues& get(const void* layer, const at::Tensor& embeddings,
                        const std::function<KeysValues()>& make) {
    Entry& entry = entries_[layer];
    const bool known = entry.embeddings.defined() && entry.embeddings.data_ptr() == embeddings.data_ptr() &&
                       entry.embeddings.sizes() == embeddings.sizes() &&
                       entry.embeddings.strides() == embeddings.strides() &&
                       entry.version == embeddings._version();
    if (!known) entry = {embeddings, embeddings._version(), make()};
    return entry.keys_values;
  }

 private:
  struct Entry {
    at::Tensor embeddings;  // held, so that nothing else can come to lie at its address
    int64_t version = 0;
    KeysValues keys_values;
  };
  std::weak_ptr<const void> model_;
  std::unordered_map<const void*, Entry> entries_;
};

/// What cross-attention relates a picture to.
struct TextCondition {
  at::Tensor embeddings;  ///< [R,T,D]
  /// int64 [R]: rows of the sample, if it has fewer than the text: rows that differ in their text alone are
  /// computed once until they meet it. Undefined: row i belongs to row i.
  at::Tensor sample_rows;
  UNetCache* cache = nullptr;

  /// x for every row of the text.
  at::Tensor for_every_row(const at::Tensor& x) const {
    return sample_rows.defined() && x.size(0) != embeddings.size(0) ? x.index_select(0, sample_rows) : x;
  }
};

}  // namespace ip2p
