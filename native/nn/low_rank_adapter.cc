#include "nn/low_rank_adapter.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>

#include "core/error.h"

namespace ip2p {
namespace {

thread_local const AdapterRows* current_rows = nullptr;

/// SplitMix64 (Steele et al. 2014): neighbouring numbers give unrelated ones.
uint64_t mixed(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

uint64_t seed_of(const DropoutDraw& draw, uint64_t place) {
  return mixed(mixed(mixed(mixed(draw.seed) ^ draw.step) ^ draw.micro_step) ^ place);
}

/// The factor in the type of the layer's input, unless autocast or training decides on it.
at::Tensor factor_for(const Parameter& factor, const at::Tensor& x) {
  const at::Tensor& plain = *factor;
  if (plain.requires_grad()) return plain;
  return plain.to(x.options());
}

}  // namespace

at::Tensor LowRankAdapter::dropped(const at::Tensor& x) const {
  if (dropout == 0 || !draw || !draw->active) return x;
  // On the CPU wherever x is, so that the masks are the same on every device.
  at::Generator generator = at::detail::createCPUGenerator(seed_of(*draw, place));
  const at::Tensor kept = at::empty(x.sizes(), at::kFloat).bernoulli_(1 - dropout, generator);
  return x * (kept / (1 - dropout)).to(x.options());
}

at::Tensor LowRankAdapter::scaled(const at::Tensor& y) const {
  const at::Tensor rows = AdapterRows::of(name);
  if (!rows.defined()) return y * scale;
  if (rows.size(0) != y.size(0))
    throw Error("ERR_INVALID_ARGUMENT", "the adapters' weights are for " + std::to_string(rows.size(0)) +
                                            " rows, but the batch has " + std::to_string(y.size(0)));
  std::vector<int64_t> shape(y.dim(), 1);
  shape[0] = y.size(0);
  return y * (rows * scale).to(y.options()).view(shape);
}

at::Tensor LowRankAdapter::linear(const at::Tensor& x) const {
  return scaled(at::linear(at::linear(dropped(x), factor_for(down, x)), factor_for(up, x)));
}

at::Tensor LowRankAdapter::conv2d(const at::Tensor& x, Conv2dGeometry geometry) const {
  const at::Tensor inner =
      at::conv2d(dropped(x), factor_for(down, x), std::nullopt, geometry.stride, geometry.padding);
  return scaled(at::conv2d(inner, factor_for(up, x)));
}

at::Tensor with_adapters_linear(const Parameter& weight, const at::Tensor& x, at::Tensor y) {
  for (const auto& adapter : weight.adapters()) y = y + adapter->linear(x);
  return y;
}

at::Tensor with_adapters_conv2d(const Parameter& weight, const at::Tensor& x, Conv2dGeometry geometry,
                                at::Tensor y) {
  for (const auto& adapter : weight.adapters()) y = y + adapter->conv2d(x, geometry);
  return y;
}

AdapterRows::AdapterRows(std::vector<std::pair<std::string, at::Tensor>> weights)
    : weights_(std::move(weights)), before_(current_rows) {
  current_rows = this;
}

AdapterRows::~AdapterRows() {
  current_rows = before_;
}

at::Tensor AdapterRows::of(const std::string& name) {
  if (current_rows)
    for (const auto& [adapter, rows] : current_rows->weights_)
      if (adapter == name) return rows;
  return {};
}

}  // namespace ip2p
