// A look at a picture's structure before a decoder touches it: what it is, how it lies, and whether it is whole.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace actmatch {

enum class PictureFormat { kJpeg, kPng, kBmp, kGif, kPnm };

const char* name_of(PictureFormat format);

struct PictureFacts {
  PictureFormat format = PictureFormat::kJpeg;
  bool sixteen_bit = false;  // PNG with 16 bits a sample
  int components = 3;        // JPEG: 1 is grey, 4 are inks
  int orientation = 1;       // EXIF, 1..8
};

// Recognises the format by its first bytes and walks the file's own structure: JPEG segments up to the end mark, PNG chunks with
// their checksums, BMP sizes, GIF blocks of the first frame. stb_image itself fills what is missing with zeros in BMP and GIF files
// and checks no checksum, so this is what finds cut and damaged files. Throws kFormat and kUnsupported, naming `name`.
PictureFacts inspect_picture(std::span<const std::byte> bytes, const std::string& name);

}  // namespace actmatch
