#!/usr/bin/env python3
"""Tables of pictures for `actmatch evaluate` out of a folder of photos with annotations.json: photos.csv and several.csv in OUT.

    tools/quality/photo_manifest.py build/actmatch MODEL --photos DIR --out OUT [-- flags of evaluate, as --preprocess]

annotations.json is a list of {"file", "objects": [{"box": [x0, y0, x1, y1] in pixels of the file, "imagenet": [class indices that are right]}]}.
photos.csv: all photos, each explained for the class that the classifier chooses; boxes of the objects of that class, where there are any (so
a photo that is taken for something else counts in no figure about boxes). several.csv: photos with several things on them: those with several
objects of the class chosen, and those with objects of different classes, once for each class (the first in the object's list, unless the
classifier's choice is in it), so that a map that does not follow the class shows.
"""
import argparse
import csv
import json
import pathlib
import subprocess
import sys
import tempfile


def chosen_classes(actmatch, model, photos, flags):
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([actmatch, "evaluate", model, "--images", photos, "--methods", "center", "--metrics", "area", "--tile", "112",
                               "--quiet", "--out", folder + "/run", *flags])
        if done.returncode not in (0, 1):
            sys.exit(done.returncode)
        lines = pathlib.Path(folder, "run", "results.jsonl").read_text().splitlines()
        return {r["image"]: r["class"] for r in map(json.loads, lines) if r["status"] == "ok"}


def boxes_of(objects):
    return ";".join(" ".join(str(v) for v in o["box"]) for o in objects)


def write(path, rows):
    with open(path, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "class", "boxes"])
        table.writerows(rows)
    print(f"{path}: {len(rows)} rows, {sum(1 for r in rows if r[2])} with boxes")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("actmatch")
    p.add_argument("model")
    p.add_argument("--photos", required=True, type=pathlib.Path)
    p.add_argument("--out", required=True, type=pathlib.Path)
    own, flags = sys.argv[1:], []
    if "--" in own:
        own, flags = own[:own.index("--")], own[own.index("--") + 1:]
    a = p.parse_args(own)
    chosen = chosen_classes(a.actmatch, a.model, a.photos, flags)
    photos, several = [], []
    for entry in json.loads((a.photos / "annotations.json").read_text()):
        if entry["file"] not in chosen:
            continue  # the classifier's input could not be made; evaluate has said so
        path, choice = str((a.photos / entry["file"]).resolve()), chosen[entry["file"]]
        known = [o for o in entry["objects"] if o["imagenet"]]
        right = [o for o in known if choice in o["imagenet"]]
        photos.append([path, "", boxes_of(right)])
        if len(right) > 1:
            several.append([path, choice, boxes_of(right)])
        kinds = {tuple(o["imagenet"]) for o in known}
        for kind in kinds if len(kinds) > 1 else ():
            one = choice if choice in kind else kind[0]
            if len(kind) <= 10 or choice in kind:  # of a hundred breeds the first says nothing
                row = [path, one, boxes_of([o for o in known if one in o["imagenet"]])]
                if row not in several:
                    several.append(row)
    a.out.mkdir(parents=True, exist_ok=True)
    write(a.out / "photos.csv", photos)
    write(a.out / "several.csv", sorted(several, key=lambda r: (r[0], r[1])))


main()
