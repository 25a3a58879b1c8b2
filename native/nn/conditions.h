#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <optional>

#include "nn/unet_cache.h"

namespace ip2p {

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

/// What resnets are told of the timestep.
struct TimeCondition {
  at::Tensor embedding;  ///< [B,D] or [1,D]; with `row` [N,D], of the cache's timesteps
  /// That of the one timestep of this pass.
  std::optional<int64_t> row;
  UNetCache* cache = nullptr;

  /// What a layer makes of the embedding, [B,C] or [1,C]: once for all of the cache's timesteps, if this is
  /// one of them.
  at::Tensor projected(const void* layer, const std::function<at::Tensor(const at::Tensor&)>& project) const {
    if (!row) return project(embedding);
    const auto project_all = [&] { return std::vector<at::Tensor>{project(embedding)}; };
    return cache->get(layer, embedding, project_all)[0].narrow(0, *row, 1);
  }
};

}  // namespace ip2p
