#!/usr/bin/env python3
"""Values and input gradients of the engine beside torch autograd, for a list of ONNX models.

For each model: a fixed random picture (batch 2 where the model allows it), all outputs, and the gradient of one class of the first output with
respect to the input; once by `actmatch run`, once by torch_reference.py in double precision. Prints one row a model and fails when an error is
above its bound. Errors are relative L2 norms, |ours - torch| / |torch|.

    tools/reference/compare_with_torch.py build/actmatch MODEL.onnx [...]      models of your own
    tools/reference/compare_with_torch.py build/actmatch --torchvision         resnet18 resnet50 vgg16 mobilenet_v2 densenet121, random weights

Needs torch and onnx (Debian: python3-torch python3-torchvision python3-onnx).
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx

HERE = pathlib.Path(__file__).resolve().parent
EXPORT = HERE.parent / "export"
TORCHVISION = ["resnet18", "resnet50", "vgg16", "mobilenet_v2", "densenet121"]
# fp32 against double: rounding gathers over some fifty layers. A few ReLUs or clips whose argument is within rounding of the kink take
# the other side, and each such flip moves the gradient by far more than rounding; so torch's own fp32 is measured beside ours.
BOUND = 1e-4


def clean(name):
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name)


def picture(model, seed):
    """The model's image input: (name, array of N(0,1) or of pixels where it takes raw ones)."""
    graph = onnx.load(model).graph
    weights = {w.name for w in graph.initializer}
    tensor = next(i for i in graph.input if i.name not in weights)
    dims = [d.dim_value if d.dim_value > 0 else 2 for d in tensor.type.tensor_type.shape.dim]
    return tensor.name, np.random.default_rng(seed).standard_normal(dims).astype(np.float32), graph.output[0].name


def relative(ours, theirs):
    theirs = theirs.astype(np.float64)
    return float(np.linalg.norm(ours.astype(np.float64).ravel() - theirs.ravel()) / max(np.linalg.norm(theirs), 1e-30))


def compare(actmatch, model, seed):
    name, x, output = picture(model, seed)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        np.save(folder / "x.npy", x)
        common = [str(model), "--input", f"{name}={folder / 'x.npy'}", "--gradient", f"{output}:3"]
        subprocess.run([actmatch, "run", *common, "--out", str(folder / "ours")], check=True, stdout=subprocess.DEVNULL)
        script = [sys.executable, str(EXPORT / "torch_reference.py"), *common]
        subprocess.run([*script, "--out", str(folder / "double"), "--double"], check=True, stdout=subprocess.DEVNULL)
        subprocess.run([*script, "--out", str(folder / "single")], check=True, stdout=subprocess.DEVNULL)
        load = lambda which, file: np.load(folder / which / f"{file}.npy")
        value, gradient = clean(output), "grad_" + clean(name)
        return (relative(load("ours", value), load("double", value)), relative(load("ours", gradient), load("double", gradient)),
                relative(load("single", gradient), load("double", gradient)), relative(load("ours", gradient), load("single", gradient)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("actmatch", help="the built program")
    parser.add_argument("models", nargs="*", help=".onnx files")
    parser.add_argument("--torchvision", action="store_true", help="export and compare " + " ".join(TORCHVISION))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    failed = 0
    print(f"{'model':36} {'value':>9} {'gradient':>9} {'torch fp32':>11} {'ours-torch fp32':>16}")
    with tempfile.TemporaryDirectory() as folder:
        models = [pathlib.Path(m) for m in args.models]
        for name in TORCHVISION if args.torchvision else []:
            models.append(pathlib.Path(folder) / f"{name}.onnx")
            subprocess.run([sys.executable, str(EXPORT / "export_torchvision.py"), name, "--out", str(models[-1]), "--weights", "none"],
                           check=True, stdout=subprocess.DEVNULL)
        for model in models:
            value, gradient, torch_error, between = compare(args.actmatch, model, args.seed)
            # Where torch's own fp32 misses the bound because of flips, ours may miss it as much.
            good = value <= BOUND and gradient <= max(BOUND, 3 * torch_error)
            failed += not good
            print(f"{model.name:36} {value:9.1e} {gradient:9.1e} {torch_error:11.1e} {between:16.1e}{'' if good else '  FAILED'}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
