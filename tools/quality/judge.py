#!/usr/bin/env python3
"""An independent judge of explanations: re-checks the claims of result.json files without any of the engine's code.

The classifier is run by torch (tools/export/torch_reference.py), the picture is read and fitted by PIL, the random backgrounds are made in numpy
from their definition (tests/kernels/philox_backgrounds.py). For every result: label_kept, p_e, feasible, background_stability, fresh_stability,
necessity and 1-minimality (robust masks: on the certify stream). Also the stability on backgrounds of a seed of the judge's own, which no claim
refers to. Prints a row a result, and fails when a claim is refuted.

    tools/quality/judge.py OUT/*/result.json
"""
import argparse
import json
import math
import pathlib
import sys

import numpy as np
import torch
from PIL import Image, ImageOps

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "tools/export"), str(ROOT / "tests/kernels")]
import philox_backgrounds  # noqa: E402
import torch_reference  # noqa: E402

MU = np.array(philox_backgrounds.IMAGENET_MU)
SIGMA = np.array(philox_backgrounds.IMAGENET_SIGMA)
# The pictures are the same bit for bit (one JPEG library, PIL's resizing), so what is left is fp32 rounding in another order: p may differ by
# this much of p_x. Counts of backgrounds must agree exactly.
P_SLACK = 2e-3
# What the presets stand for: network value = scale * pixel + offset, pixel 0..255.
PRESETS = {
    "imagenet": {"channel_order": "RGB", "scale": [1 / 255 / s for s in (0.229, 0.224, 0.225)],
                 "offset": [-m / s for m, s in ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))]},
    "tf": {"channel_order": "RGB", "scale": [1 / 127.5] * 3, "offset": [-1.0] * 3},
    "caffe": {"channel_order": "BGR", "scale": [1.0] * 3, "offset": [-103.939, -116.779, -123.68]},
    "unit": {"channel_order": "RGB", "scale": [1 / 255] * 3, "offset": [0.0] * 3},
    "raw": {"channel_order": "RGB", "scale": [1.0] * 3, "offset": [0.0] * 3},
}


def fitted(path, pre, size):
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    if image.size == (size, size):
        return image
    short = round(size * pre.get("resize_ratio", 256 / 224)) if not pre.get("short_side") else pre["short_side"]
    w, h = image.size
    w, h = (short, int(short * h / w)) if w <= h else (int(short * w / h), short)
    image = image.resize((w, h), Image.BILINEAR)
    left, top = round((w - size) / 2), round((h - size) / 2)
    return image.crop((left, top, left + size, top + size))


