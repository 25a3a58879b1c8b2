#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <optional>
#include <vector>

#include "nn/low_rank_adapter.h"
#include "nn/unet_cache.h"

namespace ip2p {

/// Whether a pass keeps or reuses the deep levels' features in the cache.
enum class DeepFeatures { Forget, Keep, Reuse };

/// What a ControlNet adds to the feature maps of a UNet: one map for each skip, in the order of the encoder
/// half, and one for the output of the middle. All have one row, or one per row of text.
struct Residuals {
  std::vector<at::Tensor> down;
  at::Tensor mid;

  bool defined() const { return mid.defined() || !down.empty(); }
};

/// Everything beside the sample and its timesteps that a pass through a denoising network depends on. What is
/// not given is undefined. Conditions other than the text have one row, or one per row of text.
struct Conditions {
  at::Tensor embeddings;     ///< the text, [R,T,D]; undefined for a model that derives it from image_embeds
  at::Tensor text_embeds;    ///< pooled text, [R,E], for addition_embed_type "text_time"
  at::Tensor time_ids;       ///< sizes and crops, [R,K], for the same
  at::Tensor image_embeds;   ///< [R,E]
  at::Tensor class_labels;   ///< [R], or [R,E] for a projected class embedding
  at::Tensor timestep_cond;  ///< added to the timesteps' embedding, [R,time_cond_proj_dim]
  Residuals residuals;

  /// For each row of text its row of the sample, where the sample has fewer rows. Empty: one to one.
  std::vector<int64_t> sample_rows;
  /// Of adapters beside the weights, by the rows of the text: those that share a row of the sample have the
  /// same.
  std::vector<AdapterWeights> adapters;
  UNetCache* cache = nullptr;
  DeepFeatures deep_features = DeepFeatures::Forget;

  /// Rows of the condition, and of the result.
  int64_t rows() const { return embeddings.defined() ? embeddings.size(0) : image_embeds.size(0); }
};

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
  at::Tensor embedding;  ///< [R,D] or [1,D]; with `row` [N,D], of the cache's timesteps
  /// The embedding of this pass's single timestep.
  std::optional<int64_t> row;
  UNetCache* cache = nullptr;
  /// The embeddings of the sample's rows, where it has fewer rows than the text and the embeddings differ.
  at::Tensor by_sample_row;

  /// The embeddings that belong to a feature map of so many rows.
  const at::Tensor& of_rows(int64_t rows) const {
    return by_sample_row.defined() && by_sample_row.size(0) == rows ? by_sample_row : embedding;
  }

  /// A layer's projection of the embedding, [R,C] or [1,C]; computed once for all timesteps of the cache if
  /// this timestep is among them.
  at::Tensor projected(const void* layer, const std::function<at::Tensor(const at::Tensor&)>& project) const {
    if (!row) return project(embedding);
    const auto project_all = [&] { return std::vector<at::Tensor>{project(embedding)}; };
    return cache->get(layer, embedding, project_all)[0].narrow(0, *row, 1);
  }
};

}  // namespace ip2p
