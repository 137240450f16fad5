#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How many steps a trained explainer saves: each picture explained by the explainer alone, by the optimisation from its answer and by the
optimisation from nothing, with several numbers of steps. Prints a Markdown table.

    warm_start.py build/actmatch examples/shapes96.onnx explainer.onnx PICTURES [--count 40] [--steps 300,150,75,40,20] [-- further flags]
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile


def explain(arguments, pictures, flags):
    with tempfile.TemporaryDirectory() as out:
        subprocess.run([arguments.actmatch, "explain", arguments.model, *pictures, "--out", out, "--quiet", *arguments.more, *flags], check=True)
        records = []
        for name in sorted(os.listdir(out)):
            path = os.path.join(out, name, "result.json")
            if os.path.exists(path):
                with open(path) as file:
                    records.append(json.load(file))
        return records


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("actmatch")
    parser.add_argument("model")
    parser.add_argument("explainer")
    parser.add_argument("pictures")
    parser.add_argument("--count", type=int, default=40, help="of the folder's pictures, the first by name")
    parser.add_argument("--steps", default="300,150,75,40,20")
    own, more = sys.argv[1:], []  # behind --: further flags of 'actmatch explain'
    if "--" in own:
        own, more = own[:own.index("--")], own[own.index("--") + 1:]
    arguments = parser.parse_args(own)
    arguments.more = more
    pictures = [os.path.join(arguments.pictures, n) for n in sorted(os.listdir(arguments.pictures)) if n.endswith((".png", ".jpg"))][:arguments.count]
    steps = arguments.steps.split(",")
    rows = [("`center`, the control", ["--method", "center"]), ("explainer alone", ["--generator", arguments.explainer])]
    rows += [(f"from nothing, {n} steps", ["--steps", n]) for n in steps]
    rows += [(f"from the explainer, {n} steps", ["--steps", n, "--generator", arguments.explainer]) for n in steps]
    print(f"{len(pictures)} pictures; means\n")
    print("| begin | smallest feasible mask before pruning | after pruning | backgrounds that keep the class | seconds for the map |")
    print("|---|---:|---:|---:|---:|")
    for name, flags in rows:
        records = explain(arguments, pictures, flags)
        mean = lambda key: statistics.mean(r[key] for r in records)
        seconds = statistics.mean(r["seconds"]["optimise"] for r in records)
        print(f"| {name} | {100 * mean('pruned_from_area'):.1f} % | {100 * mean('area'):.1f} % | {100 * mean('background_stability'):.0f} % | {seconds:.3f} |",
              flush=True)


if __name__ == "__main__":
    main()
