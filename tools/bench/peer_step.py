#!/usr/bin/env python3
"""The optimisation step of actmatch once more, in PyTorch eager: the peer that its speed is compared with.

    actmatch_bench MODEL --image FILE --recipe RECIPE --out DIR
    peer_step.py MODEL --engine DIR --recipe RECIPE [--check]

takes picture, label, taps and seed from DIR (engine.json, x.npy), computes the same losses, and prints the time of a step. With --check
it also compares its losses with those of the engine, to 1e-3.

The peer is written to be quick: weights take no gradient, what depends on the picture alone is computed once, the images of a step are one
batch, ReLU works in place where it can, padding is left to the convolution. Its random backgrounds are made in advance and are not in its
time; the engine's are in the engine's.
"""
import argparse
import json
import math
import os
import resource
import statistics
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "export"), os.path.join(HERE, "..", "..", "tests", "kernels")]
import philox_backgrounds  # noqa: E402
import torch_reference  # noqa: E402

WARM_UP, CYCLE = 6, 3  # as in bench_step.cpp: backgrounds take turns in three kinds, so a median is taken over whole turns
TERMS = ("act", "kl", "ce", "tv", "rob", "total")
TOLERANCE = 1e-3
COMPARED_HARD = 3  # steps; later the hard masks of two implementations part at pixels that are equal up to rounding


class Classifier:
    """An ONNX graph as a list of torch calls, made once."""

    def __init__(self, path, kept):
        model = torch_reference.Model(path)
        self.constants, self.input = model.weights, next(iter(model.inputs))
        uses = {}
        for node in model.nodes:
            for name in node.input:
                uses[name] = uses.get(name, 0) + 1
        single = {name for name, count in uses.items() if count == 1 and name not in kept and name not in self.constants}
        producer = {name: node.op_type for node in model.nodes for name in node.output}
        self.calls = []
        for node in model.nodes:
            function = torch_reference.OPERATORS[node.op_type]
            attributes = torch_reference.Attributes(node, model.opset, model.real)
            quick = getattr(self, node.op_type.lower(), None)
            call = quick(attributes) if quick else None
            if node.op_type == "Relu" and node.input[0] in single and producer.get(node.input[0]) in ("Conv", "Add"):
                call = torch.relu_
            if call is None:
                call = (lambda f, a: lambda *inputs: f(a, *inputs))(function, attributes)
            self.calls.append((call, list(node.input), list(node.output)))

    @staticmethod
    def conv(a):
        pads = a.get("pads", [0, 0, 0, 0])
        if a.get("auto_pad", "NOTSET") != "NOTSET" or list(pads[:2]) != list(pads[2:]):
            return None
        stride, dilation, groups = a.get("strides", [1, 1]), a.get("dilations", [1, 1]), a.get("group", 1)
        return lambda x, w, b=None: F.conv2d(x, w, b, stride, pads[:2], dilation, groups)

    @staticmethod
    def maxpool(a):
        pads = a.get("pads", [0, 0, 0, 0])
        if a.get("auto_pad", "NOTSET") != "NOTSET" or list(pads[:2]) != list(pads[2:]):
            return None
        kernel, stride, dilation, ceil = a.get("kernel_shape"), a.get("strides", [1, 1]), a.get("dilations", [1, 1]), a.get("ceil_mode", 0)
        return lambda x: F.max_pool2d(x, kernel, stride, pads[:2], dilation, bool(ceil))

    def __call__(self, x, wanted):
        values = dict(self.constants)
        values[self.input] = x
        for call, inputs, outputs in self.calls:
            results = call(*[values[name] if name else None for name in inputs])
            for name, result in zip(outputs, results if isinstance(results, tuple) else (results,)):
                values[name] = result
        return [values[name] for name in wanted]


def entry(values, i):
    return values[min(i, len(values) - 1)]


class TapDistance:
    """Cosine or mse to the tap of the picture; only the first image of the batch is matched."""

    def __init__(self, kind, reference):
        self.kind = kind
        if kind == "cosine":
            norm = reference.norm(dim=1, keepdim=True)
            self.saved = torch.where(norm > 1e-8, reference / norm.clamp_min(1e-30), torch.zeros(()))
        elif kind == "mse":
            self.saved, self.power = reference, (reference * reference).mean().clamp_min(1e-12)
        else:
            raise ValueError(f"the peer knows the distances cosine and mse, not {kind}")

    def __call__(self, tap):
        v = tap[:1]
        if self.kind == "mse":
            return F.mse_loss(v, self.saved) / self.power
        power = (v * v).sum(dim=1).clamp_min(1e-16)
        return 1 - ((v * self.saved).sum(dim=1) * power.rsqrt()).mean()


def total_variation(m, neighbours):
    value = (m[:, 1:] - m[:, :-1]).abs().mean() + (m[1:] - m[:-1]).abs().mean()
    if neighbours == 8:
        value = value + math.sqrt(0.5) * ((m[1:, 1:] - m[:-1, :-1]).abs().mean() + (m[1:, :-1] - m[:-1, 1:]).abs().mean())
    return value


