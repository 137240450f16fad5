#!/usr/bin/env python3
"""The engine's metrics beside the same formulas in numpy, given the same maps and masks. The net is run by torch, from the ONNX file.

    tests/metrics/metrics_in_numpy.py build/method_values [MODEL.onnx PICTURE]     (default: the shipped example)

Prints one row a figure; fails when one differs by more than 1e-5. Needs torch and onnx (Debian: python3-torch python3-onnx); without
them it says so and ends with status 77.
"""
import json
import math
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(ROOT / "tools/export"), str(ROOT / "tests/kernels")]
try:
    import numpy as np
    import torch
    import torch_reference
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)
import philox_backgrounds as philox  # noqa: E402

METRIC_STREAM = 5


def uniforms(field, draw, count):
    blocks = (count + 3) // 4
    words = philox.philox4x32_10((np.arange(blocks), draw, METRIC_STREAM + 256 * field, 0), (0, 0))
    return ((words.astype(np.float64) + 0.5) / 2.0**32).reshape(-1)[:count]


def normals(field, draw, count):
    return philox.normals(0, METRIC_STREAM, field, 0, draw, count)


def log_softmax(z):
    z = z - z.max(1, keepdims=True)
    return z - np.log(np.exp(z).sum(1, keepdims=True))


def blurred(plane, sigma, radius, mode):
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma)**2)
    taps /= taps.sum()
    for axis in (0, 1):
        width = [(radius, radius) if a == axis else (0, 0) for a in (0, 1)]
        padded = np.pad(plane, width, mode=mode)
        n = plane.shape[axis]
        plane = sum(t * np.take(padded, range(d, d + n), axis=axis) for d, t in enumerate(taps))
    return plane


def neighbours(plane):
    """Sum over the 8 neighbours inside the picture, direct 1/6, diagonal 1/12."""
    padded = np.pad(plane, 1)
    H, W = plane.shape
    return sum((1 / 6 if dy == 1 or dx == 1 else 1 / 12) * padded[dy:dy + H, dx:dx + W]
               for dy in range(3) for dx in range(3) if (dy, dx) != (1, 1))


def parts_of(mask):
    """8-connected components, each as a mask: the smallest index spreads until nothing changes."""
    H, W = mask.shape
    label = np.where(mask, np.arange(1, mask.size + 1).reshape(H, W), 0)
    while True:
        padded = np.pad(np.where(mask, label, mask.size + 1), 1, constant_values=mask.size + 1)
        least = np.min([padded[dy:dy + H, dx:dx + W] for dy in range(3) for dx in range(3)], axis=0)
        spread = np.where(mask, least, 0)
        if (spread == label).all():
            return [label == i for i in np.unique(label[mask])]
        label = spread


def spearman(a, b):
    def ranks(v):
        values, inverse, counts = np.unique(v, return_inverse=True, return_counts=True)
        ends = np.cumsum(counts)
        return ((ends - counts + ends - 1) / 2)[inverse]

    return np.corrcoef(ranks(np.asarray(a)), ranks(np.asarray(b)))[0, 1]


