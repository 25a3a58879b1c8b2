#include <ATen/ops/from_blob.h>
#include <ATen/ops/upsample_nearest2d.h>

#include <array>

#include "bindings/convert.h"
#include "bindings/objects.h"
#include "bindings/register.h"
#include "core/canny.h"
#include "core/error.h"
#include "core/resample.h"

namespace ip2p {
namespace {

using Info = Napi::CallbackInfo;

constexpr int64_t kMaxEdge = 1 << 20;
constexpr int64_t kMaxChannels = 4;

int edge_argument(const Napi::Value& value, const char* name) {
  const int64_t edge = integer_argument(value, name);
  if (edge < 1 || edge > kMaxEdge)
    throw Error("ERR_INVALID_ARGUMENT", std::string(name) + " must lie in 1.." + std::to_string(kMaxEdge));
  return static_cast<int>(edge);
}

/// A copy of the bytes, made here on the JavaScript thread (half a millisecond for each megapixel). A
/// reference would keep the typed array alive, but not its memory: JavaScript may transfer the buffer to
/// another thread or shrink it while the job reads, and N-API cannot pin the backing store.
at::Tensor bytes_argument(const Napi::Value& value, int64_t height, int64_t width, int64_t channels) {
  return from_typed_array(value, at::kByte, {height, width, channels});
}

/// resize(data, width, height, channels, outWidth, outHeight, filter, reducing): HWC bytes of the new size
Napi::Value resize(const Info& info) {
  const int width = edge_argument(info[1], "width"), height = edge_argument(info[2], "height");
  const int64_t channels = integer_argument(info[3], "channels");
  if (channels < 1 || channels > kMaxChannels)
    throw Error("ERR_INVALID_ARGUMENT", "channels must lie in 1.." + std::to_string(kMaxChannels));
  const int out_width = edge_argument(info[4], "outWidth"), out_height = edge_argument(info[5], "outHeight");
  const ResampleFilter filter = parse_resample_filter(string_argument(info[6], "filter"));
  const bool reducing = bool_argument(info[7], "reducing");
  const at::Tensor source = bytes_argument(info[0], height, width, channels);
  return Environment::of(info.Env()).submit(JobQueue::io(), nullptr, [=]() -> Finish {
    at::Tensor target = at::empty({out_height, out_width, channels}, at::TensorOptions().dtype(at::kByte));
    resize_u8(source.const_data_ptr<uint8_t>(), width, height, static_cast<int>(channels),
              target.mutable_data_ptr<uint8_t>(), out_width, out_height, filter, reducing);
    return [target](Napi::Env js) { return to_typed_array(js, target); };
  });
}

/// cannyEdges(rgb, width, height, low, high, l2Gradient, cancel): RGB bytes, white on edges, else black
Napi::Value canny(const Info& info) {
  const int width = edge_argument(info[1], "width"), height = edge_argument(info[2], "height");
  const CannyOptions options{number_argument(info[3], "low"), number_argument(info[4], "high"),
                             bool_argument(info[5], "l2Gradient")};
  const at::Tensor rgb = bytes_argument(info[0], height, width, 3);
  return Environment::of(info.Env())
      .submit(JobQueue::io(), CancelObject::get_optional(info[6]), [=]() -> Finish {
        std::vector<uint8_t> edges = canny_edges(rgb.const_data_ptr<uint8_t>(), width, height, 3, options);
        const at::Tensor grey =
            at::from_blob(edges.data(), {height, width, 1}, at::TensorOptions().dtype(at::kByte));
        const at::Tensor target = grey.expand({height, width, 3}).contiguous();
        return [target](Napi::Env js) { return to_typed_array(js, target); };
      });
}

/// resizeNearest(x, height, width): [B,C,H,W] to the nearest neighbour
Napi::Value resize_nearest(const Info& info) {
  const at::Tensor x = TensorObject::get(info[0]);
  const int height = edge_argument(info[1], "height"), width = edge_argument(info[2], "width");
  return submit_tensor(info.Env(), x.device(), [=] {
    return at::upsample_nearest2d(x, std::array<int64_t, 2>{height, width});
  });
}

/// pictureToTensor(rgb, width, height): float32 [1,3,H,W] in 0..1
Napi::Value picture_to_tensor(const Info& info) {
  const int width = edge_argument(info[1], "width"), height = edge_argument(info[2], "height");
  const at::Tensor rgb = bytes_argument(info[0], height, width, 3);
  return submit_tensor(info.Env(), c10::kCPU, [=] {
    return rgb.permute({2, 0, 1}).unsqueeze(0).to(at::kFloat).contiguous() / 255.0;
  });
}

/// picturesToTensor(rgb, count, height, width, flips): float32 [count,3,H,W] in -1..1 from count consecutive
/// images; flagged ones are mirrored left to right. 2·x/255 − 1, in this order, as diffusers' script
/// computes it.
Napi::Value pictures_to_tensor(const Info& info) {
  const int64_t count = integer_argument(info[1], "count");
  const int height = edge_argument(info[2], "height"), width = edge_argument(info[3], "width");
  if (count < 1) throw Error("ERR_INVALID_ARGUMENT", "there are no images");
  std::vector<double> flips = numbers_argument(info[4], "flips");
  if (static_cast<int64_t>(flips.size()) != count)
    throw Error("ERR_INVALID_ARGUMENT", "there must be one flip for each image");
  const at::Tensor rgb = from_typed_array(info[0], at::kByte, {count, height, width, 3});
  return submit_tensor(info.Env(), c10::kCPU, [=] {
    const at::Tensor unit = rgb.permute({0, 3, 1, 2}).to(at::kFloat).contiguous() / 255.0;
    const at::Tensor pictures = unit * 2 - 1;
    for (int64_t b = 0; b < count; ++b)
      if (flips[b] != 0) pictures[b].copy_(pictures[b].flip({2}));
    return pictures;
  });
}

/// tensorToPictures(tensor): for [B,3,H,W] (or [B,1,H,W]) in 0..1, B times the RGB bytes, rounded half to
/// even
Napi::Value tensor_to_pictures(const Info& info) {
  const at::Tensor tensor = TensorObject::get(info[0]);
  return submit(info.Env(), tensor.device(), [=]() -> Finish {
    if (tensor.dim() != 4 || (tensor.size(1) != 3 && tensor.size(1) != 1))
      throw Error("ERR_INVALID_ARGUMENT", "images are made from a tensor [B,3,H,W] or [B,1,H,W]");
    const at::Tensor bytes =
        (tensor.to(at::kFloat).clamp(0, 1) * 255.0).round().to(at::kByte).expand({-1, 3, -1, -1});
    const at::Tensor hwc = bytes.permute({0, 2, 3, 1}).to(at::kCPU).contiguous();
    std::vector<at::Tensor> pictures;
    for (int64_t b = 0; b < hwc.size(0); ++b) pictures.push_back(hwc.select(0, b).clone());
    return [pictures](Napi::Env js) -> Napi::Value {
      Napi::Array result = Napi::Array::New(js, pictures.size());
      for (size_t i = 0; i < pictures.size(); ++i)
        result.Set(static_cast<uint32_t>(i), to_typed_array(js, pictures[i]));
      return result;
    };
  });
}

}  // namespace

void register_pictures(Napi::Env env, Napi::Object exports) {
  export_function<resize>(env, exports, "resize");
  export_function<canny>(env, exports, "cannyEdges");
  export_function<resize_nearest>(env, exports, "resizeNearest");
  export_function<picture_to_tensor>(env, exports, "pictureToTensor");
  export_function<pictures_to_tensor>(env, exports, "picturesToTensor");
  export_function<tensor_to_pictures>(env, exports, "tensorToPictures");
}

}  // namespace ip2p
