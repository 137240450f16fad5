#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Exports a classifier of torchvision to ONNX, with pretrained or with seeded random weights.

    export_torchvision.py resnet50 --weights default --out resnet50.onnx
    export_torchvision.py densenet121 --weights none --seed 3 --out densenet121_random.onnx

The file takes `input` Nx3xSxS and gives `logits` NxK, N being free.  With pretrained weights
the class names and the preprocessing are written beside it, as FILE.labels.txt and
FILE.preprocess.json (FILE without ".onnx").

Random weights serve tests: every layer must matter to the output.  The initialisation that
torchvision uses would not do, since it leaves BatchNormalization the identity, some heads all
zero, and gradients of 1e-12 in nets that rely on normalisation.  So weights are drawn anew,
and the running statistics are taken from random pictures.

Works with torchvision 0.12 (flag `pretrained`) and later (weight enumerations).
"""
import argparse
import inspect
import json
import os
import sys
import warnings

try:
    import torch
    from torch import nn
    import torch.nn.functional as F
    from torchvision import models
except ImportError as error:
    sys.exit(f"export_torchvision: {error}; install torch and torchvision")


def classifiers():
    """Names of the classifiers that this torchvision can build."""
    if hasattr(models, "list_models"):        # 0.14 and later
        return models.list_models(module=models)
    return sorted(name for name, value in vars(models).items()
                  if name.islower() and inspect.isfunction(value)
                  and not name.startswith(("_", "get_")))


def default_weights(name):
    """The member of torchvision's weight enumeration, or None before 0.13."""
    if hasattr(models, "get_model_weights"):  # 0.14 and later
        return models.get_model_weights(name).DEFAULT
    wanted = name.replace("_", "") + "weights"
    for key, value in vars(models).items():   # 0.13
        if key.lower().replace("_", "") == wanted and hasattr(value, "DEFAULT"):
            return value.DEFAULT
    return None


def build_pretrained(name):
    """(model, weights); exits with one line if the weights cannot be had."""
    weights = default_weights(name)
    try:
        builder = getattr(models, name)
        model = builder(pretrained=True) if weights is None else builder(weights=weights)
    except (OSError, RuntimeError, ValueError) as error:
        cause = str(getattr(error, "reason", error)).splitlines()[0]
        source = "the download site" if weights is None else weights.url
        folder = os.path.join(torch.hub.get_dir(), "checkpoints")
        sys.exit(f"export_torchvision: no weights for {name} from {source}: {cause}; go online, "
                 f"or put that file into {folder}, or use --weights none")
    return model, weights


# --- random weights ------------------------------------------------------------------------

NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


def build_random(name, size):
    builder = getattr(models, name)
    options = {}
    if name in ("googlenet", "inception_v3"):
        options["init_weights"] = False       # minutes of work that redraw() makes void
    if name.startswith("vit_"):
        options["image_size"] = size          # the number of places is part of the weights
    return builder(**options)


def redraw(model):
    """Seeded weights that keep signals at about unit size and make every layer matter."""
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.uniform_(module.bias, -0.1, 0.1)
        elif isinstance(module, NORMS):
            if module.weight is not None:
                nn.init.uniform_(module.weight, 0.6, 1.4)
                nn.init.normal_(module.bias, 0.0, 0.2)
        else:
            for key, value in module.named_parameters(recurse=False):
                if key == "layer_scale":      # begins at 1e-6: the branch would not matter
                    nn.init.uniform_(value, 0.2, 0.8)
                elif value.dim() > 1 and not value.abs().max() > 0:
                    nn.init.normal_(value, 0.0, 0.1)


def random_pictures(count, size):
    """Normalised pictures with coarse and fine structure."""
    x = torch.randn(count, 3, size, size) * 0.5
    for cells in (2, 7, 20):
        grid = torch.randn(count, 3, cells, cells)
        x = x + F.interpolate(grid, size=(size, size), mode="bilinear", align_corners=False)
    return x / 1.3


