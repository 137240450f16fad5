#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The file that `actmatch train` writes, outside of actmatch: onnx.checker with shape inference, and the same numbers as `actmatch run`
from ONNX Runtime, onnx's ReferenceEvaluator, or the file's operators in PyTorch, whichever is installed.

    explainer_in_onnx.py build/actmatch          exit status 77: onnx is not installed
"""
import os
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import onnx
    from onnx import numpy_helper
except ImportError:
    print("skipped: no onnx")
    sys.exit(77)

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
TOLERANCE = 1e-4  # sums of floats in another order, 1e-6, and a nearly untrained map's small deviation is brought to 1: times 50 or so


def in_torch(model, x):
    import torch
    import torch.nn.functional as F
    values = {i.name: torch.tensor(numpy_helper.to_array(i).copy()) for i in model.graph.initializer}
    values[model.graph.input[0].name] = torch.tensor(x)
    for node in model.graph.node:
        a = {t.name: onnx.helper.get_attribute_value(t) for t in node.attribute}
        i = [values.get(name) for name in node.input]
        op = node.op_type
        if op == "Conv":
            y = F.conv2d(i[0], i[1], i[2], a["strides"], a["pads"][:2])
        elif op == "ConvTranspose":
            y = F.conv_transpose2d(i[0], i[1], i[2], a["strides"], a["pads"][:2])
        elif op == "MaxPool":
            y = F.max_pool2d(i[0], a["kernel_shape"], a["strides"])
        elif op == "AveragePool":
            y = F.avg_pool2d(i[0], a["kernel_shape"], a["strides"])
        elif op == "Relu":
            y = F.relu(i[0])
        elif op == "Sqrt":
            y = i[0].sqrt()
        elif op in ("Add", "Sub", "Mul", "Div"):
            y = {"Add": torch.add, "Sub": torch.sub, "Mul": torch.mul, "Div": torch.div}[op](i[0], i[1])
        elif op == "Concat":
            y = torch.cat(i, a["axis"])
        elif op == "ReduceMean":
            y = i[0].mean(tuple(a["axes"]), keepdim=bool(a["keepdims"]))
        elif op == "Pad":
            pads = i[1].tolist()
            y = F.pad(i[0], (pads[3], pads[7], pads[2], pads[6]), mode="replicate")
        elif op == "Resize":
            y = F.interpolate(i[0], scale_factor=[float(s) for s in i[2][2:]], mode="bilinear", align_corners=False)
        elif op == "Slice":
            y = i[0]
            for start, end, axis, step in zip(*(t.tolist() for t in i[1:])):
                y = y.narrow(axis, start, end - start) if step == 1 else y
        else:
            raise NotImplementedError(op)
        values[node.output[0]] = y
    return values[model.graph.output[0].name].numpy()


def outside(path, model, x):
    """(who computed it, logits), or None."""
    try:
        import onnxruntime
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return "ONNX Runtime", session.run(None, {session.get_inputs()[0].name: x})[0]
    except ImportError:
        pass
    try:
        from onnx.reference import ReferenceEvaluator
        return "ReferenceEvaluator", ReferenceEvaluator(model).run(None, {model.graph.input[0].name: x})[0]
    except ImportError:
        pass
    try:
        return "PyTorch", in_torch(model, x)
    except ImportError:
        return None


def main(actmatch):
    for generator in ("csae", "unet"):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "explainer.onnx")
            subprocess.run([actmatch, "train", os.path.join(SOURCE, "examples/shapes96.onnx"), "--images",
                            os.path.join(SOURCE, "examples/images"), "--out", path, "--generator", generator, "--epochs", "1", "--batch", "6",
                            "--validation-share", "0", "--quiet"], check=True)
            model = onnx.load(path)
            onnx.checker.check_model(model, full_check=True)
            shape = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph.output[0].type.tensor_type.shape
            extents = [d.dim_param or d.dim_value for d in shape.dim]
            assert extents == ["N", 1, 96, 96], extents
            about = {e.key: e.value for e in model.metadata_props}
            assert about["actmatch.kind"] == "explainer" and len(about["actmatch.model_sha256"]) == 64, about
            for batch in (1, 3):
                x = np.random.default_rng(batch).standard_normal((batch, 3, 96, 96)).astype(np.float32)
                np.save(os.path.join(folder, "x.npy"), x)
                subprocess.run([actmatch, "run", path, "--input", os.path.join(folder, "x.npy"), "--out", folder], check=True,
                               stdout=subprocess.DEVNULL)
                ours = np.load(os.path.join(folder, model.graph.output[0].name + ".npy"))
                assert ours.shape == (batch, 1, 96, 96), ours.shape
                found = outside(path, model, x)
                if found is None:
                    print(generator, "batch", batch, "is well-formed; nothing is installed that runs it")
                    continue
                off = float(np.abs(found[1] - ours).max())
                print(f"{generator}, batch {batch}: {found[0]} differs by at most {off:.1e}; the logits' deviation is {ours.std():.2f}")
                assert off <= TOLERANCE and ours.std() > 0.1


if __name__ == "__main__":
    main(sys.argv[1])
