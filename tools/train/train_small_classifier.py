#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Trains the example classifier shapes96 on the pictures of make_dataset.py, on one CPU core.

    train_small_classifier.py --out ../../examples          train, export, measure
    train_small_classifier.py --measure ../../examples/shapes96.onnx    measure only

Training writes shapes96.onnx (input `input` Nx3x96x96, output `logits` Nx10), and next to it
shapes96.labels.txt and shapes96.preprocess.json.  The measurement runs the exported file, not
the network in memory, with the interpreter ../export/torch_reference.py, over pictures of the
split `test`, which no training picture shares.

A mask that explains a decision is found by showing the network pictures with parts taken
away.  A network that has seen whole pictures only may answer anything to those, so a share of
each batch is shown with parts of the background and of the object replaced (by the mean
colour, by a blurred copy, or by another background), and a share shows no object at all, with
the answer "all classes alike".
"""
import argparse
import json
import os
import sys
import time

import numpy as np
import torch
from torch import nn
import torch.nn.functional as F

import make_dataset as data

MEAN, STD = 0.5, 0.25                         # of pixels in 0..1, all three channels


# --- the network ---------------------------------------------------------------------------

def conv_bn(inputs, outputs, kernel, stride=1):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs))


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut around them."""

    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.first = conv_bn(inputs, outputs, 3, stride)
        self.second = conv_bn(outputs, outputs, 3)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else conv_bn(inputs, outputs, 1, stride)

    def forward(self, x):
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))


class Net(nn.Module):
    """96x96 pictures to logits; the last feature map has 12x12 places."""

    def __init__(self, classes):
        super().__init__()
        self.stem = conv_bn(3, 16, 5, 2)
        self.blocks = nn.Sequential(Block(16, 32), Block(32, 64, 2), Block(64, 64))
        self.head = nn.Linear(64, classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.stem(x)), 3, 2, 1)
        x = self.blocks(x)
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


def normalise(pictures):
    """uint8 NxHxWx3 to the network's input."""
    x = torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))).float()
    return x / (255 * STD) - MEAN / STD


# --- training ------------------------------------------------------------------------------

def soft_masks(rng, count):
    """Random smooth masks Nx1x96x96 in 0..1, from coarse to fine, hard or soft edged."""
    masks = torch.empty(count, 1, data.SIZE, data.SIZE)
    for i in range(count):
        cells = int(rng.integers(3, 13))
        grid = torch.from_numpy(rng.random((1, 1, cells, cells), dtype=np.float32))
        grid = F.interpolate(grid, size=(data.SIZE, data.SIZE), mode="bilinear")
        level, sharpness = rng.uniform(0.3, 0.7), rng.uniform(2.0, 20.0)
        masks[i] = ((grid[0] - level) * sharpness + 0.5).clamp(0, 1)
    return masks


def take_away(rng, x, objects, backgrounds):
    """Shows x under random masks; at least 60 % of each object stays in sight.

    What is hidden becomes the mean colour (0 after normalisation), a blurred copy of the
    picture, or another background.
    """
    masks = soft_masks(rng, len(x))
    for i in range(len(x)):
        if rng.random() < 0.25:               # what an explanation leaves: the object alone
            masks[i] = F.avg_pool2d(objects[i:i + 1], 7, 1, 3)[0].mul(2).clamp(0, 1)
        seen = float((masks[i] * objects[i]).sum() / objects[i].sum())
        if seen < 0.6:
            share = (0.6 - seen) / (1 - seen)
            masks[i] = torch.maximum(masks[i], masks[i] + share * objects[i] * (1 - masks[i]))
    blurred = F.interpolate(F.avg_pool2d(x, 12), size=x.shape[2:], mode="bilinear")
    kind = rng.integers(0, 3, len(x))
    filler = torch.zeros_like(x)
    filler[kind == 1] = blurred[kind == 1]
    filler[kind == 2] = normalise(backgrounds[rng.integers(0, len(backgrounds),
                                                           int((kind == 2).sum()))])
    return x * masks + filler * (1 - masks)


