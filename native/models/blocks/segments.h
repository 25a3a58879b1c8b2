#pragma once

#include "nn/ada_group_norm.h"
#include "nn/added_kv_attention.h"
#include "nn/resnet.h"
#include "nn/transformer.h"

namespace ip2p {

// The segments of gradient checkpointing that blocks are made of: a resnet, a transformer.
at::Tensor run(const ResnetBlock2D& resnet, const at::Tensor& x, const TimeCondition& time);
at::Tensor run(const ResnetBlockCondNorm2D& resnet, const at::Tensor& x, const TimeCondition& time);
at::Tensor run(const AddedKVAttention& attention, const at::Tensor& x, const TextCondition& text);
at::Tensor run(const Transformer2DModel& transformer, const at::Tensor& x, const TextCondition& text);

}  // namespace ip2p
