#!/usr/bin/env python3
"""Of the suites that racecheck leaves out (UNSHARED in tools/device_check.sh) none may launch a kernel that shares memory between threads.

    tests/tools/shared_memory.py SOURCE_DIR
"""
import fnmatch
import pathlib
import re
import sys

source = pathlib.Path(sys.argv[1])
kernels = {str(p.relative_to(source)): p.read_text() for p in (source / "kernels").rglob("*") if p.suffix in (".cu", ".cuh", ".h")}


def shares(name, seen=()):
    included = [i for i in re.findall(r'#include "(kernels/[^"]+)"', kernels[name]) if i in kernels and i not in seen]
    return "__shared__" in kernels[name] or any(shares(i, (*seen, name)) for i in included)


# Launchers as the headers declare them, where a file that shares memory defines them.
declared = {m for name, text in kernels.items() if re.fullmatch(r"kernels/cuda\w*\.h", name) for m in re.findall(r"cudaError_t (\w+)\(cudaStream_t", text)}
sharing = {m for name, text in kernels.items() if name.endswith(".cu") and shares(name) for m in re.findall(r"cudaError_t (\w+)\(cudaStream_t", text)} & declared

# What belongs to a suite: its tests and the classes of their fixtures, in files that launch kernels.
suites = {}
for folder in ("tests/kernels/cuda", "tests/explain/cuda"):
    for path in sorted((source / folder).glob("*.cpp")):
        for part in re.split(r"(?m)^(?=(?:class|struct|TEST\w*\()\b)", path.read_text()):
            name = re.match(r"(?:class|struct|TEST\w*\() *(\w+)", part)
            if name:
                suites.setdefault(name[1], []).append(part)

left_out = re.search(r"(?m)^UNSHARED='([^']*)'", (source / "tools/device_check.sh").read_text())[1].split(":")
problems = []
if len(sharing) < 20:
    problems.append(f"only {len(sharing)} launchers of kernels that share memory were found")
for pattern in left_out:
    matching = [s for s in suites if fnmatch.fnmatchcase(s + ".", pattern)]
    if not matching:
        problems.append(f"there is no suite like {pattern}")
    for suite in matching:
        if suite == "CudaBench":  # times launchers that the other suites test
            continue
        launched = sorted(m for m in sharing if any(re.search(rf"\b{m}(?:<[^()]*>)?\(", part) for part in suites[suite]))
        if launched:
            problems.append(f"{suite} launches {', '.join(launched)}, which share memory: take it out of UNSHARED")
for p in problems:
    print("FAILED: racecheck:", p)
sys.exit(1 if problems else 0)