def turn(rng, x, objects):
    """Turns, mirrors and recolours a whole batch in one of 8 * 6 * 2 ways."""
    x = x[:, torch.from_numpy(rng.permutation(3))]
    if rng.random() < 0.5:
        x = -x
    if rng.random() < 0.5:
        x, objects = x.flip(3), objects.flip(3)
    quarter = int(rng.integers(4))
    return torch.rot90(x, quarter, (2, 3)), torch.rot90(objects, quarter, (2, 3))


def make_pool(options):
    started = time.process_time()
    pictures = np.empty((options.pictures, data.SIZE, data.SIZE, 3), np.uint8)
    masks = np.empty((options.pictures, data.SIZE, data.SIZE), np.uint8)
    labels = np.empty(options.pictures, np.int64)
    for i in range(options.pictures):
        pictures[i], masks[i], labels[i] = data.sample(options.seed, "train", i)
    backgrounds = np.stack([data.empty(options.seed, "train", i)
                            for i in range(max(options.pictures // 12, 50))])
    print(f"{options.pictures} training pictures drawn in {time.process_time() - started:.0f} s",
          flush=True)
    return pictures, masks, labels, backgrounds


def train(net, options):
    rng = np.random.default_rng([options.seed, 999])
    pictures, masks, labels, backgrounds = make_pool(options)
    steps = options.epochs * (options.pictures // options.batch)
    decay = [p for p in net.parameters() if p.dim() > 1]
    plain = [p for p in net.parameters() if p.dim() <= 1]
    optimiser = torch.optim.AdamW([{"params": decay, "weight_decay": 0.02},
                                   {"params": plain, "weight_decay": 0.0}], lr=options.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, options.rate, steps,
                                                   pct_start=0.2)
    classes = len(data.CLASSES)
    started, step = time.process_time(), 0
    net.train()
    for epoch in range(options.epochs):
        order = rng.permutation(options.pictures)
        total, right, clean = 0.0, 0, 0
        for first in range(0, len(order) - options.batch + 1, options.batch):
            chosen = order[first:first + options.batch]
            x = normalise(pictures[chosen])
            objects = torch.from_numpy(masks[chosen]).float().div(255).unsqueeze(1)
            target = F.one_hot(torch.from_numpy(labels[chosen]), classes).float()
            x, objects = turn(rng, x, objects)
            # Learning begins with objects on a flat colour; the clutter fades in over the
            # first third.  From full clutter alone the first epochs would learn nothing.
            clutter = min(1.0, 3.0 * step / steps)
            if clutter < 1.0:
                flat = torch.from_numpy(rng.uniform(-1, 1, (len(x), 3, 1, 1))).float()
                x = x * objects + (1 - objects) * (flat + clutter * (x - flat))
            # The batch in three parts: no object, parts taken away, untouched.
            n_empty, n_taken = options.batch // 12, options.batch * 5 // 12
            at = slice(n_empty, n_empty + n_taken)
            x[at] = take_away(rng, x[at], objects[at], backgrounds)
            bare = backgrounds[rng.integers(0, len(backgrounds), n_empty)]
            share = torch.from_numpy(rng.random((n_empty, 1, 1, 1), dtype=np.float32))
            x[:n_empty] = normalise(bare) * share.sqrt()
            target[:n_empty] = 1.0 / classes

            logits = net(x.contiguous(memory_format=torch.channels_last))
            loss = F.cross_entropy(logits, target, label_smoothing=0.02)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            step += 1
            total += float(loss)
            whole = slice(at.stop, None)
            right += int((logits[whole].argmax(1) == target[whole].argmax(1)).sum())
            clean += options.batch - at.stop
            if step == 20:
                print(f"{steps} steps of {(time.process_time() - started) / 20:.2f} s", flush=True)
        print(f"epoch {epoch + 1}/{options.epochs}: loss "
              f"{total / (len(order) // options.batch):.3f}, whole pictures "
              f"{100 * right / clean:.2f} % right, {time.process_time() - started:.0f} s", flush=True)


# --- export and measurement ----------------------------------------------------------------

def export(net, path):
    net.eval()
    torch.onnx.export(net, torch.zeros(1, 3, data.SIZE, data.SIZE), path, opset_version=13,
                      input_names=["input"], output_names=["logits"],
                      dynamic_axes={"input": {0: "N"}, "logits": {0: "N"}})
    stem = os.path.splitext(path)[0]
    with open(stem + ".labels.txt", "w") as file:
        file.write("".join(label + "\n" for label in data.LABELS))
    preprocess = {"channel_order": "RGB", "scale": [1 / (255 * STD)] * 3,
                  "offset": [-MEAN / STD] * 3, "resize": "short-side", "resize_ratio": 1.0,
                  "crop": "center", "interpolation": "bilinear-antialias"}
    with open(stem + ".preprocess.json", "w") as file:
        json.dump(preprocess, file, indent=1)
        file.write("\n")


def measure(path, count, seed):
    """Prints the accuracy of an exported file; whole pictures, and the object alone on grey."""
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "export"))
    from torch_reference import Model
    model = Model(path)
    right = {"whole picture": 0, "object alone on the mean colour": 0}
    doubt = []
    confusion = np.zeros((len(data.CLASSES), len(data.CLASSES)), int)
    with torch.no_grad():
        for first in range(0, count, 50):
            samples = [data.sample(seed, "test", i) for i in range(first, min(first + 50, count))]
            x = normalise(np.stack([s[0] for s in samples]))
            objects = torch.from_numpy(np.stack([s[1] for s in samples])).float().div(255)
            labels = np.array([s[2] for s in samples])
            for name, shown in (("whole picture", x),
                                ("object alone on the mean colour", x * objects.unsqueeze(1))):
                guess = model.run({"input": shown})["logits"].argmax(1).numpy()
                right[name] += int((guess == labels).sum())
                if shown is x:
                    np.add.at(confusion, (labels, guess), 1)
            bare = normalise(np.stack([data.empty(seed, "test", first + i) for i in range(5)]))
            doubt.append(F.softmax(model.run({"input": bare})["logits"], 1).max(1).values)
    for name, number in right.items():
        print(f"{name}: {number} of {count} right, {100 * number / count:.2f} %")
    doubt = torch.cat(doubt)
    print(f"background alone: largest probability {doubt.mean():.2f} on average "
          f"of {len(doubt)}, over 0.5 for {int((doubt > 0.5).sum())}")
    for label in range(len(data.CLASSES)):
        wrong = {data.LABELS[k]: int(n) for k, n in enumerate(confusion[label])
                 if n and k != label}
        if wrong:
            print(f"  {data.LABELS[label]} taken for {wrong}")


def main():
    parser = argparse.ArgumentParser(description="Train or measure the classifier shapes96.")
    parser.add_argument("--out", metavar="DIR", help="train, and write shapes96.onnx etc. here")
    parser.add_argument("--measure", metavar="FILE.onnx", help="measure this file only")
    parser.add_argument("--pictures", type=int, default=6000, help="training pictures (6000)")
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=4e-3, help="largest learning rate")
    parser.add_argument("--test", type=int, default=3000, help="test pictures (3000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if (options.out is None) == (options.measure is None):
        parser.error("give --out to train, or --measure")

    torch.set_num_threads(options.threads)
    path = options.measure
    if options.out is not None:
        torch.manual_seed(options.seed)
        net = Net(len(data.CLASSES)).to(memory_format=torch.channels_last)
        print(f"{sum(p.numel() for p in net.parameters())} parameters", flush=True)
        train(net, options)
        os.makedirs(options.out, exist_ok=True)
        path = os.path.join(options.out, "shapes96.onnx")
        export(net, path)
        print(f"{path}: {os.path.getsize(path)} bytes")
    measure(path, options.test, options.seed)


if __name__ == "__main__":
    main()