class Case:
    def __init__(self, model_path, out, facts, name):
        self.model = torch_reference.Model(model_path)
        self.x = np.load(out / "x.npy").astype(np.float64)
        self.C, self.H, self.W = self.x.shape
        colour = np.load(out / "colour.npy").astype(np.float64).reshape(-1, 1, 1)
        scale, offset = (np.array(facts[k][:self.C]).reshape(-1, 1, 1) for k in ("scale", "offset"))
        self.mean = scale * np.array([123.7, 116.3, 103.5])[:self.C].reshape(-1, 1, 1) + offset  # of photos, pixel units
        self.deviation = scale * np.array([58.4, 57.1, 57.4])[:self.C].reshape(-1, 1, 1)
        self.soft = np.load(out / f"{name}.soft.npy").astype(np.float64)
        self.map = np.load(out / f"{name}.map.npy").astype(np.float64)
        self.mask = np.load(out / f"{name}.mask.npy") > 0.5
        self.y = facts["label"]
        full = np.ones_like(self.x)
        self.fills = {"mean": colour * full, "black": offset * full, "white": (255 * scale + offset) * full, "zero": 0 * full,
                      "blur": np.stack([blurred(c, 20.0, 60, "edge") for c in self.x])}
        self.order = np.argsort(-(self.soft.ravel() + 1e-5 * uniforms(0, 0, self.soft.size)), kind="stable")
        self.object = np.zeros((self.H, self.W), bool)
        self.object[self.H // 4:self.H // 2, self.W // 4:3 * self.W // 4] = True
        self.p_x = self.p([self.x])[0]

    def logits(self, images):
        results = []
        with torch.no_grad():
            for i in range(0, len(images), 64):
                batch = torch.from_numpy(np.stack(images[i:i + 64])).float()
                results.append(self.model.run({next(iter(self.model.inputs)): batch})[self.model.outputs[0]].double().numpy())
        return np.concatenate(results)

    def p(self, images):
        z = self.logits(images)
        return np.exp(log_softmax(z))[:, self.y]

    def blend(self, mask, fill):
        return mask * self.x + (1 - mask) * fill


def area(c):
    return {"area": c.mask.mean()}


def soft_map(c):
    return {"soft_area": c.soft.mean(), "binariness": (4 * c.soft * (1 - c.soft)).mean()}


def compactness(c):
    padded = np.pad(c.mask, 1).astype(int)
    perimeter = np.abs(np.diff(padded, axis=0)).sum() + np.abs(np.diff(padded, axis=1)).sum()
    return {"components": len(parts_of(c.mask)), "perimeter2_per_area": perimeter**2 / c.mask.sum()}


def fidelity(c):
    names = ["mean", "black", "white", "blur"]
    log_x = log_softmax(c.logits([c.x]))[0]
    log_e = log_softmax(c.logits([c.blend(c.mask, c.fills[n]) for n in names]))
    kept = log_e.argmax(1) == c.y
    result = {"fidelity": kept.mean()}
    for i, n in enumerate(names):
        result["fidelity_" + n] = float(kept[i])
        result["p_ratio_" + n] = math.exp(log_e[i, c.y] - log_x[c.y])
        result["kl_" + n] = float((np.exp(log_x) * (log_x - log_e[i])).sum())
    return result


def necessity(c):
    image = c.blend(~c.mask, c.fills["mean"])
    return {"necessity": float(c.logits([image])[0].argmax() != c.y), "necessity_drop": c.p_x - c.p([image])[0]}


def random_backgrounds(c):
    patch = min(16, c.H, c.W)
    rows, columns = c.H // patch, c.W // patch
    for k in range(32):
        if k % 3 == 0:
            r = c.mean + c.deviation * normals(1, k, c.x.size).reshape(c.x.shape)
        elif k % 3 == 1:
            r = c.mean + c.deviation * (2 * uniforms(2, k, c.x.size).reshape(c.x.shape) - 1)
        else:
            order = list(range(rows * columns))
            u = uniforms(3, k, len(order) + 1)
            for i in range(len(order), 1, -1):
                j = int(u[i] * i)
                order[i - 1], order[j] = order[j], order[i - 1]
            r = c.x.copy()
            for t, source in enumerate(order):
                (ty, tx), (sy, sx) = divmod(t, columns), divmod(source, columns)
                r[:, ty * patch:(ty + 1) * patch, tx * patch:(tx + 1) * patch] = \
                    c.x[:, sy * patch:(sy + 1) * patch, sx * patch:(sx + 1) * patch]
        yield r


def stability(c):
    images = [c.blend(c.mask, r) for r in random_backgrounds(c)]
    p = c.p(images)
    return {"stability": (c.logits(images).argmax(1) == c.y).mean(), "stability_p_mean": p.mean(), "stability_p_min": p.min()}


def level_set(c):
    backgrounds, figures = list(random_backgrounds(c)), {}
    for i in range(1, 25):
        count = max(1, math.floor(0.005**(1 - i / 24) * c.order.size + 0.5))
        mask = np.zeros(c.order.size)
        mask[c.order[:count]] = 1
        mask = mask.reshape(c.H, c.W)
        image = c.blend(mask, c.fills["mean"])
        if c.logits([image])[0].argmax() != c.y or c.p([image])[0] < 0.9 * c.p_x * (1 - 1e-6):
            continue
        figures.setdefault("sufficient_area", count / c.order.size)
        held = (c.logits([c.blend(mask, r) for r in backgrounds]).argmax(1) == c.y).sum()
        if held >= math.ceil(0.9 * 32 - 1e-9):
            figures.setdefault("robust_area", count / c.order.size)
    return figures


def minimality(c):
    def sufficient(masks):
        z = c.logits([c.blend(m, c.fills["mean"]) for m in masks])
        return (z.argmax(1) == c.y) & (np.exp(log_softmax(z))[:, c.y] >= 0.5 * (1 + 1e-4) * c.p_x)

    if not sufficient([c.mask])[0]:
        return {"removable_tiles": math.nan, "removable_components": math.nan}
    tiles = []
    for y in range(0, c.H, 8):
        for x in range(0, c.W, 8):
            m = c.mask.copy()
            m[y:y + 8, x:x + 8] = False
            if (m != c.mask).any() and m.any():
                tiles.append(m)
    found = parts_of(c.mask)
    parts = [c.mask & ~part for part in found] if len(found) > 1 else []
    return {"removable_tiles": int(sufficient(tiles).sum()) if tiles else 0,
            "removable_components": int(sufficient(parts).sum()) if parts else 0}


def deletion_insertion(c):
    def auc(start, finish):
        each = math.ceil(c.order.size / 224)
        image = start.reshape(c.C, -1).copy()
        images = [image.copy()]
        for first in range(0, c.order.size, each):
            index = c.order[first:first + each]
            image[:, index] = finish.reshape(c.C, -1)[:, index]
            images.append(image.copy())
        p = c.p([i.reshape(c.x.shape) for i in images])
        return float((p.sum() - p[0] / 2 - p[-1] / 2) / (len(p) - 1))

    start = np.stack([blurred(plane, 5.0, 5, "constant") for plane in c.x])
    return {"deletion_auc": auc(c.x, c.fills["zero"]), "insertion_auc": auc(start, c.x)}


def average_drop(c):
    e = c.p([c.blend(c.soft, c.fills["mean"])])[0]
    return {"average_drop": max(0, c.p_x - e) / c.p_x, "increase": float(e > c.p_x), "average_gain": max(0, e - c.p_x) / (1 - c.p_x)}


def sufficiency(c):
    kept, removed = [], []
    for k in range(5, 100, 5):
        m = np.zeros(c.order.size, bool)
        m[c.order[:math.floor(c.order.size * k / 100 + 0.5)]] = True
        m = m.reshape(c.H, c.W)
        for name in ("blur", "black", "mean", "white"):
            kept.append(c.blend(m, c.fills[name]))
            removed.append(c.blend(~m, c.fills[name]))
    return {"sufficiency": c.p_x - c.p(kept).mean(), "comprehensiveness": c.p_x - c.p(removed).mean()}


def road(c):
    inside = neighbours(np.ones((c.H, c.W)))

    def filled(removed):
        # Steepest descent with conjugate directions on whole planes: what is known counts on the right, zero elsewhere.
        image = c.x.copy()
        for plane in image:
            right = neighbours(np.where(removed, 0, plane)) * removed
            apply = lambda v: (inside * v - neighbours(v)) * removed  # noqa: E731
            v = np.where(removed, plane[~removed].mean(), 0)
            r = right - apply(v)
            d, rr = r.copy(), (r * r).sum()
            while rr > 1e-22 * (right * right).sum():
                Ad = apply(d)
                step = rr / (d * Ad).sum()
                v, r = v + step * d, r - step * Ad
                new = (r * r).sum()
                d, rr = r + new / rr * d, new
            plane[removed] = v[removed]
        return image

    images = []
    for i, (most, percent) in enumerate([(m, q) for m in (True, False) for q in range(10, 100, 10)]):
        count = math.floor(percent / 100 * c.order.size + 0.5)
        removed = np.zeros(c.order.size, bool)
        removed[c.order[:count] if most else c.order[c.order.size - count:]] = True
        removed = removed.reshape(c.H, c.W)
        image = filled(removed)
        noise = 0.01 * c.deviation * normals(5, i, c.x.size).reshape(c.x.shape)
        images.append(np.where(removed, image + noise, image))
    p = c.p(images)
    return {"road": ((p[9:] - p[:9]) / 2).mean()}


def mufidelity(c):
    cell = (np.arange(c.H) * 9 // c.H)[:, None] * 9 + (np.arange(c.W) * 9 // c.W)[None, :]
    sums, images = [], []
    for s in range(200):
        gone = (uniforms(4, s, 81) < 0.2)[cell]
        sums.append(c.soft[gone].sum())
        images.append(c.blend(~gone, c.fills["mean"]))
    return {"mufidelity": spearman(c.p_x - c.p(images), sums)}


def pointing(c):
    y, x = np.unravel_index(c.soft.argmax(), c.soft.shape)
    ys, xs = np.nonzero(c.object)
    return {"pointing": float(((ys - y)**2 + (xs - x)**2).min() <= 15**2), "energy": c.soft[c.object].sum() / c.soft.sum()}


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


def object_iou(c):
    return {"iou": iou(c.mask, c.object)}


def seed_agreement(c):
    other = np.zeros(c.map.size, bool)
    other[np.argsort(-c.map.ravel(), kind="stable")[:c.map.size // 7]] = True
    other = other.reshape(c.map.shape)
    return {"seed_iou": (iou(c.mask, other) + iou(c.mask, c.object) + iou(other, c.object)) / 3}


METRICS = {"area": area, "soft-map": soft_map, "compactness": compactness, "fidelity": fidelity, "necessity": necessity,
           "stability": stability, "level-set": level_set, "minimality": minimality, "deletion-insertion": deletion_insertion,
           "average-drop": average_drop, "sufficiency": sufficiency, "road": road, "mufidelity": mufidelity, "pointing": pointing,
           "object-iou": object_iou, "seed-agreement": seed_agreement}


def main():
    program = sys.argv[1]
    model = sys.argv[2] if len(sys.argv) > 2 else str(ROOT / "examples/shapes96.onnx")
    picture = sys.argv[3] if len(sys.argv) > 3 else str(ROOT / "examples/images/striped_star.png")
    torch.set_num_threads(1)
    bad = []
    with tempfile.TemporaryDirectory() as tmp:
        folder = pathlib.Path(tmp)
        job = {"seed": 3, "methods": {"gradcam": {"method": "gradcam"}, "random": {"method": "random"}},
               "metrics": {name: {} for name in METRICS}}
        (folder / "job.json").write_text(json.dumps(job))
        subprocess.run([program, model, picture, folder / "job.json", folder / "out"], check=True)
        facts = json.loads((folder / "out/facts.json").read_text())
        for run, found in facts["runs"].items():
            case = Case(model, folder / "out", facts, run)
            left = dict(found["figures"])
            for metric in METRICS.values():
                for name, theirs in metric(case).items():
                    ours = left.pop(name)
                    ours = math.nan if ours is None else float(ours)
                    theirs = float(theirs)
                    equal = (math.isnan(ours) and math.isnan(theirs)) or abs(ours - theirs) <= 1e-5 * max(1, abs(theirs))
                    print(f"{run:10s} {name:22s} {ours:14.8f} {theirs:14.8f}" + ("" if equal else "  NOT EQUAL"))
                    if not equal:
                        bad.append(f"{name} of {run}")
            if left:
                bad.append("not computed here: " + ", ".join(left))
    if bad:
        sys.exit("metrics_in_numpy: " + "; ".join(bad))


if __name__ == "__main__":
    main()
