#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <optional>

#include "nn/unet_cache.h"

namespace ip2p {

/// The text conditioning of cross-attention.
struct TextCondition {
  at::Tensor embeddings;  ///< [R,T,D]
  /// int64 [R]: for each row of text its row of the sample, if the sample has fewer rows: rows that differ
  /// only in their text are computed once until the first cross-attention. Undefined: one to one.
  at::Tensor sample_rows;
  UNetCache* cache = nullptr;

  /// Expands the rows of x to one per row of text.
  at::Tensor expand_rows(const at::Tensor& x) const {
    return sample_rows.defined() && x.size(0) != embeddings.size(0) ? x.index_select(0, sample_rows) : x;
  }
};

/// The timestep conditioning of resnets.
struct TimeCondition {
  at::Tensor embedding;  ///< [B,D] or [1,D]; with `row` [N,D], of the cache's timesteps
  /// The embedding of this pass's single timestep.
  std::optional<int64_t> row;
  UNetCache* cache = nullptr;

  /// A layer's projection of the embedding, [B,C] or [1,C]; computed once for all timesteps of the cache if
  /// this timestep is among them.
  at::Tensor projected(const void* layer, const std::function<at::Tensor(const at::Tensor&)>& project) const {
    if (!row) return project(embedding);
    const auto project_all = [&] { return std::vector<at::Tensor>{project(embedding)}; };
    return cache->get(layer, embedding, project_all)[0].narrow(0, *row, 1);
  }
};

}  // namespace ip2p
