#!/usr/bin/env python3
"""The optimisation step of actmatch on a GPU in PyTorch, as quick as PyTorch can be made: the peer that the CUDA backend is compared with.

    actmatch_bench MODEL --image FILE... --recipe RECIPE --out DIR
    peer_gpu.py MODEL --engine DIR --recipe RECIPE [--batch B...] [--variants NAME...] [--seconds N] [--json FILE]

takes the pictures, taps and seed from DIR (engine.json, x.npy), fills batches with the pictures in turn, and prints the time of a step and
pictures x steps a second, one row for each batch and variant:

    eager-fp32      what anybody would write: fp32 without TF32, one call after the other
    graph-bf16      bfloat16, channels last, the whole step captured in a CUDA graph
    compiled-fp32   torch.compile, fp32 without TF32, the whole step in a CUDA graph
    compiled-tf32   the same with TF32
    compiled-bf16   torch.compile, bfloat16, channels last, the whole step in a CUDA graph: the strongest

Only the mask's logits take gradients; what depends on the picture alone (its class, its taps) is computed once; all images of a step are one
batch; masks, area controller, losses and Adam stay on the device, nothing waits for the host. The random backgrounds are made in advance and
are not in the peer's time; the engine's are in the engine's. --check compares the losses of one picture with the engine's, to 1e-3.

Without a GPU it runs on the CPU, without graphs, to be tested: --device cpu.
"""
import argparse
import gc
import json
import os
import statistics
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

import peer_step
from peer_step import TERMS, TOLERANCE, entry, philox_backgrounds

VARIANTS = {  # name: (type of the classifier, TF32, torch.compile, CUDA graph)
    "eager-fp32": (torch.float32, False, False, False),
    "graph-bf16": (torch.bfloat16, False, False, True),
    "compiled-bf16": (torch.bfloat16, False, True, True),
    "compiled-tf32": (torch.float32, True, True, True),
    "compiled-fp32": (torch.float32, False, True, True),
}
# Largest distance of compiled gradients from eager ones, as a share of their size: a compiler that miscompiles is no peer. Rounding makes up
# a few percent in bfloat16, where hard masks and max pools turn small differences into other choices.
GRADIENT_BOUND = {torch.float32: 0.02, torch.bfloat16: 0.2}
BACKGROUND_POOL = 12  # all kinds of background, grids of all sizes; when only time matters they repeat
WARM_UP = 4


class Setting:
    """What all variants and batches share, read once."""

    def __init__(self, path, folder, recipe):
        self.path, self.recipe = path, recipe
        with open(os.path.join(folder, "engine.json")) as f:
            self.engine = json.load(f)
        self.problem = self.engine["problem"]
        self.pictures = np.load(os.path.join(folder, "x.npy"))
        self.weights = {name: recipe["weights"].get(name, 0.0) for name in TERMS[:-1]}
        unknown = {name for name, value in recipe["weights"].items() if value and name not in self.weights}
        if (unknown or recipe["generator"]["kind"] != "grid" or recipe.get("robust_backgrounds", 0) != 1
                or recipe.get("robust_form", "ce") != "ce" or set(recipe["taps"]["distances"]) - {"mse"}):
            raise ValueError("the peer knows the grid, one random background, mse and the terms " + ", ".join(self.weights))
        if recipe.get("smooth_start", 0) or recipe.get("smooth_end", 0):
            raise ValueError("the peer does not smooth gradients")
        if recipe.get("soft_until", 0.0) not in (0, 1):
            raise ValueError("the peer composes with soft masks in all steps or in none")
        self.backgrounds = {}

    def background(self, k):
        if k not in self.backgrounds:
            p = self.problem
            pixels = philox_backgrounds.background(p["seed"], philox_backgrounds.STREAMS["optimise"], 0, k, self.pictures.shape[1:], p["mu"],
                                                   p["sigma"])
            network = pixels * np.reshape(p["scale"], (-1, 1, 1)) + np.reshape(p["offset"], (-1, 1, 1))
            self.backgrounds[k] = torch.from_numpy(network.astype(np.float32))
        return self.backgrounds[k]


