#!/usr/bin/env python3
"""The methods' table: runs `actmatch evaluate` (or goes on with an earlier run) and writes means over the pictures as a Markdown table.

    tools/quality/methods.py build/actmatch MODEL --images DIR|MANIFEST.csv --out RUN [--methods LIST] [--write FILE.md] [--block NAME]
                             [--rows FILE.csv] [--wins METHOD] [--behind METHOD] [--intervals] [-- flags of evaluate]

The best figure of each column is bold; the controls (center, random) do not look at the picture. Only pictures that every method has a result for
count, each with the mean over its seeds; a column that only some of them have (those with a box) says of how many. What is looked up more rarely
stands in a second table. --intervals: 95 % of each mean, by bootstrap over the pictures. With --write the table replaces what stands between `<!--
NAME -->` and `<!-- end of NAME -->` in the file (NAME: the model's, unless --block gives another); without, it is printed. --rows: a table of the
figures of each picture and method, which is written; rows that it holds already of pictures (by file name) or methods that this run has not, count as
well. --wins: prints on how many pictures METHOD is better : worse than each other. --behind: prints for each column which methods are better than
METHOD on the pictures that both have, the farthest first: mean, * where 95 % of the mean difference lie on their side, and on how many pictures
better : worse. The exit status is that of evaluate.
"""
import argparse
import collections
import csv
import json
import pathlib
import random
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
# Those that are looked up more rarely: a table of their own.
RARE = [
    ("fidelity", "class kept on four backgrounds ↑", 1, 2), ("p_ratio_mean", "p kept on the mean colour ↑", 1, 2),
    ("stability_p_mean", "p on random backgrounds ↑", 1, 3), ("removable_tiles", "tiles of 8 pixels that could go ↓", -1, 2),
    ("increase", "p rises under the soft map ↑", 1, 2)]
ALL = COLUMNS + RARE
COST = ["passes", "seconds"]
SAMPLES = 2000  # of the bootstrap


def records_of(run):
    """The good records, one for each picture, class, method, variant and seed: the latest."""
    records = {}
    for file in sorted(run.glob("results*.jsonl")):
        for line in file.read_text().splitlines():
            r = json.loads(line)
            if r["status"] == "ok":
                records[r["image"], r.get("asked_class", ""), r["method"], r["variant"], r["seed"]] = r
    return list(records.values())


def rows_of(run):
    """(picture, class, method) -> figures, of all records that are good; of several seeds the mean."""
    records = records_of(run)
    names = collections.Counter(pathlib.Path(image).name for image in {r["image"] for r in records})
    values = collections.defaultdict(lambda: collections.defaultdict(list))
    for r in records:
        variant = r["variant"].split("/")[-1].removesuffix(".json")
        name = pathlib.Path(r["image"]).name
        key = name if names[name] == 1 else r["image"], str(r["class"]), r["method"] + (":" + variant if variant else "")
        for figure in COST:
            values[key][figure].append(r[figure])
        for figure, *_ in ALL:
            if r["metrics"].get(figure) is not None:
                values[key][figure].append(r["metrics"][figure])
    return {key: {figure: statistics.fmean(v) for figure, v in figures.items()} for key, figures in values.items()}


def read_rows(path):
    with open(path, newline="") as file:
        return {(r.pop("image"), r.pop("class"), r.pop("method")): {k: float(v) for k, v in r.items() if v} for r in csv.DictReader(file)}


def write_rows(path, rows):
    figures = COST + [f for f, *_ in ALL if any(f in r for r in rows.values())]
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


def interval(values):
    """95 % of the mean, by bootstrap over the pictures; the same numbers are drawn for all lists of one length."""
    draw = random.Random(len(values))
    means = sorted(statistics.fmean(draw.choices(values, k=len(values))) for _ in range(SAMPLES))
    return means[round(0.025 * (SAMPLES - 1))], means[round(0.975 * (SAMPLES - 1))]


