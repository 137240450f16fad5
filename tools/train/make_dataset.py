#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""shapes96: synthetic pictures of one textured object in clutter, with its exact mask.

Each picture is 96x96 RGB.  An object is a shape filled with a texture; it is turned, scaled,
coloured and shaded at random and may be covered in part.  The ten classes are chosen so that
neither the shape nor the texture alone tells them apart: every texture and most shapes occur
in several classes.  The clutter holds textured fragments without a shape, and plain shapes
without a texture, which belong to no class.

Every picture is a function of (seed, split, index) alone, so a data set needs no files:
train_small_classifier.py draws what it needs.  As a program, this writes pictures out:

    make_dataset.py --out DIR --split test --count 100
    make_dataset.py --out ../../examples --examples

--examples writes one picture for each class and two pictures with two objects.
"""
import argparse
import json
import math
import os

import numpy as np
from PIL import Image, ImageDraw

SIZE = 96
FINE = 4                                      # outlines are drawn this much larger
CLASSES = [                                   # (texture, shape)
    ("striped", "disc"), ("dotted", "disc"),
    ("checkered", "square"), ("striped", "square"),
    ("dotted", "triangle"), ("checkered", "triangle"),
    ("striped", "star"), ("dotted", "star"),
    ("checkered", "ring"), ("striped", "cross"),
]
LABELS = [f"{texture} {shape}" for texture, shape in CLASSES]
TEXTURES = ("striped", "checkered", "dotted")
SPLITS = {"train": 1, "test": 2, "examples": 3}

_ROWS, _COLUMNS = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32) + 0.5


# --- outlines ------------------------------------------------------------------------------

def circle(n=40):
    angle = np.arange(n) * (2 * math.pi / n)
    return np.stack([np.cos(angle), np.sin(angle)], 1)


def outline(shape):
    """Polygons of a shape within the unit circle: the first is filled, the others are holes."""
    if shape == "disc":
        return [0.92 * circle()]
    if shape == "ring":
        return [circle(), 0.5 * circle()]
    if shape == "square":
        return [0.82 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], float)]
    if shape == "triangle":
        return [1.12 * circle(3)]
    if shape == "star":
        points = circle(10) * 1.12
        points[1::2] *= 0.45
        return [points]
    if shape == "cross":
        a = 0.36
        return [1.02 * np.array([[-a, -1], [a, -1], [a, -a], [1, -a], [1, a], [a, a], [a, 1],
                                 [-a, 1], [-a, a], [-1, a], [-1, -a], [-a, -a]], float)]
    raise ValueError(shape)


def blob(rng):
    """A ragged closed outline that resembles none of the shapes."""
    n = int(rng.integers(5, 9))
    angle = np.sort(rng.uniform(0, 2 * math.pi, n))
    radius = rng.uniform(0.35, 1.0, n)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)


def coverage(polygons, centre, radius, angle):
    """How much of each pixel the turned and scaled polygons cover, 0..1."""
    c, s = math.cos(angle), math.sin(angle)
    turn = np.array([[c, s], [-s, c]])
    placed = [points @ turn * radius + centre for points in polygons]
    # Only the rectangle of whole pixels around the outline is drawn enlarged.
    x0, y0 = np.clip(np.floor(placed[0].min(0)), 0, SIZE - 1).astype(int)
    x1, y1 = np.clip(np.ceil(placed[0].max(0)), 1, SIZE).astype(int)
    x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)
    enlarged = Image.new("L", ((x1 - x0) * FINE, (y1 - y0) * FINE), 0)
    draw = ImageDraw.Draw(enlarged)
    for i, points in enumerate(placed):
        points = (points - (x0, y0)) * FINE
        draw.polygon([tuple(p) for p in points], fill=255 if i == 0 else 0)
    covered = np.zeros((SIZE, SIZE), np.float32)
    covered[y0:y1, x0:x1] = np.asarray(enlarged.reduce(FINE), np.float32) / 255.0
    return covered


# --- colours and textures ------------------------------------------------------------------

def texture_weight(rng, texture):
    """A picture of 0..1 between the two colours of a texture, edges about a pixel soft."""
    angle = rng.uniform(0, math.pi)
    c, s = math.cos(angle), math.sin(angle)
    u = c * _COLUMNS + s * _ROWS + rng.uniform(0, 20)
    v = -s * _COLUMNS + c * _ROWS + rng.uniform(0, 20)
    if texture == "striped":
        period = rng.uniform(7.0, 11.0)
        wave = np.sin(2 * math.pi * u / period)
        return np.clip(0.5 + wave * period / 6.0, 0, 1)
    if texture == "checkered":
        period = rng.uniform(11.0, 16.0)
        wave = np.sin(2 * math.pi * u / period) * np.sin(2 * math.pi * v / period)
        return np.clip(0.5 + wave * period / 5.0, 0, 1)
    period = rng.uniform(8.0, 11.0)
    x = (u / period) % 1.0 - 0.5
    y = (v / period) % 1.0 - 0.5
    return np.clip(0.5 + (0.30 - np.sqrt(x * x + y * y)) * period, 0, 1)


def two_colours(rng):
    """Two colours that differ clearly in brightness."""
    while True:
        a, b = rng.uniform(15, 245, 3), rng.uniform(15, 245, 3)
        if abs(float((a - b) @ np.array([0.30, 0.59, 0.11]))) > 80:
            return a.astype(np.float32), b.astype(np.float32)


def fill(rng, texture):
    a, b = two_colours(rng)
    weight = texture_weight(rng, texture)[..., None]
    return a * (1 - weight) + b * weight


def shading(rng):
    """Light that falls off over the picture, and often a soft-edged shadow across it."""
    angle = rng.uniform(0, 2 * math.pi)
    slope = (math.cos(angle) * (_COLUMNS - SIZE / 2) + math.sin(angle) * (_ROWS - SIZE / 2)) / SIZE
    light = 1.0 + rng.uniform(0.0, 0.7) * slope
    if rng.random() < 0.4:
        angle = rng.uniform(0, 2 * math.pi)
        across = (math.cos(angle) * (_COLUMNS - rng.uniform(30, 66))
                  + math.sin(angle) * (_ROWS - rng.uniform(30, 66)))
        light *= 1.0 - rng.uniform(0.2, 0.5) * np.clip(across / 4.0 + 0.5, 0, 1)
    return light[..., None]


def clouds(rng, cells):
    """Smooth colour noise with about `cells` features along a side."""
    grid = rng.uniform(0, 255, (cells, cells, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(grid).resize((SIZE, SIZE), Image.BICUBIC), np.float32)


def blend(picture, colour, alpha):
    """Lays a colour, or a picture of colours, over `picture` in place."""
    rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
    if rows.size == 0:
        return
    part = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    colour = np.asarray(colour, np.float32)
    colour = colour[part] if colour.ndim == 3 else colour
    picture[part] += (colour - picture[part]) * alpha[part][..., None]


# --- pictures ------------------------------------------------------------------------------

def background(rng):
    """A cluttered background without any object of a class."""
    picture = np.empty((SIZE, SIZE, 3), np.float32)
    picture[:] = rng.uniform(40, 210, 3)
    for cells, share in ((4, 0.5), (9, 0.35), (28, 0.25)):
        picture += (clouds(rng, cells) - 127.5) * (rng.uniform(0.3, 1.0) * share)
    if rng.random() < 0.5:                    # a faint texture all over
        weight = texture_weight(rng, TEXTURES[rng.integers(3)])[..., None] - 0.5
        picture += weight * rng.uniform(-45, 45, 3).astype(np.float32)
    for _ in range(rng.integers(3, 8)):       # plain scraps and shapes
        shapes = [blob(rng)] if rng.random() < 0.6 else outline(CLASSES[rng.integers(10)][1])
        alpha = coverage(shapes, rng.uniform(0, SIZE, 2), rng.uniform(4, 20),
                         rng.uniform(0, 2 * math.pi))
        blend(picture, rng.uniform(10, 250, 3), alpha * np.float32(rng.uniform(0.4, 1.0)))
    for _ in range(rng.integers(2, 5)):       # textured fragments, too small for an object
        alpha = coverage([blob(rng)], rng.uniform(0, SIZE, 2), rng.uniform(5, 12),
                         rng.uniform(0, 2 * math.pi))
        blend(picture, fill(rng, TEXTURES[rng.integers(3)]), alpha)
    for _ in range(rng.integers(0, 5)):       # bars
        alpha = coverage([np.array([[-1, -.06], [1, -.06], [1, .06], [-1, .06]])],
                         rng.uniform(0, SIZE, 2), rng.uniform(15, 50),
                         rng.uniform(0, 2 * math.pi))
        blend(picture, rng.uniform(10, 250, 3), alpha)
    return picture * shading(rng)


def place(rng, taken, radii):
    """Centre and radius of an object inside the picture and clear of those in `taken`."""
    while True:
        radius = rng.uniform(*radii)
        centre = rng.uniform(0.95 * radius, SIZE - 0.95 * radius, 2)
        if all(math.dist(centre, c) > 1.05 * (radius + r) for c, r in taken):
            return centre, radius


def finish(rng, picture):
    noise = rng.standard_normal(picture.shape, dtype=np.float32)
    picture = picture + noise * np.float32(rng.uniform(1, 6))
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def draw_picture(rng, labels):
    """A picture with one object for each of `labels`: (picture, [mask of each object])."""
    picture = background(rng)
    radii = (20, 32) if len(labels) == 1 else (18, 22)
    taken, alphas = [], []
    for label in labels:
        texture, shape = CLASSES[label]
        centre, radius = place(rng, taken, radii)
        taken.append((centre, radius))
        alpha = coverage(outline(shape), centre, radius, rng.uniform(0, 2 * math.pi))
        blend(picture, fill(rng, texture) * shading(rng), alpha)
        alphas.append(alpha)
    if rng.random() < 0.3:                    # something lies over a part of the first object
        centre = taken[0][0] + rng.uniform(-1, 1, 2) * taken[0][1]
        cover = coverage([blob(rng)], centre, rng.uniform(5, 10), rng.uniform(0, 2 * math.pi))
        blend(picture, rng.uniform(10, 250, 3), cover)
        alphas = [alpha * (1 - cover) for alpha in alphas]
    masks = [np.where(alpha > 0.5, 255, 0).astype(np.uint8) for alpha in alphas]
    return finish(rng, picture), masks


def generator(seed, split, index):
    return np.random.default_rng([seed, SPLITS[split], index])


def sample(seed, split, index):
    """Picture `index` of a split: (picture HxWx3 uint8, mask HxW uint8, label)."""
    rng = generator(seed, split, index)
    label = index % len(CLASSES)              # all classes equally often
    picture, masks = draw_picture(rng, [label])
    return picture, masks[0], label


def empty(seed, split, index):
    """A background alone; its stream of random numbers is apart from that of sample()."""
    rng = np.random.default_rng([seed, 100 + SPLITS[split], index])
    return finish(rng, background(rng))


# --- writing -------------------------------------------------------------------------------

def box(mask):
    """[x0, y0, x1, y1] of a mask, x1 and y1 one past the last pixel."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]


