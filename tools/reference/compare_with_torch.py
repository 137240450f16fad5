#!/usr/bin/env python3
"""Values and input gradients of the engine beside torch autograd, for a list of ONNX models.

For each model: a fixed random picture, or a photo (batch 2 where the model allows it), its first output, and the gradient of one class of the first output with
respect to the input; once by `actmatch run`, once by the interpreter of torch_reference.py in double precision. Errors are relative L2 norms,
|ours - torch| / |torch|.

ReLU, Clip, MaxPool and their kin decide: which side of the kink, which pixel of the window. Where the arguments are closer than rounding, fp32 and double decide
differently, and each such flip moves the gradient by far more than rounding does; torch's own fp32 gradient is as far from its double one. So the
gradient is judged against a double run that takes the engine's decisions (column `gradient`), read off the engine's own activations, which a copy
of the model lists as outputs. That must not hide a wrong decision: every one that double would take otherwise is counted (`flips`), and its
argument must lie within rounding of the kink (`margin`: the distance over the root mean square of that layer's arguments, the largest of all flips).
The plain comparisons stand beside it: ours and torch's fp32 against double with its own decisions.

    tools/reference/compare_with_torch.py build/actmatch MODEL.onnx [...]      models of your own
    tools/reference/compare_with_torch.py build/actmatch --torchvision         resnet18 resnet50 vgg16 mobilenet_v2 densenet121, random weights

Prints one row a model; fails when `value` or `gradient` is above 1e-4, or `margin` above 1e-3.
Needs torch and onnx (Debian: python3-torch python3-torchvision python3-onnx).
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from PIL import Image

HERE = pathlib.Path(__file__).resolve().parent
EXPORT = HERE.parent / "export"
sys.path.insert(0, str(EXPORT))
import torch_reference  # noqa: E402

TORCHVISION = ["resnet18", "resnet50", "vgg16", "mobilenet_v2", "densenet121"]
BOUND = 1e-4  # fp32 against double: rounding gathers over some fifty layers
# A flip is excused when its argument is this small beside the layer's others: what fp32 gathers by then, with room for the tails of the
# millions of arguments. A wrong rule of the engine would show as a margin of the order of 1.
MARGIN = 1e-3
BY_INPUT = ("MaxPool", "HardSwish", "HardSigmoid", "LeakyRelu", "PRelu", "Abs", "Max", "Min")  # the decision is read off the engine's inputs
DECIDING = ("Relu", "Clip") + BY_INPUT
# These have kinks as well; a model with one would need its decisions here too.
KINKED = ("ReduceMax", "ReduceMin", "GlobalMaxPool", "Selu")


def clean(name):
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name)


def norm(x):
    return float(np.linalg.norm(x.astype(np.float64).ravel()))


def relative(ours, theirs):
    return norm(ours.astype(np.float64) - theirs.astype(np.float64)) / max(norm(theirs), 1e-30)


class Decisions:
    """The engine's decisions, from its values by name, for a run of torch_reference.Model."""

    def __init__(self, values):
        self.values = values
        self.taken = self.flips = 0
        self.margin = 0.0

    def __call__(self, node, attributes, arguments):
        if node.op_type not in DECIDING:
            return None
        if any(a is not None and not a.is_floating_point() for a in arguments):
            return None
        x = arguments[0]
        if node.op_type == "MaxPool":
            return self.max_pool(node, attributes, x)
        if node.op_type in BY_INPUT:
            return self.pieces(node, attributes, arguments)
        low, high = (0.0, None) if node.op_type == "Relu" else self.bounds(attributes, *arguments[1:])
        y = torch.from_numpy(self.values[node.output[0]])
        result, distance = x, torch.zeros_like(x)
        for bound, side in ((low, 1), (high, -1)):
            if bound is None:
                continue
            # The engine's fp32 output says it: at the bound the slope is 0.
            stopped = side * (y - np.float32(bound)) <= 0
            argument = side * (x.detach() - bound)
            wrong = stopped != (argument <= 0)
            distance = torch.where(wrong, argument.abs(), distance)
            self.flips += int(wrong.sum())
            result = torch.where(stopped, torch.full_like(x, bound), result)
        self.see(x, distance)
        self.taken += x.numel()
        return result

    def pieces(self, node, attributes, arguments):
        """Functions of several smooth pieces that meet at kinks."""
        kinks, functions, quantity = piecewise(node.op_type, attributes, arguments)
        if functions is None:
            return None
        mine = quantity([a.detach() for a in arguments])
        # In the engine's precision, except where it is an initializer, which has no name there.
        engine = quantity([torch.from_numpy(self.values[n]).to(a.dtype) if n in self.values else a.detach()
                           for n, a in zip(node.input, arguments)])
        place, own = (torch.bucketize(q.contiguous(), torch.tensor(kinks, dtype=q.dtype)) for q in (engine, mine))
        result = functions[0](*arguments)
        for i, function in enumerate(functions[1:], 1):
            result = torch.where(place == i, function(*arguments), result)
        distance = torch.stack([(mine - k).abs() for k in kinks]).amin(0)
        wrong = place != own
        self.flips += int(wrong.sum())
        self.see(mine, torch.where(wrong, distance, torch.zeros_like(distance)))
        self.taken += wrong.numel()
        return result

    @staticmethod
    def bounds(attributes, low=None, high=None):
        low = attributes.get("min") if low is None else low.item()
        high = attributes.get("max") if high is None else high.item()
        return low, high

    def max_pool(self, node, attributes, x):
        kernel, stride, dilation, before, after, reach = torch_reference.pool_geometry(attributes, x)
        end = [p + r for p, r in zip(after, reach)]

        def padded(t):
            return torch_reference.pad_last_axes(t, before, end, float("-inf"))
        ours = padded(torch.from_numpy(self.values[node.input[0]]))
        _, places = F.max_pool2d(ours, kernel, stride, 0, dilation, return_indices=True)
        result = padded(x).flatten(2).gather(2, places.flatten(2)).reshape(places.shape)
        best, own_places = F.max_pool2d(padded(x.detach()), kernel, stride, 0, dilation, return_indices=True)
        distance = best - result.detach()
        self.flips += int((places != own_places).sum())  # equal pixels count: in a flat part of a picture rounding chooses among them
        self.see(x, distance)
        self.taken += places.numel()
        return result

    def see(self, x, distance):
        scale = x.detach().square().mean().sqrt().clamp_min(1e-30)
        self.margin = max(self.margin, float(distance.max() / scale))


