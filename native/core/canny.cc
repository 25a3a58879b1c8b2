#include "core/canny.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "core/cancel.h"

namespace ip2p {
namespace {

constexpr uint8_t kNone = 0, kCandidate = 1, kEdge = 255;

/// The gradients of a row. Norms have one more at each end, which is zero.
struct GradientRow {
  explicit GradientRow(int width)
      : dx(static_cast<size_t>(width)),
        dy(static_cast<size_t>(width)),
        norm(static_cast<size_t>(width) + 2) {}

  std::vector<int> dx, dy, norm;
};

class Picture {
 public:
  Picture(const uint8_t* pixels, int width, int height, int channels)
      : pixels_(pixels), width_(width), height_(height), channels_(channels) {}

  /// Sobel's derivatives of row y, where the image's border is repeated; zeros for rows outside.
  void gradient(int y, bool l2, GradientRow& row) const {
    std::fill(row.norm.begin(), row.norm.end(), 0);
    if (y < 0 || y >= height_) return;
    const uint8_t *above = line(std::max(y - 1, 0)), *here = line(y),
                  *below = line(std::min(y + 1, height_ - 1));
    for (int x = 0; x < width_; ++x) {
      const int left = std::max(x - 1, 0) * channels_, middle = x * channels_,
                right = std::min(x + 1, width_ - 1) * channels_;
      int largest = -1;
      for (int c = 0; c < channels_; ++c) {
        const int l = left + c, m = middle + c, r = right + c;
        const int dx = above[r] - above[l] + 2 * (here[r] - here[l]) + below[r] - below[l];
        const int dy = below[l] - above[l] + 2 * (below[m] - above[m]) + below[r] - above[r];
        const int norm = l2 ? dx * dx + dy * dy : std::abs(dx) + std::abs(dy);
        if (norm <= largest) continue;
        largest = norm;
        row.dx[static_cast<size_t>(x)] = dx;
        row.dy[static_cast<size_t>(x)] = dy;
        row.norm[static_cast<size_t>(x) + 1] = norm;
      }
    }
  }

 private:
  const uint8_t* line(int y) const { return pixels_ + static_cast<size_t>(y) * width_ * channels_; }

  const uint8_t* pixels_;
  int width_, height_, channels_;
};

/// Whether a pixel's norm is the largest across the edge, in one of four directions.
bool is_ridge(const GradientRow& above, const GradientRow& here, const GradientRow& below, size_t x) {
  constexpr int kTan22 = 13573;  // tan(22.5°) · 2¹⁵
  const size_t i = x + 1;        // of norms
  const int norm = here.norm[i], dx = here.dx[x], dy = here.dy[x];
  const int ax = std::abs(dx), ay = std::abs(dy) << 15, tan22 = ax * kTan22;
  if (ay < tan22) return norm > here.norm[i - 1] && norm >= here.norm[i + 1];
  if (ay > tan22 + (ax << 16)) return norm > above.norm[i] && norm >= below.norm[i];  // tan(67.5°)
  const bool falls = (dx ^ dy) < 0;
  return norm > above.norm[falls ? i + 1 : i - 1] && norm > below.norm[falls ? i - 1 : i + 1];
}

int threshold(double value, bool l2) {
  if (l2) {
    value = std::min(32767.0, value);
    if (value > 0) value *= value;
  }
  constexpr double kLowest = std::numeric_limits<int>::min(), kHighest = std::numeric_limits<int>::max();
  return static_cast<int>(std::clamp(std::floor(value), kLowest, kHighest));
}

}  // namespace

std::vector<uint8_t> canny_edges(const uint8_t* pixels, int width, int height, int channels,
                                 const CannyOptions& options) {
  const int low = threshold(std::min(options.low, options.high), options.l2_gradient);
  const int high = threshold(std::max(options.low, options.high), options.l2_gradient);
  const Picture picture(pixels, width, height, channels);
  std::vector<uint8_t> marks(static_cast<size_t>(width) * height, kNone);
  std::vector<size_t> edges;  // whose neighbours are to be visited

  std::vector<GradientRow> rows(3, GradientRow(width));  // of y - 1, y and y + 1, by their remainders
  const auto row = [&](int y) -> GradientRow& { return rows[static_cast<size_t>(y + 3) % 3]; };
  picture.gradient(-1, options.l2_gradient, row(-1));
  picture.gradient(0, options.l2_gradient, row(0));
  for (int y = 0; y < height; ++y) {
    check_cancelled();
    picture.gradient(y + 1, options.l2_gradient, row(y + 1));
    for (int x = 0; x < width; ++x) {
      const auto column = static_cast<size_t>(x);
      const int norm = row(y).norm[column + 1];
      if (norm <= low || !is_ridge(row(y - 1), row(y), row(y + 1), column)) continue;
      const size_t at = static_cast<size_t>(y) * width + column;
      marks[at] = norm > high ? kEdge : kCandidate;
      if (norm > high) edges.push_back(at);
    }
  }

  while (!edges.empty()) {
    const size_t at = edges.back();
    edges.pop_back();
    const int y = static_cast<int>(at / static_cast<size_t>(width)),
              x = static_cast<int>(at % static_cast<size_t>(width));
    for (int ny = std::max(y - 1, 0); ny <= std::min(y + 1, height - 1); ++ny)
      for (int nx = std::max(x - 1, 0); nx <= std::min(x + 1, width - 1); ++nx) {
        const size_t neighbour = static_cast<size_t>(ny) * width + static_cast<size_t>(nx);
        if (marks[neighbour] != kCandidate) continue;
        marks[neighbour] = kEdge;
        edges.push_back(neighbour);
      }
  }
  std::replace(marks.begin(), marks.end(), kCandidate, kNone);
  return marks;
}

}  // namespace ip2p
