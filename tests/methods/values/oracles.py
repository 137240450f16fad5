#!/usr/bin/env python3
"""The engine beside published packages, on the small net of methods_in_torch.py: Grad-CAM and ROAD's filling in of pixels beside pytorch-grad-cam,
gradients and integrated gradients beside Captum.

    pip install grad-cam captum          (with what they need; torch and onnx too)
    tests/methods/values/oracles.py build/method_values

Prints one row a comparison; fails when one differs by more than 1e-5 of the largest value. Run by hand: the packages are no part of the tests.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import torch
from captum.attr import IntegratedGradients, Saliency
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.metrics.road import NoisyLinearImputer
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent / "metrics")]
import methods_in_torch  # noqa: E402
import metrics_in_numpy  # noqa: E402


def module(path):
    """The small net as a torch module with the file's weights."""
    w = {t.name: torch.from_numpy(onnx.numpy_helper.to_array(t).copy()) for t in onnx.load(path).graph.initializer}
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, 2, 1), torch.nn.Tanh(), torch.nn.Conv2d(8, 16, 3, 2, 1), torch.nn.Tanh(),
                              torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(16, 5))
    for layer, number in ((0, 1), (2, 2), (6, 3)):
        net[layer].weight.data, net[layer].bias.data = w[f"w{number}"], w[f"b{number}"]
    return net.eval()


def road(net, case):
    """(LeRF - MoRF) / 2 over 10..90 %, without noise."""
    fill = NoisyLinearImputer(noise=0)
    x = torch.from_numpy(case.x).float()
    total = 0
    for percent in range(10, 100, 10):
        count = int(percent / 100 * case.order.size + 0.5)
        for sign, index in ((-1, case.order[:count]), (1, case.order[case.order.size - count:])):
            kept = np.ones(case.order.size, np.float32)
            kept[index] = 0
            image = fill(x, torch.from_numpy(kept.reshape(case.H, case.W)))
            with torch.no_grad():
                total += sign * float(torch.softmax(net(image[None]), 1)[0, case.y]) / 2 / 9
    return total


def main():
    bad = []
    with tempfile.TemporaryDirectory() as tmp:
        folder = pathlib.Path(tmp)
        model, picture = methods_in_torch.smooth_net(folder)
        job = {"seed": 3, "metrics": {"road": {"noise": 0}},
               "methods": {"gradcam": {"method": "gradcam", "layer": "a2"}, "gradient": {"method": "gradient"},
                           "ig": {"method": "integrated-gradients", "steps": 20}}}
        (folder / "job.json").write_text(json.dumps(job))
        out = folder / "out"
        subprocess.run([sys.argv[1], model, picture, folder / "job.json", out], check=True)
        facts = json.loads((out / "facts.json").read_text())
        y, net = facts["label"], module(model)
        x = torch.from_numpy(np.load(out / "x.npy"))[None]
        base = torch.from_numpy(np.load(out / "colour.npy")).reshape(1, 3, 1, 1).expand_as(x)
        case = metrics_in_numpy.Case(model, out, facts, "gradcam")
        rows = {
            "Grad-CAM, pytorch-grad-cam": (np.load(out / "gradcam.soft.npy"),
                                           GradCAM(net, [net[3]])(x, [ClassifierOutputTarget(y)])[0]),
            "gradient, Captum": (np.load(out / "gradient.map.npy"), Saliency(net).attribute(x.clone(), target=y)[0].max(0)[0].numpy()),
            "integrated gradients, Captum": (np.load(out / "ig.map.npy"), IntegratedGradients(net).attribute(
                x, base, target=y, n_steps=20, method="gausslegendre")[0].sum(0).detach().numpy()),
            "ROAD, pytorch-grad-cam": (np.array(facts["runs"]["gradcam"]["figures"]["road"]), np.array(road(net, case))),
        }
        for name, (ours, theirs) in rows.items():
            off = np.abs(ours - theirs).max() / np.abs(theirs).max()
            print(f"{name:30s} largest difference {off:.1e} of the largest value" + ("" if off <= 1e-5 else "  NOT EQUAL"))
            if not off <= 1e-5:
                bad.append(name)
    if bad:
        sys.exit("oracles: not equal: " + ", ".join(bad))


if __name__ == "__main__":
    main()