def settle_statistics(model, size):
    """Running means and variances of BatchNormalization from a few random batches.

    Only these layers are in training mode, so that dropout takes no part.
    """
    layers = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    model.eval()
    if not layers:
        return
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None                 # the plain average over the batches
        layer.train()
    with torch.no_grad():
        for _ in range(3):
            model(random_pictures(4, size))
    model.eval()


# --- writing -------------------------------------------------------------------------------

def write_notes(path, weights, size):
    """Class names and preprocessing of pretrained weights."""
    stem = os.path.splitext(path)[0]
    mean, std, ratio = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225], 256 / 224
    if weights is not None:
        preset = weights.transforms()
        mean, std = list(preset.mean), list(preset.std)
        ratio = preset.resize_size[0] / preset.crop_size[0]
        if "bilinear" not in str(preset.interpolation).lower():
            print(f"note: these weights were measured with {preset.interpolation} "
                  "interpolation, the preprocessing file says bilinear")
        with open(stem + ".labels.txt", "w", encoding="utf-8") as file:
            file.write("".join(label + "\n" for label in weights.meta["categories"]))
        print(stem + ".labels.txt")
    else:
        print("note: this torchvision does not carry the class names, no labels file written")
    preprocess = {"channel_order": "RGB",
                  "scale": [1 / (255 * s) for s in std],
                  "offset": [-m / s for m, s in zip(mean, std)],
                  "resize": "short-side", "resize_ratio": round(ratio, 7), "crop": "center",
                  "interpolation": "bilinear-antialias"}
    with open(stem + ".preprocess.json", "w") as file:
        json.dump(preprocess, file, indent=1)
        file.write("\n")
    print(stem + ".preprocess.json")


def export(model, path, size, opset):
    options = {}
    if "dynamo" in inspect.signature(torch.onnx.export).parameters:
        options["dynamo"] = False             # the tracing exporter, the same everywhere
    # A batch of 2: with 1, some nets leave the batch axis out of their shape arithmetic.
    torch.onnx.export(model, random_pictures(2, size), path, opset_version=opset,
                      input_names=["input"], output_names=["logits"],
                      dynamic_axes={"input": {0: "N"}, "logits": {0: "N"}}, **options)


def main():
    parser = argparse.ArgumentParser(description="Export a torchvision classifier to ONNX.")
    parser.add_argument("name", metavar="NAME", help="resnet18, vgg16, ...; 'list' lists them")
    parser.add_argument("--out", metavar="FILE", help="the ONNX file to write")
    parser.add_argument("--weights", choices=("none", "default"), default="default",
                        help="none: seeded random weights; default: torchvision's best "
                             "(default)")
    parser.add_argument("--opset", type=int, default=13)
    parser.add_argument("--size", type=int,
                        help="height and width of the input (default: that of the weights, "
                             "or 224, 299 for inception_v3)")
    parser.add_argument("--seed", type=int, default=0, help="of the random weights")
    options = parser.parse_args()

    known = classifiers()
    if options.name == "list":
        print("\n".join(known))
        return
    if options.out is None:
        parser.error("--out is missing")
    if options.name not in known:
        sys.exit(f"export_torchvision: this torchvision has no classifier {options.name}; "
                 "see: export_torchvision.py list")

    warnings.filterwarnings("ignore")         # the exporter's, about its own internals
    torch.manual_seed(options.seed)
    size = options.size or (299 if options.name == "inception_v3" else 224)
    try:
        if options.weights == "default":
            model, weights = build_pretrained(options.name)
            if options.size is None and weights is not None:
                size = weights.transforms().crop_size[0]
        else:
            model, weights = build_random(options.name, size), None
            redraw(model)
            settle_statistics(model, size)
        model.eval()
        export(model, options.out, size, options.opset)
    except (OSError, RuntimeError, ValueError, AssertionError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        sys.exit(f"export_torchvision: {options.name} at {size}x{size}, opset {options.opset}: "
                 f"{first}")
    print(f"{options.out}: {sum(p.numel() for p in model.parameters())} parameters, "
          f"input Nx3x{size}x{size}, opset {options.opset}")
    if options.weights == "default":
        write_notes(options.out, weights, size)


if __name__ == "__main__":
    main()