class Job:
    """The step for a batch of pictures. All of its state is tensors at fixed addresses, so that it can be recorded."""

    def __init__(self, setting, batch, dtype, compiled, device, steps, backgrounds):
        recipe, problem = setting.recipe, setting.problem
        self.recipe, self.dtype, self.batch, self.steps = recipe, dtype, batch, steps
        self.weights = setting.weights
        pictures = setting.pictures
        x = torch.from_numpy(pictures[np.arange(batch) % len(pictures)]).to(device)
        _, channels, self.H, self.W = x.shape
        classifier = peer_step.Classifier(setting.path, problem["taps"])
        wanted = [problem["logits"]] + problem["taps"]
        nhwc = compiled or dtype != torch.float32
        exact = self.constants(classifier, torch.float32, device, False)
        with torch.no_grad():
            classifier.constants = exact
            rows = [classifier(x[i:i + 1], wanted) for i in range(min(batch, len(pictures)))]
            rows = [rows[i % len(rows)] for i in range(batch)]
            logits, *taps = [torch.cat(column) for column in zip(*rows)]
        self.label = logits.argmax(1)
        self.T = recipe.get("kl_temperature", 2.0)
        self.target = F.softmax(logits / self.T, dim=1)
        self.least_p = recipe["area_schedule"].get("keep", 0.0) * F.softmax(logits, dim=1).gather(1, self.label[:, None])[:, 0]
        self.power = [tap.square().mean(dim=(1, 2, 3)).clamp_min(1e-12) for tap in taps]
        layout = torch.channels_last if nhwc else torch.contiguous_format
        self.taps = [tap.to(dtype).contiguous(memory_format=layout) for tap in taps]
        self.tap_weights = [entry(recipe["taps"]["weights"], i) for i in range(len(taps))]
        del exact, rows, logits, taps
        classifier.constants = self.constants(classifier, dtype, device, nhwc)

        self.x = x.to(dtype).contiguous(memory_format=layout)
        self.classifier = lambda images: classifier(images, wanted)
        if compiled:  # one straight graph: calls by way of Python lists would be compiled in pieces
            from torch.fx.experimental.proxy_tensor import make_fx
            with torch.no_grad():
                self.classifier = make_fx(self.classifier)(torch.cat([self.x, self.x]))
        self.colour = torch.tensor(problem["colour"], dtype=dtype, device=device).reshape(1, channels, 1, 1)
        self.backgrounds = torch.stack([setting.background(k) for k in range(backgrounds)]).to(device).to(dtype)

        kind, self.schedule = recipe["generator"], recipe["area_schedule"]
        cell = kind["cell"]
        rows, columns = -(-self.H // cell), -(-self.W // cell)
        self.size = (rows * cell, columns * cell)
        self.mode = {"mode": "bilinear", "align_corners": False} if kind["smooth"] else {"mode": "nearest"}
        # As two matrix products for the compiler, which makes of an interpolation's gradient a sum by atomic additions.
        self.up = None
        if compiled:
            eye = lambda m: torch.eye(m, device=device)[None, None]
            self.up = (F.interpolate(eye(rows), (self.size[0], rows), **self.mode)[0, 0, :self.H].contiguous(),
                       F.interpolate(eye(columns), (columns, self.size[1]), **self.mode)[0, 0, :, :self.W].contiguous())
        self.s = torch.full((batch, 1, rows, columns), float(kind.get("initial_logit", 0.0)), device=device, requires_grad=True)
        rate = recipe["learning_rate"]
        options = {"lr": rate[kind["kind"]] if isinstance(rate, dict) else rate,
                   "betas": (recipe.get("beta1", 0.9), recipe.get("beta2", 0.999))}
        if device.type == "cuda":
            options.update(capturable=True, fused=True)
        self.adam = torch.optim.Adam([self.s], **options)
        self.scheduled = self.schedule.get("enabled", True)
        self.soft = recipe.get("soft_until", 0.0) == 1
        self.fall = max(1, int(self.schedule.get("until", 0.6) * steps + 0.5))

        n = self.H * self.W
        self.number = torch.zeros(1, dtype=torch.long, device=device)
        self.area = torch.full((batch,), float(self.schedule.get("start", 1.0)), dtype=torch.float64, device=device)
        self.best_area = torch.ones(batch, dtype=torch.float64, device=device)
        self.best = torch.zeros(batch, n, device=device)
        self.trace = torch.zeros(steps, len(TERMS), batch, device=device)
        self.forward, self.control = self.losses, self.controller
        if compiled:
            torch._dynamo.reset()
            self.forward = torch.compile(self.losses, dynamic=False, fullgraph=True)
            self.control = torch.compile(self.controller, dynamic=False, fullgraph=True)

    @staticmethod
    def constants(classifier, dtype, device, nhwc):
        def place(value):
            value = value.to(device)
            if not value.is_floating_point():
                return value
            value = value.to(dtype)
            return value.contiguous(memory_format=torch.channels_last) if value.dim() == 4 and nhwc else value
        return {name: place(value) for name, value in classifier.constants.items()}

    def masks(self, s, area):
        if self.up is None:
            s = F.interpolate(s, self.size, **self.mode)[:, 0, :self.H, :self.W].reshape(self.batch, -1)
        else:
            s = (self.up[0] @ s[:, 0] @ self.up[1]).reshape(self.batch, -1)
        if not self.scheduled:
            return (s.detach() > 0).to(s.dtype), torch.sigmoid(s)
        n = s.shape[1]
        still = s.detach()
        values = torch.sort(still, dim=1, descending=True).values
        k = torch.ceil(area.float().double() * n * (1 - 2.0**-22)).clamp(0, n).long()[:, None]
        kept, dropped = values.gather(1, (k - 1).clamp_min(0)), values.gather(1, k.clamp_max(n - 1))
        above, equal = still > kept, still == kept
        missing = k - above.sum(1, keepdim=True)  # of equal ones, the first so many
        hard = (above | (equal & (equal.cumsum(1) <= missing))).to(s.dtype)
        threshold = kept / 2 + dropped / 2
        return hard, torch.sigmoid((s - threshold) / self.schedule["temperature"])

    def variation(self, m):
        m = m.reshape(self.batch, self.H, self.W)
        mean = lambda d: d.abs().mean(dim=(1, 2))
        value = mean(m[:, :, 1:] - m[:, :, :-1]) + mean(m[:, 1:] - m[:, :-1])
        if self.recipe.get("tv_neighbours", 8) == 8:
            value = value + 0.5**0.5 * (mean(m[:, 1:, 1:] - m[:, :-1, :-1]) + mean(m[:, 1:, :-1] - m[:, :-1, 1:]))
        return value

    def losses(self, s, area, number):
        """The sum of all pictures' losses, each picture's terms, its logits and its hard mask."""
        hard, soft = self.masks(s, area)
        shown = soft if self.soft else hard + (soft - soft.detach())
        shown = shown.reshape(self.batch, 1, self.H, self.W).to(self.dtype)
        random = self.backgrounds.index_select(0, number % len(self.backgrounds))
        evidence, rest = shown * self.x, 1 - shown
        images = torch.cat([evidence + rest * self.colour, evidence + rest * random])
        logits, *taps = self.classifier(images)
        z, zr = logits[:self.batch].float(), logits[self.batch:].float()
        act = torch.zeros_like(z[:, 0])
        for weight, tap, saved, power in zip(self.tap_weights, taps, self.taps, self.power):
            act = act + weight * (tap[:self.batch].float() - saved.float()).square().mean(dim=(1, 2, 3)) / power
        kl = self.T**2 * F.kl_div(F.log_softmax(z / self.T, dim=1), self.target, reduction="none").sum(1)
        terms = {"act": act, "kl": kl, "ce": F.cross_entropy(z, self.label, reduction="none"), "tv": self.variation(soft),
                 "rob": F.cross_entropy(zr, self.label, reduction="none")}
        total = torch.zeros_like(act)
        for name in TERMS[:-1]:
            if self.weights[name]:
                total = total + self.weights[name] * terms[name]
        terms["total"] = total
        return total.sum(), torch.stack([terms[name].detach() for name in TERMS]), z.detach(), hard

    def controller(self, z, hard, area, best_area, best, number):
        """Areas of the next step, and the best masks, as peer_step.py has them for one picture."""
        share = hard.mean(1, dtype=torch.float64)
        kept = z.argmax(1) == self.label
        if self.scheduled:
            kept = kept & (F.softmax(z, dim=1).gather(1, self.label[:, None])[:, 0] >= self.least_p)
        better = kept & (share > 0) & (share < best_area)
        if self.soft:
            better = torch.zeros_like(better)
        best_area = torch.where(better, share, best_area)
        best = torch.where(better[:, None], hard, best)
        if self.scheduled:
            s, following = self.schedule, (number + 1).double()
            falling = s["start"] * (s["end"] / s["start"]) ** (following / self.fall)
            later = torch.minimum(torch.where(kept, area * s["shrink"], area * s["grow"]), 1.6 * best_area)
            area = torch.where(following < self.fall, falling, later).clamp_max(1.0)
        return area, best_area, best

    def step(self):
        total, terms, z, hard = self.forward(self.s, self.area, self.number)
        total.backward()
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)
        with torch.no_grad():
            self.trace.index_copy_(0, self.number % self.steps, terms[None])
            area, best_area, best = self.control(z, hard, self.area, self.best_area, self.best, self.number)
            self.area.copy_(area), self.best_area.copy_(best_area), self.best.copy_(best)
            self.number.add_(1)


