#!/usr/bin/env python3
"""The engine's methods beside the same formulas in PyTorch, written independently of it: maps, and the optimised masks step by step.

    tests/methods/values/methods_in_torch.py build/method_values [MODEL.onnx PICTURE]     (default: the shipped example)
    ... --speed      also times a step of MaRC and of extremal perturbation, one thread each, one after the other

Prints one row a method and net; fails when a map differs by more than its bound. The optimised masks are compared on a small net without kinks,
made here, by their largest difference, and on the model by their mean one: where an argument of a ReLU or a maximum lies nearer to a kink than
rounding, two programs decide differently, and Adam turns each such difference at a small gradient into one of a whole step. Needs torch and onnx (Debian: python3-torch python3-onnx); without
them it says so and ends with status 77.
"""
import argparse
import json
import math
import pathlib
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent
sys.path[:0] = [str(ROOT / "tools/export"), str(ROOT / "tests/kernels")]
try:
    import numpy as np
    import torch
    import torch.nn.functional as F
    import torch_reference
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)
import philox_backgrounds as philox  # noqa: E402

METHOD_STREAM = 4


def uniforms(seed, field, draw, count):
    blocks = (count + 3) // 4
    words = philox.philox4x32_10((np.arange(blocks), draw, METHOD_STREAM + 256 * field, 0), (seed & 0xFFFFFFFF, seed >> 32))
    return ((words.astype(np.float64) + 0.5) / 2.0**32).reshape(-1)[:count]


class Net:
    def __init__(self, path, label):
        self.model = torch_reference.Model(path)
        self.input = next(iter(self.model.inputs))
        self.output = self.model.outputs[0]
        self.label = label

    def values(self, x):
        return self.model.run({self.input: x})

    def logits(self, x):
        return self.values(x)[self.output]

    def score(self, x):
        return self.logits(x)[:, self.label]


class Picture:
    def __init__(self, folder, facts):
        self.x = torch.from_numpy(np.load(folder / "x.npy"))[None]
        self.colour = torch.from_numpy(np.load(folder / "colour.npy")).reshape(1, -1, 1, 1)
        C = self.x.shape[1]
        scale, offset = (torch.tensor(facts[k][:C], dtype=torch.float32).reshape(1, -1, 1, 1) for k in ("scale", "offset"))
        self.fills = {"mean": self.colour, "black": offset, "white": 255 * scale + offset}
        self.size = self.x.shape[2:]


def reduced(g, how):
    return {"sum": lambda: g.sum(0), "sum-abs": lambda: g.abs().sum(0), "max-abs": lambda: g.abs().max(0)[0]}[how]()


def gradients(net, images):
    images = images.detach().requires_grad_()
    return torch.autograd.grad(net.score(images).sum(), images)[0]


def gradient(net, p, o, seed):
    return reduced(gradients(net, p.x)[0], o["channels"])


def smoothgrad(net, p, o, seed):
    sigma = o["noise"] * float(p.x.max() - p.x.min())
    noise = [philox.normals(seed, METHOD_STREAM, 1, 0, n, p.x.numel()).reshape(p.x.shape[1:]) for n in range(o["samples"])]
    images = p.x + torch.from_numpy(sigma * np.stack(noise)).float()
    return reduced(gradients(net, images).mean(0), o["channels"])


def integrated_gradients(net, p, o, seed):
    at, weight = np.polynomial.legendre.leggauss(o["steps"])
    at, weight = torch.from_numpy((at + 1) / 2).float(), torch.from_numpy(weight / 2).float()
    base = p.fills[o["baseline"]]
    images = base + at.reshape(-1, 1, 1, 1) * (p.x - base)
    total = (gradients(net, images) * weight.reshape(-1, 1, 1, 1)).sum(0)
    return reduced(total * (p.x - base)[0], o["channels"])


