#include "models/blocks/segments.h"

#include "nn/gradient_checkpointing.h"

namespace ip2p {
namespace {

template <class Resnet>
at::Tensor run_resnet(const Resnet& resnet, const at::Tensor& x, const TimeCondition& time) {
  return recomputed(
      [&resnet, row = time.row, cache = time.cache](const at::Tensor& in, const at::Tensor& embedding) {
        return resnet.forward(in, {embedding, row, cache, {}});
      },
      x, time.of_rows(x.size(0)));
}

}  // namespace

at::Tensor run(const ResnetBlock2D& resnet, const at::Tensor& x, const TimeCondition& time) {
  return run_resnet(resnet, x, time);
}

at::Tensor run(const ResnetBlockCondNorm2D& resnet, const at::Tensor& x, const TimeCondition& time) {
  return run_resnet(resnet, x, time);
}

at::Tensor run(const AddedKVAttention& attention, const at::Tensor& x, const TextCondition& text) {
  return recomputed(
      [&attention, text](const at::Tensor& in, const at::Tensor& embeddings) {
        return attention.forward(in, {embeddings, text.sample_rows, text.cache});
      },
      x, text.embeddings);
}

at::Tensor run(const Transformer2DModel& transformer, const at::Tensor& x, const TextCondition& text) {
  return recomputed(
      [&transformer, text](const at::Tensor& in, const at::Tensor& embeddings) {
        return transformer.forward(in, {embeddings, text.sample_rows, text.cache});
      },
      x, text.embeddings);
}

}  // namespace ip2p
