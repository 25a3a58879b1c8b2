#pragma once

#include <cstdint>
#include <vector>

namespace ip2p {

/// Thresholds on the gradient, and how it is measured.
struct CannyOptions {
  double low,
      high;  ///< edges have more than `high` somewhere, and more than `low` all along; in either order
  bool l2_gradient;  ///< √(dx² + dy²) instead of |dx| + |dy|
};

/// Canny's edges (Canny 1986, "A Computational Approach to Edge Detection"), the same pixels as OpenCV's with
/// a Sobel kernel of 3×3: of several channels the one with the largest gradient counts.
///
/// @param pixels interleaved, rows from top to bottom
/// @returns one byte for each pixel: 255 on edges, else 0
std::vector<uint8_t> canny_edges(const uint8_t* pixels, int width, int height, int channels,
                                 const CannyOptions& options);

}  // namespace ip2p