def top_fraction(s, area):
    """The mask of exactly the top fraction, ties to the lower index, and the threshold for the soft mask."""
    flat = s.detach().reshape(-1)
    n = flat.numel()
    k = min(n, max(0, math.ceil(np.float32(area).item() * n * (1 - 2.0**-22))))
    if k == 0:
        return torch.zeros_like(s), flat.max()
    kept = flat.kthvalue(n - k + 1).values
    above, equal = flat > kept, flat == kept
    missing, ties = k - int(above.sum()), int(equal.sum())
    if ties > missing:
        equal = equal & (equal.cumsum(0) <= missing)
    threshold = kept
    if ties == missing and k < n:
        threshold = kept / 2 + flat[flat < kept].max() / 2
    return (above | equal).to(s.dtype).reshape(s.shape), threshold


class AreaController:
    def __init__(self, schedule, steps):
        self.s, self.area = schedule, schedule["start"]
        self.fall = max(1, int(math.floor(schedule["until"] * steps + 0.5)))

    def update(self, step, kept, best):
        following = step + 1
        if following < self.fall:
            self.area = min(1.0, self.s["start"] * (self.s["end"] / self.s["start"]) ** (following / self.fall))
        else:
            self.area = min(1.0, self.area * (self.s["shrink"] if kept else self.s["grow"]), 1.6 * best)


