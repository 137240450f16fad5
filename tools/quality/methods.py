#!/usr/bin/env python3
"""The methods' table: runs `actmatch evaluate` (or goes on with an earlier run) and writes means over the pictures as a Markdown table.

    tools/quality/methods.py build/actmatch MODEL --images DIR|MANIFEST.csv --out RUN [--methods LIST] [--write FILE.md] [--block NAME] [-- flags of evaluate]

The best figure of each column is bold; the controls (center, random) do not look at the picture. Only pictures that every method has a result for
count. With --write the table replaces what stands between `<!-- NAME -->` and `<!-- end of NAME -->` in the file (NAME: the model's, unless --block
gives another); without, it is printed. The exit status is that of evaluate.
"""
import argparse
import collections
import json
import pathlib
import statistics
import subprocess
import sys

# figure of a record, heading, best (1: the largest), digits
COLUMNS = [
    ("sufficient_area", "least area that keeps the class ↓", -1, 3), ("robust_area", "on random backgrounds too ↓", -1, 3),
    ("area", "area of the pruned mask ↓", -1, 3), ("stability", "its stability ↑", 1, 2), ("necessity", "necessary ↑", 1, 2),
    ("deletion_auc", "deletion ↓", -1, 3), ("insertion_auc", "insertion ↑", 1, 3), ("average_drop", "average drop ↓", -1, 3),
    ("sufficiency", "sufficiency ↓", -1, 3), ("comprehensiveness", "comprehensiveness ↑", 1, 3), ("road", "ROAD ↑", 1, 3),
    ("mufidelity", "MuFidelity ↑", 1, 3), ("pointing", "pointing ↑", 1, 2), ("energy", "energy ↑", 1, 2),
    ("iou", "IoU ↑", 1, 2)]


def table(run):
    records = collections.defaultdict(list)
    for file in sorted(run.glob("results*.jsonl")):
        for line in file.read_text().splitlines():
            r = json.loads(line)
            if r["status"] == "ok":
                variant = r["variant"].split("/")[-1].removesuffix(".json")
                records[r["method"] + (":" + variant if variant else "")].append(r)
    if not records:
        sys.exit(f"methods.py: {run} holds no results; look at what evaluate has said")
    everywhere = set.intersection(*({(r["image"], r["class"]) for r in of_method} for of_method in records.values()))
    if not everywhere:
        sys.exit(f"methods.py: no picture in {run} has a result of every method; run the same command again to go on")
    for name in records:
        records[name] = [r for r in records[name] if (r["image"], r["class"]) in everywhere]
    means = {}
    for name, of_method in records.items():
        means[name] = {}
        for figure, *_ in COLUMNS:
            values = [r["metrics"][figure] for r in of_method if r["metrics"].get(figure) is not None]
            if values:
                means[name][figure] = statistics.fmean(values)
    shown = [c for c in COLUMNS if any(c[0] in m for m in means.values())]
    lines = ["| method | pictures | passes | seconds | " + " | ".join(heading for _, heading, _, _ in shown) + " |", "|---" * (4 + len(shown)) + "|"]
    for name, of_method in sorted(records.items()):
        cells = [name, str(len(of_method)), f"{statistics.fmean(r['passes'] for r in of_method):.0f}",
                 f"{statistics.median(r['seconds'] for r in of_method):.1f}"]
        for figure, _, sign, digits in shown:
            if figure not in means[name]:
                cells.append("")
                continue
            text = f"{means[name][figure]:.{digits}f}"
            best = max(sign * round(m[figure], digits) for m in means.values() if figure in m)
            cells.append(f"**{text}**" if sign * round(means[name][figure], digits) == best else text)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("actmatch")
    p.add_argument("model", type=pathlib.Path)
    p.add_argument("--images", required=True)
    p.add_argument("--out", required=True, type=pathlib.Path)
    p.add_argument("--methods", default="all,activation-matching:ranking,activation-matching:one-mask")
    p.add_argument("--write", type=pathlib.Path)
    p.add_argument("--block")
    own, flags = sys.argv[1:], []
    if "--" in own:
        own, flags = own[:own.index("--")], own[own.index("--") + 1:]
    a = p.parse_args(own)
    done = subprocess.run([a.actmatch, "evaluate", a.model, "--images", a.images, "--methods", a.methods, "--out", a.out, *flags])
    if done.returncode not in (0, 1):
        sys.exit(done.returncode)
    text = table(a.out)
    if not a.write:
        print(text, end="")
        sys.exit(done.returncode)
    block = a.block or a.model.stem
    begin, end = f"<!-- {block} -->\n", f"<!-- end of {block} -->\n"
    page = a.write.read_text() if a.write.exists() else ""
    if begin in page:
        page = page[:page.index(begin)] + begin + text + page[page.index(end):]
    else:
        page += f"\n{begin}{text}{end}"
    a.write.write_text(page)
    sys.exit(done.returncode)


main()
