#!/usr/bin/env python3
"""Writes tests/data/cuda/torchvision_convolutions.txt: every kind of convolution that torchvision's classifiers have, for which the tests
ask cuDNN for plans.

    /usr/bin/python3 tests/backend/cuda/conv_tables.py

The networks are those of tests/models/catalogue.py. Weights play no part: layers are traced with torch.fx, convolutions give zeros of the
right shape. What a convolution takes along forward is what the CUDA backend fuses to it: the bias of a folded batch norm, a sum with what is
computed before, a ReLU or ReLU6.
"""
import dis
import operator
import pathlib
import sys
import warnings

import torch
import torchvision
from torch import fx, nn
from torch.nn import functional

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests" / "models"))
sys.dont_write_bytecode = True

import catalogue  # noqa: E402

OUT = ROOT / "tests" / "data" / "cuda" / "torchvision_convolutions.txt"
HEADER = """\
# The convolutions of torchvision's classifiers, for one picture, each kind once.
# Written by tests/backend/cuda/conv_tables.py, with torch {torch} and torchvision {torchvision}.
# C H W | K R S | stride | pads top left bottom right | dilation | groups | bias residual activation | networks
"""


def unpack(proxy):
    """Proxy.__iter__ for Python 3.11, where instructions are not two bytes each any more; later versions of torch have one like it."""
    caller = sys._getframe(1)
    for instruction in dis.get_instructions(caller.f_code):
        if instruction.offset == caller.f_lasti and instruction.opname == "UNPACK_SEQUENCE":
            return (proxy[i] for i in range(instruction.argval))
    return proxy.tracer.iter(proxy)


fx.Proxy.__iter__ = unpack


class Shapes(fx.Interpreter):
    """Runs a traced network and keeps the shape of every value."""

    def __init__(self, module):
        super().__init__(module)
        self.shapes = {}

    def run_node(self, n):
        value = super().run_node(n)
        if isinstance(value, torch.Tensor):
            self.shapes[n] = tuple(value.shape)
        return value

    def call_module(self, target, args, kwargs):
        module = self.fetch_attr(target)
        if not isinstance(module, nn.Conv2d):
            return super().call_module(target, args, kwargs)
        if isinstance(module.padding, str) or module.padding_mode != "zeros":
            sys.exit(f"conv_tables.py: {target} pads in a way that is not known here")
        size = [(extent + 2 * pad - dilation * (filter_ - 1) - 1) // stride + 1 for extent, pad, dilation, filter_, stride in
                zip(args[0].shape[2:], module.padding, module.dilation, module.kernel_size, module.stride)]
        return torch.zeros(args[0].shape[0], module.out_channels, *size)


def does_nothing(node):
    """When a network is only run."""
    return isinstance(node.meta.get("module"), (nn.Dropout, nn.Identity)) or getattr(node.target, "__name__", "") == "stochastic_depth"


def only_reader(node):
    """The one node that reads this one, past those that do nothing."""
    readers = list(node.users)
    if len(readers) != 1:
        return None
    return only_reader(readers[0]) if does_nothing(readers[0]) else readers[0]


def source(node):
    """What a node comes to, before those that do nothing."""
    return source(node.args[0]) if does_nothing(node) else node


def activation_of(node):
    if node is None:
        return "none"
    module = node.meta.get("module")
    if isinstance(module, nn.ReLU6):
        return "relu6"
    if isinstance(module, nn.ReLU) or node.target in (functional.relu, torch.relu, torch.relu_, "relu", "relu_"):
        return "relu"
    return "none"


def fused_to(conv, places, shapes):
    """Bias, residual, activation."""
    last, bias = conv, conv.meta["module"].bias is not None
    reader = only_reader(last)
    if reader is not None and isinstance(reader.meta.get("module"), nn.BatchNorm2d):
        last, bias = reader, True
        reader = only_reader(last)
    residual = False
    if reader is not None and reader.target in (operator.add, operator.iadd, torch.add):
        others = [a for a in reader.args if isinstance(a, fx.Node) and source(a) is not last]
        if len(others) == 1 and shapes[others[0]] == shapes[last] and places[others[0]] < places[conv]:
            residual = True
            reader = only_reader(reader)
    return bias, residual, activation_of(reader)


def convolutions_of(name, size):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        net = torchvision.models.get_model(name, weights=None, **options).eval()
    traced = fx.symbolic_trace(net)
    runner = Shapes(traced)
    with torch.no_grad():
        runner.run(torch.zeros(1, 3, size, size))
    modules = dict(traced.named_modules())
    places = {node: place for place, node in enumerate(traced.graph.nodes)}
    for node in traced.graph.nodes:
        if node.op == "call_module":
            node.meta["module"] = modules[node.target]
    for node in traced.graph.nodes:
        conv = node.meta.get("module")
        if not isinstance(conv, nn.Conv2d):
            continue
        _, C, H, W = runner.shapes[node.args[0]]
        pads = conv.padding + conv.padding
        bias, residual, activation = fused_to(node, places, runner.shapes)
        yield (C, H, W, conv.out_channels, *conv.kernel_size, *conv.stride, *pads, *conv.dilation, conv.groups, int(bias), int(residual),
               activation)


def main():
    for name in dir(nn.init):  # drawing weights takes most of the time
        if name.endswith("_") and not name.startswith("_"):
            setattr(nn.init, name, lambda tensor, *args, **kwargs: tensor)
    kinds = {}
    for name in catalogue.TORCHVISION:
        for kind in convolutions_of(name, catalogue.size_of(catalogue.Case(name, "torchvision", "", 0))):
            networks = kinds.setdefault(kind, [])
            if name not in networks:
                networks.append(name)
    version = {library.__name__: library.__version__.split("+")[0] for library in (torch, torchvision)}
    lines = [" ".join(map(str, kind)) + " " + ",".join(networks) for kind, networks in sorted(kinds.items())]
    OUT.write_text(HEADER.format(**version) + "\n".join(lines) + "\n")
    print(f"{len(lines)} kinds of convolution in {len(catalogue.TORCHVISION)} networks")


if __name__ == "__main__":
    main()
