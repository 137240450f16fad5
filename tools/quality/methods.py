#!/usr/bin/env python3
"""The methods' table: runs `actmatch evaluate` (or goes on with an earlier run) and writes means over the pictures as a Markdown table.

    tools/quality/methods.py build/actmatch MODEL --images DIR|MANIFEST.csv --out RUN [--methods LIST] [--write FILE.md] [--block NAME]
                             [--rows FILE.csv] [--wins METHOD] [-- flags of evaluate]

The best figure of each column is bold; the controls (center, random) do not look at the picture. Only pictures that every method has a result for
count. With --write the table replaces what stands between `<!-- NAME -->` and `<!-- end of NAME -->` in the file (NAME: the model's, unless --block
gives another); without, it is printed. --rows: a table of the figures of each picture and method, which is written; rows that it holds already of
pictures (by file name) or methods that this run has not, count as well. --wins: prints on how many pictures METHOD is better : worse than each
other. The exit status is that of evaluate.
"""
import argparse
import collections
import csv
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
COST = ["passes", "seconds"]


def rows_of(run):
    """(picture, class, method) -> figures, of all records that are good."""
    rows = {}
    for file in sorted(run.glob("results*.jsonl")):
        for line in file.read_text().splitlines():
            r = json.loads(line)
            if r["status"] != "ok":
                continue
            variant = r["variant"].split("/")[-1].removesuffix(".json")
            key = pathlib.Path(r["image"]).name, str(r["class"]), r["method"] + (":" + variant if variant else "")
            rows[key] = {c: r[c] for c in COST} | {f: r["metrics"][f] for f, *_ in COLUMNS if r["metrics"].get(f) is not None}
    return rows


def read_rows(path):
    with open(path, newline="") as file:
        return {(r.pop("image"), r.pop("class"), r.pop("method")): {k: float(v) for k, v in r.items() if v} for r in csv.DictReader(file)}


def write_rows(path, rows):
    figures = COST + [f for f, *_ in COLUMNS if any(f in r for r in rows.values())]
    with open(path, "w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["image", "class", "method", *figures])
        for key, row in sorted(rows.items()):
            out.writerow([*key, *(f"{row[f]:.5g}" if f in row else "" for f in figures)])


def by_method(rows):
    """method -> its rows, in the same order of pictures for all, those that every method has."""
    methods = sorted({method for _, _, method in rows})
    pictures = sorted({(image, label) for image, label, _ in rows})
    whole = [p for p in pictures if all((*p, m) in rows for m in methods)]
    if not whole:
        sys.exit("methods.py: no picture has a result of every method; run the same command again to go on")
    return {m: [rows[(*p, m)] for p in whole] for m in methods}


def table(methods):
    means = {}
    for name, of_method in methods.items():
        means[name] = {}
        for figure, *_ in COLUMNS:
            values = [r[figure] for r in of_method if figure in r]
            if values:
                means[name][figure] = statistics.fmean(values)
    shown = [c for c in COLUMNS if any(c[0] in m for m in means.values())]
    lines = ["| method | pictures | passes | seconds | " + " | ".join(heading for _, heading, _, _ in shown) + " |", "|---" * (4 + len(shown)) + "|"]
    for name, of_method in methods.items():
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


def wins(methods, name):
    if name not in methods:
        sys.exit(f"methods.py: no result of '{name}'; there are {', '.join(methods)}")
    lines = []
    for figure, heading, sign, _ in COLUMNS:
        counts = []
        for other, theirs in methods.items():
            pairs = [(sign * ours[figure], sign * r[figure]) for ours, r in zip(methods[name], theirs) if figure in ours and figure in r]
            if other != name and pairs:
                counts.append(f"{sum(x > y for x, y in pairs)} : {sum(x < y for x, y in pairs)} {other}")
        if counts:
            lines.append(f"{heading}: " + ", ".join(counts))
    return "\n".join(lines)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("actmatch")
    p.add_argument("model", type=pathlib.Path)
    p.add_argument("--images", required=True)
    p.add_argument("--out", required=True, type=pathlib.Path)
    p.add_argument("--methods", default="all,activation-matching:ranking,activation-matching:one-mask")
    p.add_argument("--write", type=pathlib.Path)
    p.add_argument("--block")
    p.add_argument("--rows", type=pathlib.Path)
    p.add_argument("--wins")
    own, flags = sys.argv[1:], []
    if "--" in own:
        own, flags = own[:own.index("--")], own[own.index("--") + 1:]
    a = p.parse_args(own)
    done = subprocess.run([a.actmatch, "evaluate", a.model, "--images", a.images, "--methods", a.methods, "--out", a.out, *flags])
    if done.returncode not in (0, 1):
        sys.exit(done.returncode)
    rows = rows_of(a.out)
    if a.rows:
        rows = (read_rows(a.rows) if a.rows.exists() else {}) | rows
        write_rows(a.rows, rows)
    if not rows:
        sys.exit(f"methods.py: {a.out} holds no results; look at what evaluate has said")
    methods = by_method(rows)
    if a.wins:
        print(wins(methods, a.wins))
    text = table(methods)
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
