#!/usr/bin/env python3
"""How many times as fast as the best PyTorch variant the engine is, for each number of pictures at once that both were timed with.

    tools/bench/peer_ratio.py --engine RUN/engine.json ... --peer PEER.json ...

engine.json is what actmatch_bench --out writes, PEER.json what peer_gpu.py --json writes, of the same model and recipe.
"""
import argparse
import json
import sys


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--engine", nargs="+", required=True)
    p.add_argument("--peer", nargs="+", required=True)
    a = p.parse_args()
    best, compiled = {}, set()
    for path in a.peer:
        with open(path) as f:
            for row in json.load(f)["rows"]:
                if "ms_per_step" in row and row["variant"].startswith("compiled"):
                    compiled.add(row["batch"])
                if "ms_per_step" in row and row["ms_per_step"] < best.get(row["batch"], {"ms_per_step": float("inf")})["ms_per_step"]:
                    best[row["batch"]] = row
    found = 0
    for path in a.engine:
        with open(path) as f:
            engine = json.load(f)
        peer = best.get(engine["batch"])
        if peer:
            found += 1
            ms = engine["step"]["wall_ms"]
            print(f"B={engine['batch']} {engine['precision']} {peer['ms_per_step'] / ms:.2f} times as fast as the best PyTorch: {ms:.3f} ms a step, "
                  f"{peer['variant']} {peer['ms_per_step']:.3f}" + ("" if engine["batch"] in compiled else "; no compiled variant was timed"))
    return 0 if found else "peer_ratio.py: no number of pictures at once that both were timed with"


if __name__ == "__main__":
    sys.exit(main())
