#include "nn/low_rank_adapter.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "core/error.h"
#include "core/utf8.h"
#include "nn/widened_product.h"

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

at::Tensor LowRankAdapter::linear(const at::Tensor& x) const {
  return linear_product(linear_product(dropped(x), factor_for(down, x)), factor_for(up, x));
}

at::Tensor LowRankAdapter::conv2d(const at::Tensor& x, Conv2dGeometry geometry) const {
  const at::Tensor inner = conv2d_product(dropped(x), factor_for(down, x), std::nullopt, geometry);
  return conv2d_product(inner, factor_for(up, x), std::nullopt, {1, 0});
}

at::Tensor LowRankAdapter::embedding(const at::Tensor& ids) const {
  return at::matmul(at::embedding(*up, ids), *down);
}

namespace {

using Product = std::function<at::Tensor(const LowRankAdapter&, const at::Tensor&)>;

/// Numbers as a tensor that multiplies the rows of y.
at::Tensor by_row(const std::vector<double>& numbers, const at::Tensor& y) {
  std::vector<int64_t> shape(static_cast<size_t>(y.dim()), 1);
  shape[0] = static_cast<int64_t>(numbers.size());
  return at::tensor(numbers, at::TensorOptions().dtype(at::kFloat)).to(y.options()).view(shape);
}

/// y with an adapter in those rows in which it counts; the others are left alone. Changes y.
at::Tensor plus_in_rows(const LowRankAdapter& adapter, const std::vector<double>& rows, const at::Tensor& x,
                        const at::Tensor& y, const Product& product) {
  std::vector<int64_t> counting;
  std::vector<double> factors;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i] == 0) continue;
    counting.push_back(static_cast<int64_t>(i));
    factors.push_back(rows[i] * adapter.scale);
  }
  const auto count = static_cast<int64_t>(counting.size());
  if (counting.back() - counting.front() + 1 == count) {
    const at::Tensor added = product(adapter, x.narrow(0, counting.front(), count)) * by_row(factors, y);
    y.narrow(0, counting.front(), count).add_(added);
    return y;
  }
  const at::Tensor index = at::tensor(counting, at::TensorOptions().dtype(at::kLong)).to(y.device());
  return y.index_add(0, index, product(adapter, x.index_select(0, index)) * by_row(factors, y));
}

at::Tensor with_adapters(const Parameter& weight, const at::Tensor& x, at::Tensor y, const Product& product) {
  for (const auto& adapter : weight.adapters()) {
    std::vector<double> rows = AdapterRows::of(*adapter, y.size(0));
    if (std::all_of(rows.begin(), rows.end(), [](double row) { return row == 0; })) continue;
    if (rows.size() == 1) {
      y = y + product(*adapter, x) * (adapter->scale * rows[0]);
    } else if (y.size(0) == 1) {
      for (double& row : rows) row *= adapter->scale;
      y = y + product(*adapter, x) * by_row(rows, y);
    } else {
      y = plus_in_rows(*adapter, rows, x, y, product);
    }
  }
  return y;
}

}  // namespace

at::Tensor with_adapters_linear(const Parameter& weight, const at::Tensor& x, at::Tensor y) {
  return with_adapters(weight, x, std::move(y), [](const LowRankAdapter& adapter, const at::Tensor& in) {
    return adapter.linear(in);
  });
}

at::Tensor with_adapters_conv2d(const Parameter& weight, const at::Tensor& x, Conv2dGeometry geometry,
                                at::Tensor y) {
  return with_adapters(weight, x, std::move(y), [&](const LowRankAdapter& adapter, const at::Tensor& in) {
    return adapter.conv2d(in, geometry);
  });
}

at::Tensor with_adapters_embedding(const Parameter& weight, const at::Tensor& ids, at::Tensor y) {
  return with_adapters(weight, ids, std::move(y), [](const LowRankAdapter& adapter, const at::Tensor& in) {
    return adapter.embedding(in);
  });
}

bool AdapterWeights::alike() const {
  return std::adjacent_find(rows.begin(), rows.end(), std::not_equal_to<>()) == rows.end();
}

AdapterRows::AdapterRows(std::vector<AdapterWeights> weights, const std::vector<int64_t>& sample_rows,
                         int64_t samples)
    : weights_(std::move(weights)), before_(current_rows) {
  for (AdapterWeights& each : weights_) {
    if (each.alike()) each.rows.resize(1);
    std::vector<double> sample = each.rows;
    if (each.rows.size() > 1 && !sample_rows.empty()) {
      sample.assign(static_cast<size_t>(samples), 0);
      for (size_t i = 0; i < sample_rows.size(); ++i)
        sample[static_cast<size_t>(sample_rows[i])] = each.rows[i];
    }
    by_sample_row_.push_back({each.name, sample});
  }
  current_rows = this;
}

AdapterRows::~AdapterRows() {
  current_rows = before_;
}

std::vector<double> AdapterRows::of(const LowRankAdapter& adapter, int64_t rows) {
  if (current_rows) {
    const auto& all = current_rows->weights_;
    for (size_t i = 0; i < all.size(); ++i) {
      if (all[i].name != adapter.name) continue;
      const std::vector<double>& by_row = all[i].rows;
      const std::vector<double>& by_sample_row = current_rows->by_sample_row_[i].rows;
      const auto fits = [&](size_t count) { return static_cast<int64_t>(count) == rows; };
      if (by_row.size() == 1 || rows == 1 || fits(by_row.size())) return by_row;
      if (fits(by_sample_row.size())) return by_sample_row;
      throw Error("ERR_INVALID_ARGUMENT", "the weights of the adapter " + in_quotes(adapter.name) +
                                              " are for " + std::to_string(by_row.size()) +
                                              " rows, but the batch has " + std::to_string(rows));
    }
  }
  return {adapter.by_row ? 0.0 : 1.0};
}

bool AdapterRows::differ() {
  if (!current_rows) return false;
  const auto& all = current_rows->weights_;
  return std::any_of(all.begin(), all.end(), [](const AdapterWeights& each) { return each.rows.size() > 1; });
}

}  // namespace ip2p