def piecewise(kind, attributes, arguments):
    """(kinks, a function for each piece between them, what is compared with the kinks); no functions: not two arguments."""
    zero = torch.zeros_like
    first = lambda a: a[0]  # noqa: E731
    if kind == "HardSwish":
        return [-3.0, 3.0], [lambda x: zero(x), lambda x: x * (x / 6 + 0.5), lambda x: x], first
    if kind == "HardSigmoid":
        alpha, beta = attributes.get("alpha", 0.2), attributes.get("beta", 0.5)
        return [0.0, 1.0], [lambda x: zero(x), lambda x: alpha * x + beta, lambda x: torch.ones_like(x)], lambda a: alpha * a[0] + beta
    if kind == "LeakyRelu":
        return [0.0], [lambda x: attributes.get("alpha", 0.01) * x, lambda x: x], first
    if kind == "PRelu":
        return [0.0], [lambda x, slope: x * slope, lambda x, slope: x + zero(slope)], lambda a: a[0] + zero(a[1])
    if kind == "Abs":
        return [0.0], [lambda x: -x, lambda x: x], first
    if len(arguments) != 2:
        return [], None, first
    pieces = [lambda a, b: a + zero(b), lambda a, b: b + zero(a)]
    return [0.0], pieces if kind == "Min" else pieces[::-1], lambda a: a[0] - a[1]


