#pragma once

#include <cstdint>
#include <string>

namespace ip2p {

/// The resampling filters of Pillow's `Image.resize`, by support in output pixels: nearest (none), box 0.5,
/// bilinear 1, Hamming 1, bicubic (a = -0.5) 2, Lanczos 3.
enum class ResampleFilter { kNearest, kBox, kBilinear, kHamming, kBicubic, kLanczos };

/// The filter of a lower-case name ("bicubic"). Throws std::invalid_argument for any other string.
ResampleFilter parse_resample_filter(const std::string& name);

/// Resizes an interleaved image (H·W·C bytes, 1 to 4 channels) exactly as Pillow 13 resizes 8-bit images.
///
/// Two separable passes, each rounding to 8 bits, so that their order matters; a pass that would change
/// nothing is skipped. The vertical pass runs first if the height shrinks by more than twice the pixels that
/// the width loses, else the horizontal one. The filter's support grows with the reduction (so it
/// antialiases), and its weights are normalised in double precision, then rounded to 22 fractional bits.
/// Channels are independent: alpha is not premultiplied.
///
/// With `reducing` the image is first reduced by whole factors to means of its pixels, as Pillow does for
/// `reducing_gap=1`.
///
/// `dst` holds out_height·out_width·channels bytes and must not overlap `src`. Throws std::invalid_argument
/// for sizes below 1 or another number of channels; std::bad_alloc or std::length_error if the intermediate
/// rows cannot be allocated.
void resize_u8(const uint8_t* src, int width, int height, int channels, uint8_t* dst, int out_width,
               int out_height, ResampleFilter filter, bool reducing = false);

}  // namespace ip2p