def save(folder, name, picture, masks, labels):
    """Writes a picture and its masks; returns its entry for annotations.json."""
    Image.fromarray(picture).save(os.path.join(folder, "images", name + ".png"))
    union = np.maximum.reduce(masks)
    Image.fromarray(union).save(os.path.join(folder, "masks", name + ".png"))
    objects = []
    for i, (mask, label) in enumerate(zip(masks, labels)):
        objects.append({"label": label, "name": LABELS[label], "box": box(mask)})
        if len(masks) > 1:                    # the union does not tell the objects apart
            file = f"{name}.object{i}.png"
            Image.fromarray(mask).save(os.path.join(folder, "masks", file))
            objects[-1]["mask"] = file
    return {"file": name + ".png", "label": labels[0], "name": LABELS[labels[0]],
            "objects": objects}


def main():
    parser = argparse.ArgumentParser(
        description="Write pictures of the synthetic data set shapes96, with masks.")
    parser.add_argument("--out", required=True, metavar="DIR",
                        help="folder for images/ and masks/ (made if missing)")
    parser.add_argument("--split", choices=("train", "test"), default="test")
    parser.add_argument("--count", type=int, default=100, help="pictures (default 100)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--examples", action="store_true",
                        help="write the twelve example pictures instead")
    options = parser.parse_args()
    for part in ("images", "masks"):
        os.makedirs(os.path.join(options.out, part), exist_ok=True)

    entries = []
    if options.examples:
        wanted = [(LABELS[k].replace(" ", "_"), [k]) for k in range(len(CLASSES))]
        wanted += [("two_of_one_class", [4, 4]), ("two_classes", [0, 2])]
        for index, (name, labels) in enumerate(wanted):
            rng = generator(options.seed, "examples", index)
            picture, masks = draw_picture(rng, labels)
            entries.append(save(options.out, name, picture, masks, labels))
    else:
        for index in range(options.count):
            picture, mask, label = sample(options.seed, options.split, index)
            name = f"{options.split}_{index:05d}"
            entries.append(save(options.out, name, picture, [mask], [label]))
    with open(os.path.join(options.out, "images", "annotations.json"), "w") as file:
        file.write("[\n" + ",\n".join(json.dumps(e) for e in entries) + "\n]\n")
    print(f"{len(entries)} pictures in {options.out}")


if __name__ == "__main__":
    main()
