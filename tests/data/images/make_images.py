"""Makes the small pictures of this folder and what PIL reads from them. Run it here: python3 make_images.py (Pillow, NumPy, cjpeg of
libjpeg-turbo)."""
import os
import struct
import subprocess
import zlib

import numpy as np
from PIL import Image, ImageOps

RNG = np.random.default_rng(7)


def base(width=24, height=16):
    """Smooth colours with a different corner each, so that no flip or turn goes unseen."""
    y, x = np.mgrid[0:height, 0:width]
    rgb = np.stack([255 * x / (width - 1), 255 * y / (height - 1), 255 * (1 - (x + y) / (width + height - 2))], -1)
    rgb[: height // 4, : width // 4] = (250, 20, 30)
    return np.round(rgb).astype(np.uint8)


def png(path, ihdr, rows, extra=b""):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", ihdr) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def exif(orientation, order="<"):
    head = b"II*\0" if order == "<" else b"MM\0*"
    return b"Exif\0\0" + head + struct.pack(order + "IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def golden(path):
    upright = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    np.save(path + ".npy", np.asarray(upright))


def stored(rgb, orientation):
    """The picture as a camera in this orientation stores it: applying the orientation gives rgb back."""
    undo = {1: None, 2: Image.FLIP_LEFT_RIGHT, 3: Image.ROTATE_180, 4: Image.FLIP_TOP_BOTTOM, 5: Image.TRANSPOSE, 6: Image.ROTATE_90,
            7: Image.TRANSVERSE, 8: Image.ROTATE_270}[orientation]
    image = Image.fromarray(rgb)
    return image if undo is None else image.transpose(undo)


rgb = base()
image = Image.fromarray(rgb)
alpha = Image.fromarray(RNG.integers(0, 256, rgb.shape[:2], dtype=np.uint8))

# Formats without loss.
image.save("rgb.png")
image.convert("L").save("grey.png")
Image.merge("LA", (image.convert("L"), alpha)).save("grey_alpha.png")
with_alpha = image.copy()
with_alpha.putalpha(alpha)
with_alpha.save("rgba.png")
palette = image.quantize(16, dither=Image.Dither.NONE)
palette.save("palette.png")
palette.save("palette_transparent.png", transparency=bytes(range(0, 256, 16)))
image.convert("1").save("bilevel.png")
image.save("rgb.bmp")
palette.save("palette.bmp")
image.convert("1").save("bilevel.bmp")
palette.save("palette.gif")
palette.save("animated.gif", save_all=True, append_images=[Image.fromarray(255 - rgb).quantize(16)], duration=100)
for name in ("rgb.png grey.png grey_alpha.png rgba.png palette.png palette_transparent.png bilevel.png rgb.bmp palette.bmp bilevel.bmp "
             "palette.gif animated.gif").split():
    golden(name)

# 16 bits a sample: PIL writes no such RGB and reads it by dropping the low byte, so file and truth are made by hand.
deep = RNG.integers(0, 65536, (5, 6, 3), dtype=np.uint16)
png("rgb16.png", struct.pack(">IIBBBBB", 6, 5, 16, 2, 0, 0, 0), b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep))
np.save("rgb16.png.npy", ((deep.astype(np.int64) + 128) // 257).astype(np.uint8))
grey = deep[:, :, 0]
png("grey16.png", struct.pack(">IIBBBBB", 6, 5, 16, 0, 0, 0, 0), b"".join(b"\0" + row.astype(">u2").tobytes() for row in grey))
np.save("grey16.png.npy", np.repeat(((grey.astype(np.int64) + 128) // 257).astype(np.uint8)[:, :, None], 3, 2))

# One pixel, and 4 MB of zeros behind it.
png("bomb.png", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0), bytes(1 << 22))

# Every orientation of the same picture; what comes out is rgb.png each time.
for o in range(1, 9):
    stored(rgb, o).save(f"orientation{o}.png", exif=exif(o, "<" if o % 2 else ">"))

# JPEG. One of a kind of subsampling that PIL does not write and TurboJPEG has no name for.
big = Image.fromarray(base(40, 24))
big.save("baseline.jpg", quality=95, subsampling=0)
big.save("subsampled.jpg", quality=95, subsampling=2)
big.save("subsampled.ppm")
with open("subsampled_3x1.jpg", "wb") as file:
    subprocess.run(["cjpeg", "-quality", "95", "-sample", "3x1,1x1,1x1", "subsampled.ppm"], stdout=file, check=True)
os.remove("subsampled.ppm")
big.save("progressive.jpg", quality=95, progressive=True)
big.convert("L").save("grey.jpg", quality=95)
stored(base(40, 24), 6).save("orientation6_little.jpg", quality=95, exif=exif(6, "<"))
stored(base(40, 24), 8).save("orientation8_big.jpg", quality=95, exif=exif(8, ">"))
cmyk = np.concatenate([255 - base(40, 24), np.full((24, 40, 1), 60, np.uint8)], 2)
Image.fromarray(cmyk, "CMYK").save("cmyk.jpg", quality=95)
# YCCK: what is stored is YCbCr of the inks' complements, and Adobe's note says 2; PIL writes 0, so the byte is changed. PIL stores
# 255 less what it is given.
ycc = np.asarray(Image.fromarray(base(40, 24)).convert("YCbCr"))
Image.fromarray(np.concatenate([255 - ycc, np.full((24, 40, 1), 60, np.uint8)], 2), "CMYK").save("ycck.jpg", quality=95)
data = bytearray(open("ycck.jpg", "rb").read())
data[data.index(b"Adobe") + 11] = 2
open("ycck.jpg", "wb").write(data)
for name in "baseline subsampled subsampled_3x1 progressive grey orientation6_little orientation8_big cmyk ycck".split():
    golden(name + ".jpg")

# Resizing and cropping as torchvision's Resize(round(S * 256 / 224)) and CenterCrop(S) do on PIL pictures. Noise, so that a wrong
# weight or corner shows in every pixel; no picture more than twice as high as wide, because Pillow 13 treats those differently.
noise = RNG.integers(0, 256, (60, 60, 3), dtype=np.uint8)
Image.fromarray(noise).save("noise.png")


def fit(picture, size):
    w, h = picture.size
    short = round(size * 256 / 224)
    nw, nh = (short, int(short * h / w)) if w <= h else (int(short * w / h), short)
    picture = picture.resize((nw, nh), Image.BILINEAR)
    left, top = int(round((nw - size) / 2.0)), int(round((nh - size) / 2.0))
    return picture.crop((left, top, left + size, top + size))


CASES = [(60, 60), (60, 41), (41, 60), (7, 9), (5, 5), (30, 29), (19, 38), (60, 17), (33, 44), (8, 11), (1, 2), (3, 1)]
noise_image = Image.fromarray(noise)
np.save("fit7.npy", np.stack([np.asarray(fit(noise_image.crop((0, 0, w, h)), 7)) for w, h in CASES]))
np.save("fit32.npy", np.stack([np.asarray(fit(noise_image.crop((0, 0, w, h)), 32)) for w, h in CASES[:3]]))
np.save("stretch_20x9.npy", np.asarray(noise_image.resize((20, 9), Image.BILINEAR)))
np.save("stretch_90x70.npy", np.asarray(noise_image.resize((90, 70), Image.BILINEAR)))
# Sizes at which no target centre falls on the border of two source pixels: there PIL's running sum decides by its rounding.
np.save("nearest_20x8.npy", np.asarray(noise_image.resize((20, 8), Image.NEAREST)))
np.save("nearest_64x80.npy", np.asarray(noise_image.resize((64, 80), Image.NEAREST)))
np.save("luma.npy", np.asarray(noise_image.convert("L")))