def gradient_difference(job):
    """Of the compiled step from the same step uncompiled, relative."""
    gradients = []
    for losses in (job.losses, job.forward):
        losses(job.s, job.area, job.number)[0].backward()
        gradients.append(job.s.grad.double())
        job.s.grad = None
    return float((gradients[1] - gradients[0]).norm() / gradients[0].norm())


def recorded(job):
    """The step as a CUDA graph: what it returns runs one step."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            job.step()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        job.step()
    return graph.replay


def measure(setting, name, batch, device, options):
    dtype, tf32, compiled, graph = VARIANTS[name]
    on_gpu = device.type == "cuda"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = True
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    synchronize = torch.cuda.synchronize if on_gpu else lambda: None
    made = time.perf_counter()
    job = Job(setting, batch, dtype, compiled, device, options.steps, min(BACKGROUND_POOL, options.steps))
    difference = gradient_difference(job) if compiled else 0.0
    if not difference <= GRADIENT_BOUND[dtype]:
        raise RuntimeError(f"the compiled gradients are off by {100 * difference:.1f} % of those without torch.compile")
    if graph and on_gpu:
        step = recorded(job)
    else:
        step = job.step
        for _ in range(WARM_UP):
            step()
    synchronize()
    made = time.perf_counter() - made
    times = []
    for _ in range(options.repeats):
        start = time.perf_counter()
        for _ in range(options.steps):
            step()
        synchronize()
        times.append((time.perf_counter() - start) / options.steps)
    seconds = statistics.median(times)
    if not torch.isfinite(job.trace).all():
        raise RuntimeError("the losses are no numbers")
    row = {"variant": name, "batch": batch, "ms_per_step": 1e3 * seconds, "ms_least": 1e3 * min(times), "ms_most": 1e3 * max(times),
           "pictures_steps_per_second": batch / seconds, "cuda_graph": graph and on_gpu, "compiled": compiled, "gradient_difference": difference, "seconds_to_prepare": made}
    if on_gpu:
        row["peak_mib"] = torch.cuda.max_memory_allocated() / 2**20
    return row


def check(setting, name, device):
    """Largest difference from the engine's losses, step by step, as peer_step.py judges it."""
    dtype, tf32, compiled, _ = VARIANTS[name]
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    steps = setting.engine["steps"]
    job = Job(setting, 1, dtype, compiled, device, steps, steps)
    for _ in range(steps):
        job.step()
    terms = [dict(zip(TERMS, row)) for row in job.trace[:, :, 0].double().tolist()]
    worst = peer_step.check(setting.engine["terms"], terms, steps if job.soft else peer_step.COMPARED_HARD)
    judged = worst if job.soft else worst[:1]
    failed = any(not w <= TOLERANCE for w, _ in judged)
    return {"variant": name, "tolerance": TOLERANCE, "judged_steps": len(judged), "worst": max(w for w, _ in judged), "passed": not failed}