def best_methods(methods, figure, sign, digits):
    """Those with the best mean, as it is written, over the pictures that all methods with that figure have it of."""
    lists = {name: [r.get(figure) for r in rows] for name, rows in methods.items() if any(figure in r for r in rows)}
    common = [i for i, of_picture in enumerate(zip(*lists.values())) if None not in of_picture]
    if not common:
        return set()
    means = {name: sign * round(statistics.fmean(v[i] for i in common), digits) for name, v in lists.items()}
    return {name for name, mean in means.items() if mean == max(means.values())}


def table(methods, columns, intervals, cost):
    shown = [c for c in columns if any(c[0] in r for rows in methods.values() for r in rows)]
    if not shown:
        return ""
    heads = []
    of_method = {name: [] for name in methods}
    for figure, heading, sign, digits in shown:
        values = {name: [r[figure] for r in rows if figure in r] for name, rows in methods.items()}
        counts = {len(v) for v in values.values() if v}
        some = counts != {len(next(iter(methods.values())))}
        heads.append(heading + (f" (of {counts.pop()})" if some and len(counts) == 1 else ""))
        best = best_methods(methods, figure, sign, digits)
        for name, v in values.items():
            text = f"{statistics.fmean(v):.{digits}f}" if v else ""
            if v and name in best:
                text = f"**{text}**"
            if v and intervals:
                text += " ({:.{d}f} to {:.{d}f})".format(*interval(v), d=digits)
            of_method[name].append(text + (f" (of {len(v)})" if v and counts and some and len(counts) > 1 else ""))
    front = ["method", "pictures"] + (["passes", "seconds"] if cost else [])
    lines = ["| " + " | ".join(front + heads) + " |", "|---" * (len(front) + len(heads)) + "|"]
    for name, rows in methods.items():
        cells = [name, str(len(rows))]
        if cost:
            cells += [f"{statistics.fmean(r['passes'] for r in rows):.0f}", f"{statistics.median(r['seconds'] for r in rows):.1f}"]
        lines.append("| " + " | ".join(cells + of_method[name]) + " |")
    return "\n".join(lines) + "\n"


def tables(methods, intervals=False):
    second = table(methods, RARE, intervals, False)
    return table(methods, COLUMNS, intervals, True) + (f"\n{second}" if second else "")


def pairs_of(methods, name, other, figure, sign):
    """Of the pictures that both have the figure of: the larger the better."""
    return [(sign * a[figure], sign * b[figure]) for a, b in zip(methods[name], methods[other]) if figure in a and figure in b]


def known(methods, name):
    if name not in methods:
        sys.exit(f"methods.py: no result of '{name}'; there are {', '.join(methods)}")


def wins(methods, name):
    known(methods, name)
    lines = []
    for figure, heading, sign, _ in ALL:
        counts = []
        for other in methods:
            pairs = pairs_of(methods, name, other, figure, sign)
            if other != name and pairs:
                counts.append(f"{sum(x > y for x, y in pairs)} : {sum(x < y for x, y in pairs)} {other}")
        if counts:
            lines.append(f"{heading}: " + ", ".join(counts))
    return "\n".join(lines)


def behind(methods, name):
    known(methods, name)
    lines = []
    for figure, heading, sign, digits in ALL:
        better = []
        for other in methods:
            pairs = pairs_of(methods, name, other, figure, sign)
            if other == name or not pairs:
                continue
            differences = [y - x for x, y in pairs]
            if statistics.fmean(differences) <= 0:
                continue
            sure = "*" if interval(differences)[0] > 0 else ""
            better.append((statistics.fmean(differences), f"{other} {statistics.fmean(sign * y for _, y in pairs):.{digits}f}{sure} "
                           f"({sum(y > x for x, y in pairs)} : {sum(y < x for x, y in pairs)})"))
        own = [r[figure] for r in methods[name] if figure in r]
        if own:
            found = ", ".join(text for _, text in sorted(better, reverse=True)) or "none"
            lines.append(f"{heading}: {statistics.fmean(own):.{digits}f} of {len(own)}; better: {found}")
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
    p.add_argument("--behind")
    p.add_argument("--intervals", action="store_true")
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
    if a.behind:
        print(behind(methods, a.behind))
    text = tables(methods, a.intervals)
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


if __name__ == "__main__":
    main()
