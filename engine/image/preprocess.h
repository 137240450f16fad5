// From a picture to what a network expects, and back: fitting the size, channel order, scale and offset.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/image/decode.h"
#include "engine/image/resize.h"

namespace actmatch {

// How a picture gets the network's size.
enum class FitMode {
  kShortSide,  // resize until the size times `resize_ratio` is just covered, then cut out the centre
  kStretch,    // resize to the size, whatever happens to the proportions
  kNone,       // the picture must have the size already
};

struct Preprocess {
  std::string name;               // the preset's or the file's; for messages and records
  bool bgr = false;               // the network's first channel is blue
  bool grey = false;              // a network of one brightness channel
  std::array<float, 3> scale{};   // network value = pixel (0..255) * scale + offset, in the network's channel order;
  std::array<float, 3> offset{};  // a grey network uses the first of each
  FitMode fit = FitMode::kShortSide;
  double resize_ratio = 256.0 / 224.0;  // 1..4
  int short_side = 0;                   // > 0: resize the short side to this many pixels instead of by resize_ratio
  Interpolation interpolation = Interpolation::kBilinear;
};

// The presets: "imagenet" (x/255 less ImageNet's mean, over its deviation), "tf" (x/127.5 - 1), "caffe" (BGR less the mean, no
// scaling), "unit" (x/255), "raw" (x). Throws kInvalidArgument, listing them, for any other name.
Preprocess preprocess_preset(const std::string& name);
std::vector<std::string> preprocess_preset_names();

// From JSON: {"preset": "imagenet"}, or {"channel_order": "RGB"|"BGR"|"GREY", "scale": [..], "offset": [..]} with one number or one
// a channel, or "mean" and "std" in units of 0..1 instead of scale and offset; each with "resize": "short-side"|"stretch"|"none",
// "resize_ratio", "short_side", "crop": "center", "interpolation": "bilinear-antialias"|"nearest". `name` stands for the text in
// messages. Throws kFormat for what is no such JSON (unknown keys too) and kInvalidArgument for values out of range.
Preprocess preprocess_from_json(const std::string& text, const std::string& name);
// preprocess_from_json reads it back to an equal Preprocess.
std::string preprocess_to_json(const Preprocess& preprocess);

// A picture is resized to full_width x full_height, of which the part from (left, top) on is cut out.
struct FitGeometry {
  int64_t full_width = 0, full_height = 0, left = 0, top = 0;
};
// Throws as fit_image.
FitGeometry fit_geometry(int64_t image_width, int64_t image_height, const Preprocess& preprocess, int width, int height);
// Which pixels of the fitted picture [height, width] have their centre in one of the boxes (x0, y0, x1, y1 in pixels of the stored
// picture).
std::vector<uint8_t> fit_boxes(std::span<const std::array<double, 4>> boxes, int64_t image_width, int64_t image_height,
                               const Preprocess& preprocess, int width, int height);

// The picture in the network's size (width, height >= 1). One that has it already is taken as it is. Throws kInvalidArgument when
// the fit is kNone and the size differs, or when short_side is less than the size.
Image fit_image(const Image& image, const Preprocess& preprocess, int width, int height);

// The network's input, channels*height*width values. Colour networks have 3 channels; with 1 channel, or a grey Preprocess, every
// channel is PIL's brightness (19595 R + 38470 G + 7471 B + 32768) >> 16. Throws kUnsupported for other channel counts and
// kInvalidArgument when a colour Preprocess with unequal channels meets a network of one.
std::vector<float> to_network(const Image& fitted, const Preprocess& preprocess, int channels);

// The picture that to_network would have been given, rounded and clipped to 0..255; of a grey network the brightness.
// `values` holds channels*height*width.
Image from_network(std::span<const float> values, const Preprocess& preprocess, int channels, int width, int height);

// What one colour (R, G, B in 0..255, not rounded) is to the network, channel by channel; grey networks use the first value.
std::array<double, 3> network_colour(const Preprocess& preprocess, int channels, const std::array<double, 3>& rgb);

}  // namespace actmatch