def one_line(error):
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:300]


def main():
    parser = argparse.ArgumentParser(description="The optimisation step in PyTorch on a GPU.")
    parser.add_argument("model", help="the ONNX file that the engine was given")
    parser.add_argument("--engine", required=True, metavar="DIR", help="what actmatch_bench --out wrote")
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--device", default="cuda", help="cuda or cpu")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 64])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=["eager-fp32", "graph-bf16", "compiled-bf16"])
    parser.add_argument("--steps", type=int, default=60, help="of one timing")
    parser.add_argument("--repeats", type=int, default=5, help="timings that the median is taken of")
    parser.add_argument("--seconds", type=float, default=0, help="start no further row after so long")
    parser.add_argument("--check", action="store_true", help="compare the losses of one picture with the engine's; exit 1 when they differ")
    parser.add_argument("--json", metavar="FILE", help="write the report there too")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("peer_gpu: torch has no CUDA device; --device cpu tests the rest")
    device = torch.device(options.device)
    try:
        with open(options.recipe) as f:
            setting = Setting(options.model, options.engine, json.load(f))
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"peer_gpu: {error}")

    start = time.perf_counter()
    name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    report = {"torch": torch.__version__, "device": name, "model": os.path.basename(options.model),
              "passes_per_step": setting.engine["passes_per_step"], "steps": options.steps, "repeats": options.repeats, "rows": []}
    failed = False
    if options.check:
        exact = [name for name in options.variants if VARIANTS[name][:2] == (torch.float32, False)]
        if not exact:
            parser.error("--check needs a variant that computes in fp32")
        report["checks"] = [check(setting, name, device) for name in exact if not VARIANTS[name][2] or hasattr(torch, "compile")]
        failed = any(not c["passed"] for c in report["checks"])
        for c in report["checks"]:
            print(f"{c['variant']:14s} largest difference from the engine's losses {c['worst']:.1e}" + ("" if c["passed"] else ", too much"), flush=True)

    def keep():  # after each row, for whoever ends this early
        if options.json:
            with open(options.json + ".part", "w") as f:
                f.write(json.dumps(report) + "\n")
            os.replace(options.json + ".part", options.json)

    # Quick ones first: compiling takes a minute or more.
    for variant in sorted(options.variants, key=list(VARIANTS).index):
        for batch in sorted(options.batch, reverse=VARIANTS[variant][2]):
            row = {"variant": variant, "batch": batch}
            if VARIANTS[variant][2] and not hasattr(torch, "compile"):
                row["skipped"] = f"torch {torch.__version__} has no torch.compile"
            elif options.seconds and time.perf_counter() - start > options.seconds:
                row["skipped"] = f"the {options.seconds:.0f} s were over"
            else:
                try:
                    row = measure(setting, variant, batch, device, options)
                except Exception as error:  # a variant that PyTorch cannot run must not take the others' rows with it
                    row["failed"] = one_line(error)
                    failed = True
            report["rows"].append(row)
            keep()
            gc.collect()
            if device.type == "cuda":
                torch.cuda.empty_cache()
            outcome = row.get("skipped") or row.get("failed")
            print(f"{variant:14s} B={batch:<4d} " + (outcome if outcome else f"{row['ms_per_step']:9.3f} ms a step, "
                  f"{row['pictures_steps_per_second']:10.1f} pictures x steps a second"), flush=True)
    print(json.dumps(report))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
