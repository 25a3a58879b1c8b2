#include "nn/image_embeddings.h"

namespace ip2p {
namespace {

constexpr int64_t kTokens = 32;  // not in any configuration
constexpr double kNormEps = 1e-5;

}  // namespace

ImageProjection::ImageProjection(int64_t embedding_dim, int64_t context_dim)
    : image_embeds_(embedding_dim, kTokens * context_dim), norm_(context_dim, kNormEps) {
  add_child("image_embeds", image_embeds_);
  add_child("norm", norm_);
}

at::Tensor ImageProjection::forward(const at::Tensor& embeddings) const {
  return norm_.forward(image_embeds_.forward(embeddings).reshape({embeddings.size(0), kTokens, -1}));
}

ImageTimeEmbedding::ImageTimeEmbedding(int64_t embedding_dim, int64_t time_dim)
    : image_proj_(embedding_dim, time_dim), image_norm_(time_dim, kNormEps) {
  add_child("image_proj", image_proj_);
  add_child("image_norm", image_norm_);
}

at::Tensor ImageTimeEmbedding::forward(const at::Tensor& embeddings) const {
  return image_norm_.forward(image_proj_.forward(embeddings));
}

}  // namespace ip2p
