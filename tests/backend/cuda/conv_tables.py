#!/usr/bin/env python3
"""Writes tests/data/cuda/LIBRARY_convolutions.txt: every kind of convolution that a library's supported classifiers have, for which the tests
ask cuDNN for plans.

    /usr/bin/python3 tests/backend/cuda/conv_tables.py torchvision
    VENV/bin/python tests/backend/cuda/conv_tables.py timm        # PyPI's timm, any torch
    VENV/bin/python tests/backend/cuda/conv_tables.py keras       # PyPI's keras, with jax

Weights play no part. What a convolution takes along forward is what the CUDA backend fuses to it: the bias of a folded batch norm, a sum with
what is computed before, a ReLU or ReLU6. A zero padding in front becomes the convolution's own.
"""
import argparse
import importlib
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(HERE), str(ROOT / "tests" / "models")]
sys.dont_write_bytecode = True

MODELS = ROOT / "onnx_import" / "SUPPORTED_MODELS.md"
HEADER = """\
# The convolutions of {library}'s classifiers, for one picture, each kind once.
# Written by tests/backend/cuda/conv_tables.py, with {versions}.
# C H W | K R S | stride | pads top left bottom right | dilation | groups | bias residual activation | networks
"""


class Step:
    """What a network does at one place: kind conv, batch_norm, add, relu, relu6, pad (with zeros), nothing (when a network is only run) or
    other; its tensor inputs, in their order; the shape of its result, NCHW. A conv has kernel, stride, pads (top left bottom right), dilation,
    groups, bias; a pad has pads."""

    def __init__(self, kind, inputs, shape, **settings):
        self.kind, self.inputs, self.shape, self.readers = kind, inputs, tuple(shape), []
        self.__dict__.update(settings)
        for step in inputs:
            step.readers.append(self)


def only_reader(step):
    """The one step that reads this one, past those that do nothing."""
    if len(step.readers) != 1:
        return None
    reader = step.readers[0]
    return only_reader(reader) if reader.kind == "nothing" else reader


def source(step):
    """What a step comes to, before those that do nothing."""
    return source(step.inputs[0]) if step.kind == "nothing" else step


def fused_to(conv, places):
    """Bias, residual, activation."""
    last, bias = conv, conv.bias
    reader = only_reader(last)
    if reader is not None and reader.kind == "batch_norm":
        last, bias = reader, True
        reader = only_reader(last)
    residual = False
    if reader is not None and reader.kind == "add":
        others = [s for s in reader.inputs if source(s) is not last]
        if len(others) == 1 and others[0].shape == last.shape and places[others[0]] < places[conv]:
            residual = True
            reader = only_reader(reader)
    return int(bias), int(residual), reader.kind if reader is not None and reader.kind in ("relu", "relu6") else "none"


def convolutions_of(steps):
    places = {step: place for place, step in enumerate(steps)}
    for conv in steps:
        if conv.kind != "conv":
            continue
        x, pads = source(conv.inputs[0]), conv.pads
        if x.kind == "pad" and only_reader(x) is conv:
            pads = [a + b for a, b in zip(pads, x.pads)]
            x = source(x.inputs[0])
        yield (*x.shape[1:], conv.shape[1], *conv.kernel, *conv.stride, *pads, *conv.dilation, conv.groups, *fused_to(conv, places))


def supported(library):
    """The networks of that library in the table of models."""
    rows = [[cell.strip() for cell in line.split("|")] for line in MODELS.read_text().splitlines() if line.startswith("| ")]
    # "resnet50 (fixed batch)" is the same network
    return sorted({row[1].split(" ")[0] for row in rows if library in row[2].replace(",", " ").split()})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", choices=("torchvision", "timm", "keras"))
    library = parser.parse_args().library
    front = importlib.import_module("steps_of_keras" if library == "keras" else "steps_of_torch")
    kinds, names = {}, supported(library)
    for name in names:
        for kind in convolutions_of(front.steps_of(library, name)):
            networks = kinds.setdefault(kind, [])
            if name not in networks:
                networks.append(name)
    lines = [" ".join(map(str, kind)) + " " + ",".join(networks) for kind, networks in sorted(kinds.items())]
    out = ROOT / "tests" / "data" / "cuda" / f"{library}_convolutions.txt"
    out.write_text(HEADER.format(library=library, versions=front.versions(library)) + "\n".join(lines) + "\n")
    print(f"{len(lines)} kinds of convolution in {len(names)} networks")


if __name__ == "__main__":
    main()
