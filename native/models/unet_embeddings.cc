#include "models/unet_embeddings.h"

#include <ATen/ops/cat.h>

#include <algorithm>

#include "core/error.h"

namespace ip2p {
namespace {

constexpr const char* kAddedAct = "silu";  // whatever act_fn says

[[noreturn]] void refuse(const std::string& problem) {
  throw Error("ERR_INVALID_ARGUMENT", problem);
}

void require(bool has, const at::Tensor& given, const std::string& name, const std::string& key) {
  if (has && !given.defined()) refuse(name + " is missing: this model needs it (" + key + ")");
  if (!has && given.defined()) refuse(name + " is given, but this model has no use for it (" + key + ")");
}

/// @param width 0: any
void require_shape(const at::Tensor& given, const std::string& name, int64_t rows, int64_t width) {
  const std::string columns = width > 0 ? std::to_string(width) : "N";
  if (given.dim() != 2 || (width > 0 && given.size(1) != width) || given.numel() == 0)
    refuse(name + " must be [" + std::to_string(rows) + "," + columns + "]");
  if (given.size(0) != rows && given.size(0) != 1)
    refuse(name + " has " + std::to_string(given.size(0)) + " rows for a batch of " + std::to_string(rows));
}

}  // namespace

UNetEmbeddings::UNetEmbeddings(const UNetEncoderConfig& config)
    : channels_(config.fourier_time_embedding ? config.time_embedding_dim
                                              : config.block_out_channels.front()),
      dim_(config.time_embedding_dim),
      flip_sin_to_cos_(config.flip_sin_to_cos),
      freq_shift_(config.freq_shift),
      class_type_(config.class_embed_type.empty() && config.num_class_embeds > 0 ? "table"
                                                                                 : config.class_embed_type),
      addition_type_(config.addition_embed_type),
      classes_(config.num_class_embeds),
      condition_dim_(config.time_cond_proj_dim),
      image_dim_(config.encoder_hid_dim),
      addition_time_dim_(config.addition_time_embed_dim),
      projection_dim_(config.projection_class_embeddings_input_dim),
      time_embedding_(channels_, dim_, config.act_fn, condition_dim_, config.timestep_post_act) {
  const bool projects =
      class_type_ == "projection" || class_type_ == "simple_projection" || addition_type_ == "text_time";
  if (projects && projection_dim_ <= 0)
    throw Error("ERR_CONFIG", "\"projection_class_embeddings_input_dim\" is missing");

  if (config.fourier_time_embedding) {
    time_proj_ = std::make_unique<FourierProjection>(channels_);
    add_child("time_proj", *time_proj_);
  }
  if ((addition_type_ == "image" || !config.encoder_hid_dim_type.empty()) && image_dim_ <= 0)
    throw Error("ERR_CONFIG", "\"encoder_hid_dim\" is missing");
  add_child("time_embedding", time_embedding_);
  if (config.encoder_hid_dim_type == "image_proj") {
    image_projection_ = std::make_unique<ImageProjection>(image_dim_, config.cross_attention_dim.front());
    add_child("encoder_hid_proj", *image_projection_);
  } else if (!config.encoder_hid_dim_type.empty()) {
    throw Error("ERR_CONFIG", "\"encoder_hid_dim_type\" is \"" + config.encoder_hid_dim_type +
                                  "\", which is not supported");
  }
  if (class_type_ == "table") {
    class_table_ = std::make_unique<Embedding>(classes_, dim_);
    add_child("class_embedding", *class_table_);
  } else if (class_type_ == "timestep") {
    class_layers_ = std::make_unique<TimestepEmbedding>(channels_, dim_, config.class_act_fn);
    add_child("class_embedding", *class_layers_);
  } else if (class_type_ == "projection") {
    class_layers_ = std::make_unique<TimestepEmbedding>(projection_dim_, dim_, kAddedAct);
    add_child("class_embedding", *class_layers_);
  } else if (class_type_ == "simple_projection") {
    class_projection_ = std::make_unique<Linear>(projection_dim_, dim_);
    add_child("class_embedding", *class_projection_);
  } else if (!class_type_.empty() && class_type_ != "identity") {
    throw Error("ERR_CONFIG", "\"class_embed_type\" is \"" + class_type_ + "\", which is not supported");
  }
  if (addition_type_ == "text_time") {
    if (addition_time_dim_ <= 0) throw Error("ERR_CONFIG", "\"addition_time_embed_dim\" is missing");
    add_embedding_ = std::make_unique<TimestepEmbedding>(projection_dim_, dim_, kAddedAct);
    add_child("add_embedding", *add_embedding_);
  } else if (addition_type_ == "image") {
    add_image_ = std::make_unique<ImageTimeEmbedding>(image_dim_, dim_);
    add_child("add_embedding", *add_image_);
  } else if (!addition_type_.empty()) {
    throw Error("ERR_CONFIG",
                "\"addition_embed_type\" is \"" + addition_type_ + "\", which is not supported");
  }
}

void UNetEmbeddings::check_class(const at::Tensor& labels, int64_t rows) const {
  if (class_type_ != "table" && class_type_ != "timestep") {
    require_shape(labels, "classLabels", rows, class_type_ == "identity" ? dim_ : projection_dim_);
    return;
  }
  if (labels.dim() != 1 || (labels.size(0) != rows && labels.size(0) != 1))
    refuse("classLabels must be numbers, [" + std::to_string(rows) + "]");
  if (class_type_ != "table") return;
  if (!at::isIntegralType(labels.scalar_type(), false)) refuse("classLabels must be whole numbers, as int64");
  // On a CUDA device an index out of range would take the whole context down with it.
  const auto low = labels.min().item<int64_t>(), high = labels.max().item<int64_t>();
  if (low < 0 || high >= classes_)
    refuse("classLabels holds " + std::to_string(low < 0 ? low : high) + ", which is not in 0.." +
           std::to_string(classes_ - 1));
}

void UNetEmbeddings::check(const Conditions& given, int64_t rows) const {
  const bool text_time = addition_type_ == "text_time";
  const std::string addition =
      addition_type_.empty() ? "addition_embed_type null" : "addition_embed_type \"" + addition_type_ + "\"";
  require(text_time, given.text_embeds, "textEmbeds", addition);
  require(text_time, given.time_ids, "timeIds", addition);
  require(add_image_ || image_projection_, given.image_embeds, "imageEmbeds",
          image_projection_ ? "encoder_hid_dim_type \"image_proj\"" : addition);
  require(!image_projection_, given.embeddings, "encoderHiddenStates",
          image_projection_ ? "encoder_hid_dim_type \"image_proj\"" : "encoder_hid_dim_type null");
  if (given.image_embeds.defined()) require_shape(given.image_embeds, "imageEmbeds", rows, image_dim_);
  require(!class_type_.empty(), given.class_labels, "classLabels",
          class_type_ == "table" ? "num_class_embeds"
          : class_type_.empty()  ? "class_embed_type null"
                                 : "class_embed_type \"" + class_type_ + "\"");
  if (given.timestep_cond.defined()) {
    require(condition_dim_ > 0, given.timestep_cond, "timestepCond", "time_cond_proj_dim");
    require_shape(given.timestep_cond, "timestepCond", rows, condition_dim_);
  }
  if (given.class_labels.defined()) check_class(given.class_labels, rows);
  if (!text_time) return;
  require_shape(given.text_embeds, "textEmbeds", rows, 0);
  require_shape(given.time_ids, "timeIds", rows, 0);
  const int64_t width = given.text_embeds.size(1) + given.time_ids.size(1) * addition_time_dim_;
  if (width != projection_dim_)
    refuse("textEmbeds of width " + std::to_string(given.text_embeds.size(1)) + " and " +
           std::to_string(given.time_ids.size(1)) + " timeIds make " + std::to_string(width) +
           " numbers, but the model takes " + std::to_string(projection_dim_) +
           " (projection_class_embeddings_input_dim)");
}

at::Tensor UNetEmbeddings::sinusoid(const at::Tensor& numbers, int64_t channels) const {
  return timestep_embedding(numbers, channels, flip_sin_to_cos_, freq_shift_);
}

at::Tensor UNetEmbeddings::projected(const at::Tensor& numbers) const {
  return time_proj_ ? time_proj_->forward(numbers, flip_sin_to_cos_) : sinusoid(numbers, channels_);
}

TimeCondition UNetEmbeddings::of_timesteps(const at::Tensor& timesteps, const at::Tensor& sample,
                                           const Conditions& conditions) const {
  UNetCache* const cache = conditions.cache;
  const auto embed = [&](const at::Tensor& t) {
    return time_embedding_.forward(projected(t.to(sample.device())).to(sample.scalar_type()),
                                   conditions.timestep_cond);
  };
  // The layers of the timestep may have adapters, which count differently in the rows.
  if (AdapterRows::differ()) return {embed(timesteps.expand({conditions.rows()})), std::nullopt, cache, {}};
  if (cache && timesteps.numel() == 1 && !conditions.timestep_cond.defined()) {
    const auto embed_all = [&] { return std::vector<at::Tensor>{embed(cache->timesteps())}; };
    if (const auto row = cache->row_of(timesteps.item<double>()))
      return {cache->get(&time_embedding_, cache->timesteps(), embed_all)[0], row, cache, {}};
  }
  return {embed(timesteps), std::nullopt, cache, {}};
}

at::Tensor UNetEmbeddings::of_class(const at::Tensor& labels, c10::ScalarType dtype) const {
  if (class_table_) return class_table_->forward(labels.to(at::kLong)).to(dtype);
  if (class_type_ == "timestep") return class_layers_->forward(projected(labels).to(dtype)).to(dtype);
  const at::Tensor values = labels.to(dtype);
  if (class_layers_) return class_layers_->forward(values).to(dtype);
  return class_projection_ ? class_projection_->forward(values).to(dtype) : values;
}

at::Tensor UNetEmbeddings::of_text_and_time(const at::Tensor& text_embeds, const at::Tensor& time_ids,
                                            c10::ScalarType dtype) const {
  const int64_t rows = std::max(text_embeds.size(0), time_ids.size(0));
  const at::Tensor times = sinusoid(time_ids.flatten(), addition_time_dim_).reshape({time_ids.size(0), -1});
  const at::Tensor both = at::cat({text_embeds.expand({rows, -1}), times.expand({rows, -1})}, -1);
  return add_embedding_->forward(both.to(dtype));
}

at::Tensor UNetEmbeddings::context(const Conditions& conditions) const {
  if (!image_projection_) return conditions.embeddings;
  const at::Tensor& embeds = conditions.image_embeds;
  const auto project = [&] { return std::vector<at::Tensor>{image_projection_->forward(embeds)}; };
  // Cached, so that it stays the same tensor from pass to pass, which is what the caches of keys and values
  // ask.
  return conditions.cache ? conditions.cache->get(image_projection_.get(), embeds, project)[0] : project()[0];
}

TimeCondition UNetEmbeddings::forward(const at::Tensor& timesteps, const at::Tensor& sample,
                                      const Conditions& conditions) const {
  TimeCondition time = of_timesteps(timesteps, sample, conditions);
  if (class_type_.empty() && addition_type_.empty()) return time;
  at::Tensor sum = time.row ? time.embedding.narrow(0, *time.row, 1) : time.embedding;
  if (!class_type_.empty()) sum = sum + of_class(conditions.class_labels, sample.scalar_type());
  if (add_image_) sum = sum + add_image_->forward(conditions.image_embeds);
  if (add_embedding_)
    sum = sum + of_text_and_time(conditions.text_embeds, conditions.time_ids, sum.scalar_type());
  return {sum, std::nullopt, conditions.cache, {}};
}

}  // namespace ip2p
