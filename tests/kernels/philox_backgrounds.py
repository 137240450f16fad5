#!/usr/bin/env python3
"""The engine's random backgrounds in numpy, from the definition in kernels/random_background.h and independent of the C++ code.

As a module: background(seed, stream, image, k, (C, H, W), mu, sigma) gives background number k in 8-bit pixel units (float64, not
clipped). STREAMS names the streams. As a program it prints the golden file of test_random_background.cpp:

    python3 philox_backgrounds.py > philox_backgrounds.txt
    python3 philox_backgrounds.py --check      compares the bicubic interpolation with torch.nn.functional.interpolate
"""
import sys

import numpy as np

STREAMS = {"optimise": 0, "prune": 1, "certify": 2}
IMAGENET_MU = (123.7, 116.3, 103.5)
IMAGENET_SIGMA = (58.4, 57.1, 57.4)


def philox4x32_10(counter, key):
    """counter: four uint32 arrays (or scalars) of one shape; key: two ints. Returns uint32 [..., 4]."""
    low = np.uint64(0xFFFFFFFF)
    c = [np.asarray(x, dtype=np.uint64) for x in np.broadcast_arrays(*counter)]
    k = [int(key[0]), int(key[1])]
    for _ in range(10):
        a = np.uint64(0xD2511F53) * c[0]
        b = np.uint64(0xCD9E8D57) * c[2]
        c = [(b >> np.uint64(32)) ^ c[1] ^ np.uint64(k[0]), b & low, (a >> np.uint64(32)) ^ c[3] ^ np.uint64(k[1]), a & low]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return np.stack(c, axis=-1).astype(np.uint32)


def normals(seed, stream, field, image, draw, count):
    """The first `count` N(0, 1) numbers of a field."""
    blocks = (count + 3) // 4
    counter = (np.arange(blocks), draw, stream + 256 * field, image)
    u = (philox4x32_10(counter, (seed & 0xFFFFFFFF, seed >> 32)).astype(np.float64) + 0.5) / 2.0**32
    radius = np.sqrt(-2.0 * np.log(u[:, 0::2]))
    angle = 2.0 * np.pi * u[:, 1::2]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1).reshape(-1)[:count]


def bicubic_matrix(n, size):
    """[size, n]: interpolation of n cells at `size` half-pixel centres, Keys a = -0.75, cells clamped to the grid."""
    a = -0.75
    matrix = np.zeros((size, n))
    for i in range(size):
        s = (i + 0.5) * n / size - 0.5
        base = int(np.floor(s))
        for cell in range(base - 1, base + 3):
            d = abs(s - cell)
            w = ((a + 2) * d - (a + 3)) * d * d + 1 if d <= 1 else ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
            matrix[i, min(max(cell, 0), n - 1)] += w
    return matrix


def background(seed, stream, image, k, shape, mu=IMAGENET_MU, sigma=IMAGENET_SIGMA):
    channels, height, width = shape
    mu = np.asarray(mu, dtype=np.float64)[:channels, None, None]
    sigma = np.asarray(sigma, dtype=np.float64)[:channels, None, None]
    u = normals(seed, stream, 0, image, k, channels)[:, None, None]
    if k % 3 == 0:
        return np.broadcast_to(mu + sigma * u, shape).copy()
    if k % 3 == 1:
        n = (4, 8, 16)[(k // 3) % 3]
        grid = normals(seed, stream, 1, image, k, channels * n * n).reshape(channels, n, n)
        smooth = bicubic_matrix(n, height) @ grid @ bicubic_matrix(n, width).T
        return mu + 0.5 * sigma * u + sigma * smooth
    white = normals(seed, stream, 2, image, k, channels * height * width).reshape(shape)
    return mu + 0.5 * sigma * u + 0.5 * sigma * white


def main():
    if "--check" in sys.argv:
        import torch

        rng = np.random.default_rng(0)
        for n, height, width in ((4, 6, 5), (8, 224, 96), (16, 7, 300)):
            grid = rng.normal(size=(n, n))
            ours = bicubic_matrix(n, height) @ grid @ bicubic_matrix(n, width).T
            theirs = torch.nn.functional.interpolate(torch.tensor(grid)[None, None], (height, width), mode="bicubic", align_corners=False)
            error = np.abs(ours - theirs[0, 0].numpy()).max()
            print(f"{n} x {n} -> {height} x {width}: largest difference {error:.1e}")
            assert error < 1e-12
        return
    seed, image, shape = 0x0123456789ABCDEF, 7, (3, 6, 5)
    for k in range(9):
        values = background(seed, STREAMS["certify"], image, k, shape).reshape(-1)
        print(" ".join(f"{v:.5f}" for v in values))


if __name__ == "__main__":
    main()