class Peer:
    def __init__(self, path, recipe, folder, steps):
        self.recipe, self.steps = recipe, steps
        with open(os.path.join(folder, "engine.json")) as f:
            self.engine = json.load(f)
        p = self.problem = self.engine["problem"]
        self.weights = {name: recipe["weights"].get(name, 0.0) for name in TERMS[:-1]}
        unknown = {name for name, value in recipe["weights"].items() if value and name not in self.weights}
        kind = recipe["generator"]
        if unknown or kind["kind"] != "grid" or recipe.get("robust_backgrounds", 0) != 1 or recipe.get("robust_form", "ce") != "ce":
            raise ValueError("the peer knows the grid, one random background and the terms " + ", ".join(self.weights))
        if recipe.get("smooth_start", 0) or recipe.get("smooth_end", 0):
            raise ValueError("the peer does not smooth gradients")
        self.classifier = Classifier(path, p["taps"])
        self.wanted = [p["logits"]] + p["taps"]
        self.x = torch.from_numpy(np.load(os.path.join(folder, "x.npy")))[:1]
        _, channels, self.H, self.W = self.x.shape
        column = lambda values: torch.tensor(values, dtype=torch.float32).reshape(1, channels, 1, 1)
        self.colour = column(p["colour"])
        # The random backgrounds, in advance.
        self.backgrounds = []
        for k in range(steps):
            pixels = philox_backgrounds.background(p["seed"], philox_backgrounds.STREAMS["optimise"], 0, k, tuple(self.x.shape[1:]), p["mu"],
                                                   p["sigma"])
            network = pixels * np.reshape(p["scale"], (-1, 1, 1)) + np.reshape(p["offset"], (-1, 1, 1))
            self.backgrounds.append(torch.from_numpy(network.astype(np.float32))[None])
        with torch.no_grad():
            logits, *taps = self.classifier(self.x, self.wanted)
        self.label = torch.tensor([p["label"]])
        T = self.T = recipe.get("kl_temperature", 2.0)
        self.target = F.softmax(logits / T, dim=1)
        self.p_x = F.softmax(logits, dim=1)[0, p["label"]].item()
        t = recipe["taps"]
        self.distances = [TapDistance(entry(t["distances"], i), tap) for i, tap in enumerate(taps)]
        self.tap_weights = [entry(t["weights"], i) for i in range(len(taps))]
        cell = kind["cell"]
        self.rows, self.columns = -(-self.H // cell), -(-self.W // cell)
        self.size = (self.rows * cell, self.columns * cell)
        self.mode = {"mode": "bilinear", "align_corners": False} if kind["smooth"] else {"mode": "nearest"}
        self.s = torch.full((1, 1, self.rows, self.columns), float(kind.get("initial_logit", 0.0)), requires_grad=True)
        rate = recipe["learning_rate"]
        rate = rate[recipe["generator"]["kind"]] if isinstance(rate, dict) else rate
        self.adam = torch.optim.Adam([self.s], lr=rate, betas=(recipe.get("beta1", 0.9), recipe.get("beta2", 0.999)))
        self.schedule = recipe["area_schedule"]
        self.scheduled = self.schedule.get("enabled", True)
        self.controller = AreaController(self.schedule, steps) if self.scheduled else None
        self.best_area, self.best = 1.0, None

    def masks(self):
        s = F.interpolate(self.s, self.size, **self.mode)[0, 0, :self.H, :self.W]
        if self.scheduled:
            hard, threshold = top_fraction(s, self.controller.area)
            return hard, torch.sigmoid((s - threshold) / self.schedule["temperature"])
        return (s.detach() > 0).to(s.dtype), torch.sigmoid(s)

    def step(self, number):
        w = self.weights
        hard, soft = self.masks()
        composed_soft = number < self.recipe.get("soft_until", 0.0) * self.steps
        mask = soft if composed_soft else hard + (soft - soft.detach())
        background = torch.cat([self.colour.expand_as(self.x), self.backgrounds[number]])
        images = mask * self.x + (1 - mask) * background
        logits, *taps = self.classifier(images, self.wanted)
        z, zr = logits[:1], logits[1:]
        terms = {"act": sum(weight * d(tap) for weight, d, tap in zip(self.tap_weights, self.distances, taps)),
                 "kl": self.T**2 * F.kl_div(F.log_softmax(z / self.T, dim=1), self.target, reduction="sum"),
                 "ce": F.cross_entropy(z, self.label),
                 "tv": total_variation(soft, self.recipe.get("tv_neighbours", 8)),
                 "rob": F.cross_entropy(zr, self.label)}
        total = sum(w[name] * value for name, value in terms.items() if w[name])
        self.adam.zero_grad(set_to_none=True)
        total.backward()
        self.adam.step()
        values = {name: float(value) for name, value in terms.items()}
        values["total"] = float(total)
        # Does the hard mask of this step keep the label?
        z = z.detach()
        area = int(hard.sum()) / hard.numel()
        kept = int(z.argmax()) == int(self.label)
        if self.scheduled:
            kept = kept and F.softmax(z, dim=1)[0, int(self.label)].item() >= self.schedule["keep"] * self.p_x
        if kept and not composed_soft and area > 0 and (area < self.best_area or self.best is None):
            self.best_area, self.best = area, hard.to(torch.uint8)
        if self.scheduled:
            self.controller.update(number, kept, self.best_area)
        return values


def check(engine, terms, compared):
    """Largest difference of each step, relative to the engine's value (to 1e-2 where that is smaller); whether all are within bounds."""
    worst = []
    for i in range(min(compared, len(terms))):
        ratio = {name: abs(terms[i][name] - engine[name][i]) / max(abs(engine[name][i]), 1e-2) for name in TERMS}
        name = max(ratio, key=ratio.get)
        worst.append((ratio[name], name))
    return worst


def main():
    parser = argparse.ArgumentParser(description="One optimisation step in PyTorch eager.")
    parser.add_argument("model", help="the ONNX file that the engine was given")
    parser.add_argument("--engine", required=True, metavar="DIR", help="what actmatch_bench --out wrote")
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--steps", type=int, help="default: as many as the engine did")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--check", action="store_true", help="compare the losses with the engine's; exit 1 when they differ")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    try:
        with open(options.recipe) as f:
            recipe = json.load(f)
        with open(os.path.join(options.engine, "engine.json")) as f:
            steps = json.load(f)["steps"]
        peer = Peer(options.model, recipe, options.engine, steps)
    except (OSError, ValueError, KeyError, NotImplementedError) as error:
        sys.exit(f"peer_step: {error}")

    stamps, terms = [], []
    for number in range(min(options.steps or steps, steps)):
        terms.append(peer.step(number))
        stamps.append((time.perf_counter(), time.process_time()))
    turns = [[(stamps[i + CYCLE][j] - stamps[i][j]) / CYCLE for i in range(WARM_UP, len(stamps) - CYCLE, CYCLE)] for j in (0, 1)]
    wall, cpu = (1e3 * statistics.median(t) if t else float("nan") for t in turns)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    result = {"torch": torch.__version__, "threads": options.threads, "step": {"wall_ms": wall, "cpu_ms": cpu}, "peak_rss_mib": peak,
              "terms": {name: [t[name] for t in terms] for name in TERMS}}
    failed = False
    if options.check:
        # On hard masks the first step must agree. What follows is shown, not judged: the first Adam step moves every logit by the same
        # amount up or down, which leaves large sets of equal logits, and rounding decides which of them the mask takes.
        soft = recipe.get("soft_until", 0) >= 1
        worst = check(peer.engine["terms"], terms, len(terms) if soft else COMPARED_HARD)
        judged = worst if soft else worst[:1]
        failed = any(not w <= TOLERANCE for w, _ in judged)
        result["check"] = {"tolerance": TOLERANCE, "judged_steps": len(judged), "worst": [w for w, _ in worst], "passed": not failed}
    if options.json:
        print(json.dumps(result))
    else:
        print(f"torch {torch.__version__}, {options.threads} thread(s)\nstep {wall:.2f} ms wall, {cpu:.2f} ms cpu; peak resident {peak:.1f} MiB")
        for i in sorted({0, 1, 2, len(terms) - 1}):
            print(f"step {i + 1:3d}  " + "  ".join(f"{name} {terms[i][name]:.6f}" for name in TERMS))
        if options.check:
            for i, (w, name) in enumerate(worst):
                print(f"step {i + 1:3d}: largest difference from the engine {w:.1e} ({name})" + ("" if i < len(judged) else ", not judged"))
            print("losses agree" if not failed else f"losses differ by more than {TOLERANCE}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