def rise(net, p, o, seed):
    H, W = p.size
    s = o["grid"]
    ch, cw = -(-H // s), -(-W // s)
    masks = []
    for n in range(o["masks"]):
        u = uniforms(seed, 2, n, s * s + 2)
        cells = torch.from_numpy((u[:s * s] < o["keep"]).astype(np.float32)).reshape(1, 1, s, s)
        large = F.interpolate(cells, size=((s + 1) * ch, (s + 1) * cw), mode="bilinear", align_corners=False)[0, 0]
        dy, dx = int(u[s * s] * ch), int(u[s * s + 1] * cw)
        masks.append(large[dy:dy + H, dx:dx + W])
    masks = torch.stack(masks)[:, None]
    with torch.no_grad():
        scores = F.softmax(net.logits(masks * p.x + (1 - masks) * p.colour), 1)[:, net.label]
    return (scores.reshape(-1, 1, 1) * masks[:, 0]).sum(0) / (o["masks"] * o["keep"])


def layer_of(net, p, o):
    x = p.x.detach().requires_grad_()
    values = net.values(x)
    a = values[o["layer"]]
    return a, torch.autograd.grad(values[net.output][0, net.label], a)[0]


def gradcam(net, p, o, seed):
    a, g = layer_of(net, p, o)
    cam = F.relu((g.mean((2, 3), keepdim=True) * a).sum(1, keepdim=True))
    return F.interpolate(cam, size=tuple(p.size), mode="bilinear", align_corners=False)[0, 0]


def opticam(net, p, o, seed):
    a = layer_of(net, p, o)[0].detach()
    u = torch.zeros(1, a.shape[1], 1, 1, requires_grad=True)
    adam = torch.optim.Adam([u], lr=o["learning_rate"])

    def masks():
        s = F.interpolate((F.softmax(u, 1) * a).sum(1, keepdim=True), size=tuple(p.size), mode="bilinear", align_corners=False)
        return s, (s - s.min()) / (s.max() - s.min())

    for _ in range(o["steps"]):
        m = masks()[1]
        adam.zero_grad()
        (-net.score(m * p.x + (1 - m) * p.colour)[0]).backward()
        adam.step()
    return masks()[1][0, 0]


def marc(net, p, o, seed):
    H, W = p.size
    R = o["radius"]
    w = torch.full((1, 1, H, W), o["first_weight"], requires_grad=True)
    q = torch.full((1, 1, H, W), o["first_width"], requires_grad=True)
    d = torch.arange(-R, R + 1, dtype=torch.float32)
    square = (d[:, None]**2 + d[None, :]**2).reshape(1, -1, 1)
    fills = [p.fills[b].expand_as(p.x) for b in o["backgrounds"]]
    adam = torch.optim.Adam([w, q], lr=o["learning_rate"])

    def mask():
        windows = [F.unfold(F.pad(v, (R, R, R, R), mode="replicate"), 2 * R + 1) for v in (w, q)]
        return torch.sigmoid((windows[0] * torch.exp(-square / windows[1])).sum(1)).reshape(1, 1, H, W)

    def P(images):
        z = net.logits(images)
        both = (1 - o["sigmoid_share"]) * F.softmax(z, 1)[:, net.label] + o["sigmoid_share"] * torch.sigmoid(z[:, net.label])
        return both.clamp(5e-6, 1 - 5e-6)

    for _ in range(o["steps"]):
        m = mask()
        keep = torch.cat([m * p.x + (1 - m) * b for b in fills])
        drop = torch.cat([(1 - m) * p.x + m * b for b in fills])
        probability = P(torch.cat([keep, drop]))
        n = len(fills)
        tv = ((m[..., :, 1:] - m[..., :, :-1])**2).sum() + ((m[..., 1:, :] - m[..., :-1, :])**2).sum() + \
            ((m[..., 1:, 1:] - m[..., :-1, :-1])**2).sum() + ((m[..., 1:, :-1] - m[..., :-1, 1:])**2).sum()
        loss = -o["positive"] * probability[:n].log().mean() - o["negative"] * (1 - probability[n:]).log().mean() + \
            o["sparsity"] * m.mean()**2 - o["width"] * q.log().mean() + o["tv"] * tv / (H * W)
        adam.zero_grad()
        loss.backward()
        adam.step()
        with torch.no_grad():
            q.clamp_(min=o["least_width"])
    return mask()[0, 0].detach()


def blur(x, sigma):
    if sigma == 0:
        return x
    R = math.ceil(3 * sigma)
    taps = torch.exp(-0.5 * (torch.arange(-R, R + 1, dtype=torch.float64) / sigma)**2)
    taps = (taps / taps.sum()).reshape(1, 1, -1)
    C = x.shape[1]
    y = x.double()
    y = F.conv2d(F.pad(y, (0, 0, R, R), mode="replicate"), taps.reshape(1, 1, -1, 1).repeat(C, 1, 1, 1), groups=C)
    return F.conv2d(F.pad(y, (R, R, 0, 0), mode="replicate"), taps.reshape(1, 1, 1, -1).repeat(C, 1, 1, 1), groups=C).float()


def extremal(net, p, o, seed):
    H, W = p.size
    step, sigma, c, L = o["step"], o["sigma"], o["coldness"], o["levels"]
    R = 1 + math.ceil(sigma / step)
    h, w = -(-H // step), -(-W // step)
    areas = sorted(o["areas"])
    A = len(areas)
    # k of each pixel's place inside a cell and of each cell of the window, [step, step, window * window].
    place = torch.arange(step, dtype=torch.float64)
    off = place[:, None] - (step - 1) / 2 - step * torch.arange(-R, R + 1, dtype=torch.float64)[None]
    d = (off[:, None, :, None]**2 + off[None, :, None, :]**2).sqrt()
    k = torch.exp(-2 * F.relu(d / sigma - 0.5)**2).reshape(step, step, -1).float()
    a = torch.from_numpy(np.stack([1 - o["noise"] * uniforms(seed, 3, i, h * w).reshape(1, h, w) for i in range(A)])).float().requires_grad_()
    pyramid = torch.stack([blur(p.x, o["max_blur"] * (1 - l / (L - 1)))[0] for l in range(L)])
    pixels = H * W
    template = torch.zeros(A, pixels)
    for i, area in enumerate(areas):
        template[i, :math.ceil(np.float32(area) * pixels * (1 - 2.0**-22))] = 1

    def mask():
        cells = F.unfold(F.pad(a, (R, R, R, R)), 2 * R + 1).reshape(A, 1, 1, -1, h, w)
        t = cells * k.reshape(1, step, step, -1, 1, 1)
        m = (t * F.softmax(c * t, 3)).sum(3)  # [A, step, step, h, w]
        return m.permute(0, 3, 1, 4, 2).reshape(A, h * step, w * step)[:, :H, :W]

    def picture(m):
        v = m * (L - 1)
        low = v.detach().floor().clamp(0, L - 2).long()
        index = low.unsqueeze(1).expand(A, p.x.shape[1], H, W)
        all_levels = pyramid.permute(1, 0, 2, 3)[None].expand(A, -1, -1, -1, -1)
        y0 = torch.gather(all_levels, 2, index.unsqueeze(2)).squeeze(2)
        y1 = torch.gather(all_levels, 2, index.unsqueeze(2) + 1).squeeze(2)
        return y0 + (v - low).unsqueeze(1) * (y1 - y0)

    sgd = torch.optim.SGD([a], lr=o["learning_rate"], momentum=o["momentum"])
    weight = o["weight"]
    for _ in range(o["steps"]):
        m = mask()
        area_loss = ((m.reshape(A, -1).sort(1, descending=True)[0] - template)**2).mean(1)
        loss = (-net.score(picture(m)) + weight * area_loss).sum()
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        with torch.no_grad():
            a.clamp_(0, 1)
        weight *= o["growth"]
    return mask().mean(0).detach()


METHODS = {"gradient": gradient, "smoothgrad": smoothgrad, "integrated-gradients": integrated_gradients, "rise": rise, "gradcam": gradcam,
           "opticam": opticam, "marc": marc, "extremal": extremal}
SOFT = ("opticam", "marc", "extremal")  # compared by their masks, which lie in 0..1

BOUNDS = {"gradient": 1e-3, "smoothgrad": 1e-3, "integrated-gradients": 1e-3, "rise": 1e-5, "gradcam": 1e-4}


def jobs(layer):
    return {
        "gradient": {"method": "gradient"},
        "smoothgrad": {"method": "smoothgrad", "samples": 10},
        "integrated-gradients": {"method": "integrated-gradients", "steps": 20},
        "rise": {"method": "rise", "masks": 40},
        "gradcam": {"method": "gradcam", "layer": layer},
        "opticam": {"method": "opticam", "layer": layer, "steps": 10},
        "marc": {"method": "marc", "steps": 10},
        "extremal": {"method": "extremal", "steps": 10},
    }


def smooth_net(folder):
    """A net without kinks, 3 x 48 x 48 -> 5 classes, and a picture for it."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from PIL import Image
    random = np.random.RandomState(5)
    weights = {"w1": random.randn(8, 3, 3, 3) * .3, "b1": random.randn(8) * .1, "w2": random.randn(16, 8, 3, 3) * .25, "b2": random.randn(16) * .1,
               "w3": random.randn(5, 16) * 4, "b3": random.randn(5) * .1}
    convolution = dict(kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    nodes = [helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], **convolution), helper.make_node("Tanh", ["c1"], ["a1"]),
             helper.make_node("Conv", ["a1", "w2", "b2"], ["c2"], **convolution), helper.make_node("Tanh", ["c2"], ["a2"]),
             helper.make_node("GlobalAveragePool", ["a2"], ["p"]), helper.make_node("Flatten", ["p"], ["f"]),
             helper.make_node("Gemm", ["f", "w3", "b3"], ["z"], transB=1)]
    graph = helper.make_graph(nodes, "smooth", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 48, 48])],
                              [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", 5])],
                              [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(folder / "smooth.onnx"))
    (folder / "smooth.preprocess.json").write_text(json.dumps({"channel_order": "RGB", "scale": [.02] * 3, "offset": [-2.0] * 3}))
    wave = np.arange(48)[:, None, None] * [.11, .23, .17] + np.arange(48)[None, :, None] * [.19, .07, .13]
    pixels = 127 + 90 * np.sin(wave) + 30 * random.rand(48, 48, 3)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / "smooth.png")
    return str(folder / "smooth.onnx"), str(folder / "smooth.png")


def last_map(path):
    """The last feature map before the first pooling over the whole plane."""
    import onnx
    graph = onnx.load(path).graph
    for node in graph.node:
        if node.op_type in ("GlobalAveragePool", "ReduceMean", "Flatten"):
            return node.input[0]
    raise SystemExit("no pooling found; the model's last layer is not known here")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("model", nargs="?", default=str(ROOT / "examples/shapes96.onnx"))
    parser.add_argument("picture", nargs="?", default=str(ROOT / "examples/images/dotted_disc.png"))
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--speed", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    bad = []
    with tempfile.TemporaryDirectory() as tmp:
        folder = pathlib.Path(tmp)
        for model, picture, strict in [(options.model, options.picture, False), (*smooth_net(folder), True)]:
            chosen = {name: job for name, job in jobs(last_map(model)).items() if name in options.methods.split(",")}
            (folder / "job.json").write_text(json.dumps({"seed": 11, "methods": chosen}))
            out = folder / "out"
            subprocess.run([options.program, model, picture, folder / "job.json", out], check=True)
            facts = json.loads((out / "facts.json").read_text())
            p, net = Picture(out, facts), Net(model, facts["label"])
            for name in chosen:
                run = facts["runs"][name]
                start = time.perf_counter()
                theirs = METHODS[name](net, p, run["options"], 11).detach().numpy().astype(np.float64)
                seconds = time.perf_counter() - start
                soft = name in SOFT
                ours = np.load(out / f"{name}.{'soft' if soft else 'map'}.npy").astype(np.float64)
                scale = 1.0 if soft else max(np.abs(theirs).max(), 1e-30)
                worst, typical = np.abs(ours - theirs).max() / scale, np.abs(ours - theirs).mean() / scale
                bound = BOUNDS[name] if not soft else 1e-3 if strict else 5e-3
                judged = worst if strict or name in ("rise", "gradcam") else typical
                line = f"{pathlib.Path(model).stem:10s} {name:22s} largest difference {worst:.2e}  mean {typical:.2e}  bound {bound:.0e}"
                if options.speed and soft:
                    line += f"  a step: ours {1e3 * run['seconds'] / run['steps']:.1f} ms, torch {1e3 * seconds / run['steps']:.1f} ms"
                print(line + ("" if judged <= bound else "  NOT EQUAL"), flush=True)
                if not judged <= bound:
                    bad.append(f"{name} on {pathlib.Path(model).stem}")
    if bad:
        sys.exit("methods_in_torch: not equal: " + ", ".join(bad))


if __name__ == "__main__":
    main()