class Judge:
    def __init__(self, result_path):
        self.result = json.loads(result_path.read_text())
        folder = result_path.parent
        self.mask = np.array(Image.open(folder / "mask.png").convert("L")) > 127
        self.size = self.mask.shape[0]
        pre = self.result["preprocess"]
        pre = {**pre, **PRESETS[pre["preset"]]} if pre.get("preset") else pre
        bgr = pre["channel_order"] == "BGR"
        self.order = slice(None, None, -1) if bgr else slice(None)
        self.scale, self.offset = (np.array(pre[k], dtype=np.float64)[:, None, None] for k in ("scale", "offset"))
        self.model = torch_reference.Model((folder / self.result["model"]).resolve())
        pixels = np.asarray(fitted((folder / self.result["image"]).resolve(), pre, self.size), dtype=np.float64).transpose(2, 0, 1)[self.order]
        self.x = self.network(pixels)
        self.colour = self.network(np.broadcast_to(MU[self.order][:, None, None], pixels.shape))

    def network(self, pixels):
        return pixels * self.scale + self.offset

    def backgrounds(self, seed, stream, count, first=0):
        return [self.network(philox_backgrounds.background(seed, stream, 0, k, self.x.shape, MU[self.order], SIGMA[self.order])) for k in range(first, first + count)]

    def probabilities(self, images):
        name = next(iter(self.model.inputs))
        rows = []
        for start in range(0, len(images), 16):
            batch = np.stack(images[start:start + 16]).astype(np.float32)
            with torch.no_grad():
                z = self.model.run({name: torch.from_numpy(batch)})[self.model.outputs[0]].reshape(len(batch), -1)
            inside = torch.all(z >= 0) and torch.allclose(z.sum(1), torch.ones(len(batch)), atol=1e-3)  # a softmax is in the model already
            rows.append(z if inside else z.softmax(1))
        return torch.cat(rows).numpy()

    def compose(self, mask, background):
        return np.where(mask, self.x, background)

    def singles(self):
        t = self.result["minimal_tile"]
        for top in range(0, self.size, t):
            for left in range(0, self.size, t):
                if self.mask[top:top + t, left:left + t].any():
                    smaller = self.mask.copy()
                    smaller[top:top + t, left:left + t] = False
                    if smaller.any():
                        yield smaller

    def check(self, minimality):
        r, y, bad = self.result, self.result["class_index"], []
        p_x, p_e, p_c = self.probabilities([self.x, self.compose(self.mask, self.colour), np.where(self.mask, self.colour, self.x)])
        claim = lambda name, good: None if good else bad.append(name)
        robust = r["operating_point"] == "robust"
        claim("p_x", abs(p_x[y] - r["p_x"]) <= P_SLACK)
        claim("p_e", abs(p_e[y] - r["p_e"]) <= P_SLACK)
        claim("label_kept", (p_e.argmax() == y) == r["label_kept"])
        claim("area", abs(self.mask.mean() - r["area"]) < 1e-6)
        claim("necessity", (p_c.argmax() != y) == r["necessity"])
        K, need = r["backgrounds"], math.ceil(r["rho"] * r["backgrounds"] - 1e-9)
        certify = self.backgrounds(r["seed"], philox_backgrounds.STREAMS["certify"], K)
        held = lambda mask, backgrounds: int((self.probabilities([self.compose(mask, b) for b in backgrounds]).argmax(1) == y).sum())
        stability = held(self.mask, certify)
        claim("background_stability", abs(stability - r["background_stability"] * K) < 0.5)
        unseen = held(self.mask, self.backgrounds(r["seed"], philox_backgrounds.STREAMS["certify"], K, first=K))
        claim("fresh_stability", abs(unseen - r["fresh_stability"] * K) < 0.5)
        if r["feasible"]:
            claim("feasible", p_e.argmax() == y and p_e[y] >= r["tau"] * p_x[y] - P_SLACK * p_x[y])
            if robust:
                claim("feasible (robust)", stability >= need)
        fresh = self.backgrounds(0x6A75646765, philox_backgrounds.STREAMS["certify"], K)
        own = float((self.probabilities([self.compose(self.mask, b) for b in fresh]).argmax(1) == y).mean())
        if minimality and r["minimal_tile"]:
            smaller = list(self.singles())
            p = self.probabilities([self.compose(m, self.colour) for m in smaller]) if smaller else np.zeros((0, 1))
            for mask, row in zip(smaller, p):
                if row.argmax() == y and row[y] >= (r["tau"] + P_SLACK) * p_x[y] and (not robust or held(mask, certify) >= need):
                    bad.append("minimal")
                    break
        return bad, stability / K, own


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", type=pathlib.Path)
    parser.add_argument("--no-minimality", action="store_true", help="skip the check of every single tile")
    args = parser.parse_args()
    refuted = 0
    for path in args.results:
        judge = Judge(path)
        bad, stability, own = judge.check(not args.no_minimality)
        refuted += bool(bad)
        print(f"{path.parent.name:34} area {judge.result['area']:7.2%}  stable {stability:5.1%}  own backgrounds {own:5.1%}  "
              f"{'refuted: ' + ', '.join(bad) if bad else 'upheld'}", flush=True)
    print(f"{len(args.results)} results, {refuted} refuted")
    sys.exit(1 if refuted else 0)


if __name__ == "__main__":
    main()