def picture(photo, preset, dims):
    """A photo that already has the model's size, as the engine's preset of that name makes it; in every place of the batch."""
    pixels = np.asarray(Image.open(photo).convert("RGB" if dims[1] == 3 else "L"), np.float64)
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    if preset == "caffe":
        pixels = pixels[:, :, ::-1] - (103.939, 116.779, 123.68)
    elif preset == "tf":
        pixels = pixels / 127.5 - 1
    elif preset == "imagenet":
        pixels = (pixels / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    if list(pixels.shape[:2]) != dims[2:]:
        sys.exit(f"{photo} is {pixels.shape[1]}x{pixels.shape[0]}, the model takes {dims[3]}x{dims[2]}; give a picture of that size")
    return np.broadcast_to(pixels.transpose(2, 0, 1), dims).astype(np.float32)


def read(model):
    """The model, its image input and that input's shape with 2 for what is free."""
    proto = onnx.load(model)
    weights = {w.name for w in proto.graph.initializer}
    tensor = next(i for i in proto.graph.input if i.name not in weights)
    found = sorted({n.op_type for n in proto.graph.node} & set(KINKED))
    if found:
        print(f"note: {model}: {', '.join(found)} decide as well, by double's own decisions here", file=sys.stderr)
    return proto, tensor.name, [d.dim_value if d.dim_value > 0 else 2 for d in tensor.type.tensor_type.shape.dim]


def list_decisions(proto, path):
    """Writes a copy of the model whose outputs also are what its decisions can be read from; returns their names."""
    known = {o.name for o in proto.graph.output} | {i.name for i in proto.graph.input} | {w.name for w in proto.graph.initializer}
    names = []
    for node in proto.graph.node:
        if node.op_type not in DECIDING:
            continue
        for name in node.input if node.op_type in BY_INPUT else node.output[:1]:
            if name and name not in known:
                known.add(name)
                names.append(name)
    for name in names:
        proto.graph.output.append(onnx.helper.make_tensor_value_info(name, proto.graph.output[0].type.tensor_type.elem_type, None))
    onnx.save(proto, str(path))
    return names


def torch_run(model, real, name, x, output, column, decide=None):
    """(first output, gradient of the sum of its column at the input) by torch."""
    net = torch_reference.Model(str(model), real)
    leaf = net.place(name, x).requires_grad_()
    values = net.run({name: leaf}, decide=decide)
    value = values[output]
    value[:, column].sum().backward()
    return value.detach().numpy(), leaf.grad.numpy()


def make_input(args, dims):
    """What the flags say: a photo, or noise."""
    if args.photo:
        return picture(args.photo, args.preset, dims)
    return (args.scale * np.random.default_rng(args.seed).standard_normal(dims)).astype(np.float32)


class EngineError(Exception):
    """The engine did not do what was asked of it."""


def compare(actmatch, model, make, column=3, plain=True):
    """Errors of one model. `make(dims)` gives the picture; `plain`: the columns of the plain comparison too."""
    proto, name, dims = read(model)
    output = proto.graph.output[0].name
    x = make(dims)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        np.save(folder / "x.npy", x)
        names = list_decisions(proto, folder / "decisions.onnx")

        def engine(file, out):
            done = subprocess.run([actmatch, "run", str(file), "--input", f"{name}={folder / 'x.npy'}", "--gradient", f"{output}:{column}",
                                   "--device", "cpu", "--out", str(folder / out)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            if done.returncode != 0:
                raise EngineError(done.stderr.strip() or f"exit status {done.returncode}")
            return np.load(folder / out / f"{clean(output)}.npy"), np.load(folder / out / f"grad_{clean(name)}.npy")
        ours = engine(model, "plain")
        watched = engine(folder / "decisions.onnx", "watched")
        # More outputs must not change what is computed, otherwise the decisions would be those of another run.
        if not all(np.array_equal(a, b) for a, b in zip(ours, watched)):
            raise EngineError("the engine's gradient differs when inner values are outputs too")
        values = {n: np.load(folder / "watched" / f"{clean(n)}.npy") for n in names} | {name: x}
    decisions = Decisions(values)
    same = torch_run(model, torch.float64, name, x, output, column, decisions)
    result = {"value": relative(ours[0], same[0]), "gradient": relative(ours[1], same[1]), "flips": decisions.flips, "of": decisions.taken,
              "margin": decisions.margin}
    if plain:
        double = torch_run(model, torch.float64, name, x, output, column)
        single = torch_run(model, torch.float32, name, x, output, column)
        result |= {"value": relative(ours[0], double[0]), "plain": relative(ours[1], double[1]), "torch": relative(single[1], double[1])}
    return result


def is_good(r):
    return r["value"] <= BOUND and r["gradient"] <= BOUND and r["margin"] <= MARGIN


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("actmatch", help="the built program")
    parser.add_argument("models", nargs="*", help=".onnx files")
    parser.add_argument("--torchvision", action="store_true", help="export and compare " + " ".join(TORCHVISION))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scale", type=float, default=1, help="standard deviation of the picture (default 1; 60 for models that take pixels)")
    parser.add_argument("--photo", help="instead of a random picture, a photo of the model's size")
    parser.add_argument("--preset", choices=["imagenet", "tf", "caffe", "raw"], default="imagenet", help="how the photo is made the model's input")
    args = parser.parse_args()
    failed = 0
    print("| model | value | gradient | flips | margin | plain gradient, ours | plain gradient, torch fp32 |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        models = [pathlib.Path(m) for m in args.models]
        for name in TORCHVISION if args.torchvision else []:
            models.append(pathlib.Path(folder) / f"{name}.onnx")
            subprocess.run([sys.executable, str(EXPORT / "export_torchvision.py"), name, "--out", str(models[-1]), "--weights", "none"],
                           check=True, stdout=subprocess.DEVNULL)
        for model in models:
            try:
                r = compare(args.actmatch, model, lambda dims: make_input(args, dims))
            except EngineError as error:
                sys.exit(f"{model}: {error}")
            good = is_good(r)
            failed += not good
            print(f"| {model.stem} | {r['value']:.1e} | {r['gradient']:.1e} | {r['flips']} of {r['of']} | {r['margin']:.1e} | {r['plain']:.1e} "
                  f"| {r['torch']:.1e} |{'' if good else ' FAILED'}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
