#!/usr/bin/env python3
"""The quality table: areas, stability and localisation over a folder of photos, for one classifier.

Runs `actmatch explain` on every photo (or reads an earlier run with --read) and prints a row of a Markdown table: median and mean area, share
feasible, median stability on the certify stream and on backgrounds that the search never saw, necessity, and against the boxes of
annotations.json the pointing game (the soft mask's peak lies within 15 px of an object of the explained class) and the IoU of the mask with the
nearest box, beside a centre square and random blobs of the same area.

    tools/quality/quality.py build/actmatch MODEL --preprocess caffe --images DIR --out OUT [--robust] [--limit N] [further flags of explain]
"""
import argparse
import json
import pathlib
import statistics
import subprocess

import numpy as np
from PIL import Image, ImageOps


def geometry(photo, pre, size):
    """Scale and offset that take stored coordinates to the network's."""
    w, h = ImageOps.exif_transpose(Image.open(photo)).size
    if (w, h) == (size, size):
        return 1.0, 0.0, 0.0
    short = round(size * pre.get("resize_ratio", 256 / 224))
    scale = short / min(w, h)
    return scale, round((int(w * scale) - size) / 2), round((int(h * scale) - size) / 2)


def boxes(entry, label, photo, pre, size):
    scale, left, top = geometry(photo, pre, size)
    found = []
    for o in entry.get("objects", []):
        if (label in o.get("imagenet", []) or label == o.get("label")) and "box" in o:
            x0, y0, x1, y1 = (np.clip(v * scale - d, 0, size) for v, d in zip(o["box"], (left, top, left, top)))
            if x1 > x0 and y1 > y0:
                found.append((x0, y0, x1, y1))
    return found


def iou(mask, box):
    area = np.zeros(mask.shape, bool)
    area[round(box[1]):round(box[3]), round(box[0]):round(box[2])] = True
    return (mask & area).sum() / max((mask | area).sum(), 1)


def pointing(peak, found, margin=15):
    y, x = peak
    return any(b[0] - margin <= x <= b[2] + margin and b[1] - margin <= y <= b[3] + margin for b in found)


def centre(mask):
    side, size = int(round(np.sqrt(mask.sum()))), mask.shape[0]
    out, start = np.zeros(mask.shape, bool), (size - side) // 2
    out[start:start + side, start:start + side] = True
    return out


def blobs(mask, rng):
    """Random blobs of the mask's area: the top of smoothed noise."""
    noise = np.asarray(Image.fromarray(rng.standard_normal((8, 8)).astype(np.float32)).resize(mask.shape[::-1], Image.BICUBIC))
    order = np.argsort(-noise, axis=None, kind="stable")
    out = np.zeros(mask.size, bool)
    out[order[:mask.sum()]] = True
    return out.reshape(mask.shape), np.unravel_index(order[0], mask.shape)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("actmatch")
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--preprocess", required=True)
    parser.add_argument("--images", type=pathlib.Path, required=True, help="folder of photos with annotations.json")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--robust", action="store_true")
    parser.add_argument("--limit", type=int, help="only every n-th photo, so that about this many are used")
    parser.add_argument("--read", action="store_true", help="only read the results in OUT")
    args, more = parser.parse_known_args()  # what is unknown here goes to explain
    entries = json.loads((args.images / "annotations.json").read_text())
    entries = sorted((e for e in entries if (args.images / e["file"]).exists()), key=lambda e: e["file"])
    if args.limit:
        entries = entries[::max(1, len(entries) // args.limit)][:args.limit]
    if not args.read:
        command = [args.actmatch, "explain", str(args.model), *(str(args.images / e["file"]) for e in entries), "--out", str(args.out),
                   "--preprocess", args.preprocess, *(["--robust"] if args.robust else []), *more]
        subprocess.run(command, check=False)
    rng = np.random.default_rng(0)
    rows, hits, ious = [], {"mask": [], "centre": [], "blobs": []}, {"mask": [], "centre": [], "blobs": []}
    for e in entries:
        folder = args.out / pathlib.Path(e["file"]).stem
        if not (folder / "result.json").exists():
            continue
        r = json.loads((folder / "result.json").read_text())
        rows.append(r)
        mask = np.array(Image.open(folder / "mask.png").convert("L")) > 127
        found = boxes(e, r["class_index"], args.images / e["file"], r["preprocess"], mask.shape[0])
        if not found:
            continue
        soft = np.load(folder / "soft_mask.npy").reshape(mask.shape)
        random_mask, random_peak = blobs(mask, rng)
        middle = (mask.shape[0] // 2, mask.shape[1] // 2)
        inside = np.where(mask, soft, -1)  # the peak of the map among what the mask keeps
        for name, m, peak in (("mask", mask, np.unravel_index(inside.argmax(), mask.shape)), ("centre", centre(mask), middle), ("blobs", random_mask, random_peak)):
            hits[name].append(pointing(peak, found))
            ious[name].append(max(iou(m, b) for b in found))
    median = lambda key: statistics.median(float(r[key]) for r in rows)
    mean = lambda key: statistics.fmean(float(r[key]) for r in rows)
    point = rows[0]["operating_point"]
    score = lambda table: " / ".join(f"{np.mean(table[n]):.2f}" for n in ("mask", "centre", "blobs"))
    print("| model | recipe | generator | point | photos | feasible | median area | mean area | median stability (certify / unseen) | necessary | pointing game (mask / centre / blobs) | "
          "IoU (same) | median seconds |")
    print("|---" * 13 + "|")
    print(f"| {args.model.stem} | {rows[0]['recipe']} | {rows[0]['generator']} | {point} | {len(rows)} | {mean('feasible'):.0%} | {median('area'):.2%} | {mean('area'):.2%} | "
          f"{median('background_stability'):.0%} / {median('fresh_stability'):.0%} | {mean('necessity'):.0%} | {score(hits)} ({len(hits['mask'])} photos) | {score(ious)} | "
          f"{statistics.median(r['seconds']['total'] for r in rows):.1f} |")


if __name__ == "__main__":
    main()
