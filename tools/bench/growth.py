#!/usr/bin/env python3
"""How the optimisation step grows with pictures at once, with the extent of the pictures and with the number of taps: growth.json, growth.svg.

    tools/bench/growth.py build --image photo.jpg --out OUT [--device cuda --precision bf16 --batches 1,2,4,8,16,32,64]

ResNet with random weights (make_random_resnet), actmatch_bench with recipe_bench.json, one thing changed at a time from --at (pictures at once,
extent, taps). Times are of one step, in milliseconds: wall time on a GPU, processor time of one thread on a CPU (less disturbed by other work
on the machine); memory is what the device gave, on a CPU what the programs take. BUILD holds the two programs.
"""
import argparse
import json
import math
import pathlib
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent


def numbers(text):
    values = [int(v) for v in text.split(",")]
    if any(v < 1 for v in values):
        raise argparse.ArgumentTypeError("numbers from 1 on")
    return values


class Bench:
    def __init__(self, options, folder):
        self.options, self.folder, self.seen, self.begun, self.left_out = options, pathlib.Path(folder), {}, time.monotonic(), 0

    def model(self, size):
        path = self.folder / f"resnet{self.options.depth}_{size}.onnx"
        if not path.exists():
            subprocess.run([self.options.build / "make_random_resnet", str(self.options.depth), "--size", str(size), "--out", path], check=True)
        return path

    def points(self, settings):
        found = []
        for setting in settings:
            if setting not in self.seen and self.seen and self.options.seconds and time.monotonic() - self.begun > self.options.seconds:
                self.left_out += 1
            else:
                found.append(self.point(*setting))
        return found

    def point(self, batch, size, taps):
        if (batch, size, taps) in self.seen:
            return self.seen[batch, size, taps]
        o = self.options
        recipe = json.loads((HERE / "recipe_bench.json").read_text())
        recipe["taps"]["limit"] = taps
        path = self.folder / "recipe.json"
        path.write_text(json.dumps(recipe))
        command = [o.build / "actmatch_bench", self.model(size), "--image", *o.image, "--device", o.device, "--precision", o.precision, "--recipe", path,
                   "--batch", str(batch), "--steps", str(o.steps), "--rounds", "3", "--json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode != 0:
            sys.exit(f"growth.py: actmatch_bench failed with {batch} pictures of {size} x {size}, {taps} taps")
        report = json.loads(done.stdout)
        clock = "cpu_ms" if report["device"].startswith("CPU") else "wall_ms"
        found = {"pictures": batch, "extent": size, "taps": len(report["problem"]["taps"]), "step_ms": report["step"][clock],
                 "classifier_ms": report["classifier_passes"][clock],
                 "memory_mib": report.get("device_mib", report["program_mib"] * batch), "device": report["device"], "clock": clock}
        self.seen[batch, size, taps] = found
        print(f"{batch:4d} pictures, {size:4d} x {size:<4d}, {found['taps']} taps: {found['step_ms']:9.3f} ms, {found['memory_mib']:8.1f} MiB", flush=True)
        return found


# ---- the drawing: for each of the three a panel of time and one of memory

WIDTH, HEIGHT, LEFT, TOP, GAP_X, GAP_Y = 230, 170, 64, 56, 78, 70
COLOURS = {"step_ms": "#1f5fa8", "classifier_ms": "#d98a1f", "memory_mib": "#3a7d44"}


def ticks(low, high):
    """Powers of ten, or more between them where there would be fewer than three."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for steps in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
        found = [s * 10.0**e for e in range(first, last + 1) for s in steps if low <= s * 10.0**e <= high]
        if len(found) >= 3:
            break
    return found


def panel(left, top, points, across, figures, heading):
    xs = [p[across] for p in points]
    ys = [p[f] for p in points for f in figures]
    low, high = min(ys) / 1.3, max(ys) * 1.3
    x_low, x_high = min(xs), max(xs)

    def x_of(v):
        return left + (WIDTH * (math.log(v / x_low) / math.log(x_high / x_low)) if x_high > x_low else WIDTH / 2)

    def y_of(v):
        return top + HEIGHT - HEIGHT * math.log(v / low) / math.log(high / low)

    out = [f'<text x="{left}" y="{top - 8}" class="heading">{heading}</text>',
           f'<rect x="{left}" y="{top}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#999"/>']
    for v in ticks(low, high):
        out.append(f'<line x1="{left}" x2="{left + WIDTH}" y1="{y_of(v):.1f}" y2="{y_of(v):.1f}" stroke="#ddd"/>'
                   f'<text x="{left - 6}" y="{y_of(v) + 4:.1f}" text-anchor="end">{v:g}</text>')
    for v in xs:
        out.append(f'<text x="{x_of(v):.1f}" y="{top + HEIGHT + 15}" text-anchor="middle">{v}</text>')
    for figure in figures:
        path = " ".join(f"{x_of(p[across]):.1f},{y_of(p[figure]):.1f}" for p in points)
        out.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[figure]}" stroke-width="2"/>')
        out += [f'<circle cx="{x_of(p[across]):.1f}" cy="{y_of(p[figure]):.1f}" r="3" fill="{COLOURS[figure]}"/>' for p in points]
    return out


def drawing(series, title):
    width = LEFT + 3 * WIDTH + 2 * GAP_X + 24
    height = TOP + 2 * HEIGHT + GAP_Y + 56
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
           "<style>text { font: 11px sans-serif; fill: #333 } .heading { font-weight: bold } .title { font: bold 13px sans-serif }</style>",
           f'<rect width="{width}" height="{height}" fill="white"/>', f'<text x="{LEFT}" y="20" class="title">{title}</text>']
    for i, (across, name, points) in enumerate(series):
        left = LEFT + i * (WIDTH + GAP_X)
        out += panel(left, TOP, points, across, ["step_ms", "classifier_ms"], f"ms a step over {name}")
        out += panel(left, TOP + HEIGHT + GAP_Y, points, across, ["memory_mib"], f"MiB over {name}")
    at = height - 14
    for i, (figure, name) in enumerate((("step_ms", "whole step"), ("classifier_ms", "classifier's passes alone"), ("memory_mib", "memory"))):
        out.append(f'<line x1="{LEFT + 200 * i}" x2="{LEFT + 200 * i + 24}" y1="{at - 4}" y2="{at - 4}" stroke="{COLOURS[figure]}" stroke-width="2"/>'
                   f'<text x="{LEFT + 200 * i + 30}" y="{at}">{name}</text>')
    return "\n".join(out) + "\n</svg>\n"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("build", type=pathlib.Path)
    p.add_argument("--image", required=True, nargs="+")
    p.add_argument("--out", required=True, type=pathlib.Path)
    p.add_argument("--device", default="cpu")
    p.add_argument("--precision", default="fp32")
    p.add_argument("--depth", type=int, default=18, choices=(18, 50))
    p.add_argument("--batches", type=numbers, default=[1, 2, 4, 8])
    p.add_argument("--sizes", type=numbers, default=[64, 96, 128, 160, 224, 320])
    p.add_argument("--taps", type=numbers, default=[1, 2, 3, 4, 5])
    p.add_argument("--at", type=numbers, default=[1, 224, 5], metavar="PICTURES,EXTENT,TAPS", help="what is not changed")
    p.add_argument("--steps", type=int, default=18)
    p.add_argument("--seconds", type=float, default=0, help="begin no further point after so long, and draw those that there are")
    o = p.parse_args()
    if len(o.at) != 3:
        p.error("--at takes three numbers")
    o.build = o.build.resolve()
    for program in ("actmatch_bench", "make_random_resnet"):
        if not (o.build / program).exists():
            sys.exit(f"growth.py: there is no {program} in {o.build}; build with -DACTMATCH_BENCH=ON")
    batch, size, taps = o.at
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(o, folder)
        series = [("pictures", "pictures at once", bench.points((b, size, taps) for b in sorted(o.batches))),
                  ("extent", "the extent of the pictures", bench.points((batch, s, taps) for s in sorted(o.sizes))),
                  ("taps", "the number of taps", bench.points((batch, size, t) for t in sorted(o.taps)))]
    if bench.left_out:
        print(f"growth.py: {bench.left_out} points left out, for the {o.seconds:g} s were over")
    series = [s for s in series if s[2]]
    any_point = series[0][2][0]
    time = "processor time" if any_point["clock"] == "cpu_ms" else "wall time"
    title = f"One step, ResNet-{o.depth}, {o.precision}, {time}; {any_point['device']}; else {batch} picture(s), {size} x {size}, {taps} taps"
    o.out.mkdir(parents=True, exist_ok=True)
    (o.out / "growth.json").write_text(json.dumps({across: points for across, _, points in series}, indent=1) + "\n")
    (o.out / "growth.svg").write_text(drawing(series, title.replace("&", "&amp;").replace("<", "&lt;")))


if __name__ == "__main__":
    main()
