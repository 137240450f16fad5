#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reference results for an ONNX classifier: outputs, and gradients by torch autograd.

The model is run by a small interpreter that knows nothing of actmatch: one short function
per ONNX operator, written in torch operations, so that autograd gives the gradient.  What
it writes is what the tests of actmatch compare with.

    torch_reference.py model.onnx --input x.npy --out ref --gradient logits:281 --double

writes ref/logits.npy and ref/grad_input.npy.  Characters of a value's name outside
[A-Za-z0-9._-] become "_" in the name of its file.

Conventions worth knowing when comparing:

* Computation is in float32, or in float64 with --double.  float16 models are widened, they
  are not rounded to float16 between operators: the result is the one an exact float16
  machine would come near to.  Files are written in the type that was computed in.
* Where the derivative is not defined, torch decides: Relu has slope 0 at 0, Clip has slope
  1 at both of its bounds, and MaxPool gives a tie to the first position in row order.
* With --gradient OUTPUT:CLASS the gradient is that of sum(OUTPUT[:, CLASS]) over the batch,
  with --gradient OUTPUT that of sum(OUTPUT).  OUTPUT may be any value inside the graph.
"""
import argparse
import os
import re
import sys

import numpy as np
import onnx
from onnx import numpy_helper
import torch
import torch.nn.functional as F

OPERATORS = {}


def op(*names):
    """Registers the function below it for these ONNX operator names."""
    def register(function):
        for name in names:
            OPERATORS[name] = function
        return function
    return register


class Attributes:
    """What an operator function is told besides its inputs."""

    def __init__(self, node, opset, real):
        self.kind = node.op_type
        self.count = len(node.output)
        self.opset = opset
        self.real = real                      # the floating type of the whole run
        self.values = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}

    def get(self, name, default=None):
        value = self.values.get(name, default)
        return value.decode() if isinstance(value, bytes) else value

    def tensor(self, proto):
        return to_torch(numpy_helper.to_array(proto), self.real)


def to_torch(array, real):
    """A numpy array as a tensor; every floating type becomes `real`."""
    if array.dtype.kind == "f":
        return torch.from_numpy(array.astype(np.float64)).to(real)
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.int64)        # torch has no unsigned types but uint8
    return torch.from_numpy(np.array(array))


def whole(tensor):
    """A tensor of integers as a list of Python ints."""
    return [int(v) for v in tensor.reshape(-1).tolist()]


# --- convolution, pooling, normalisation ---------------------------------------------------

def spatial_pads(a, size, kernel, stride, dilation):
    """[before...] and [after...] for each spatial axis, from pads or auto_pad."""
    mode = a.get("auto_pad", "NOTSET")
    n = len(size)
    if mode in ("NOTSET", ""):
        pads = list(a.get("pads", [0] * (2 * n)))
        return pads[:n], pads[n:]
    if mode == "VALID":
        return [0] * n, [0] * n
    before, after = [], []
    for s, k, st, d in zip(size, kernel, stride, dilation):
        out = -(-s // st)
        total = max((out - 1) * st + (k - 1) * d + 1 - s, 0)
        small, large = total // 2, total - total // 2
        before.append(large if mode == "SAME_LOWER" else small)
        after.append(small if mode == "SAME_LOWER" else large)
    return before, after


def pad_last_axes(x, before, after, value):
    """Constant padding of the last len(before) axes; F.pad counts axes from the last one."""
    if not any(before) and not any(after):
        return x
    order = [p for pair in zip(reversed(before), reversed(after)) for p in pair]
    return F.pad(x, order, value=value)


@op("Conv")
def conv(a, x, w, b=None):
    n = x.dim() - 2
    stride = list(a.get("strides", [1] * n))
    dilation = list(a.get("dilations", [1] * n))
    before, after = spatial_pads(a, x.shape[2:], w.shape[2:], stride, dilation)
    function = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[n]
    return function(pad_last_axes(x, before, after, 0.0), w, b, stride, 0, dilation,
                    a.get("group", 1))


@op("ConvTranspose")
def conv_transpose(a, x, w, b=None):
    n = x.dim() - 2
    stride = list(a.get("strides", [1] * n))
    dilation = list(a.get("dilations", [1] * n))
    if a.get("auto_pad", "NOTSET") != "NOTSET" or a.get("output_shape"):
        raise NotImplementedError("ConvTranspose with auto_pad or output_shape")
    pads = list(a.get("pads", [0] * (2 * n)))
    extra = list(a.get("output_padding", [0] * n))
    function = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}[n]
    full = function(x, w, None, stride, 0, 0, a.get("group", 1), dilation)
    # pads shortens both ends, output_padding lengthens the far one.
    full = pad_last_axes(full, [-p for p in pads[:n]],
                         [e - p for p, e in zip(pads[n:], extra)], 0.0)
    return full if b is None else full + b.reshape([1, -1] + [1] * n)


def pool_geometry(a, x):
    """Kernel, stride, dilation and pads of a pooling operator.

    With ceil_mode the last window may reach over the padded end.  It is kept only if it
    begins inside the picture or the padding before it; `reach` is how much has to be
    appended to the end so that a plain floor-mode pooling gives those windows.
    """
    kernel = list(a.get("kernel_shape"))
    n = len(kernel)
    if n != 2:
        raise NotImplementedError(f"{a.kind} over {n} axes")
    stride = list(a.get("strides", [1] * n))
    dilation = list(a.get("dilations", [1] * n))
    before, after = spatial_pads(a, x.shape[2:], kernel, stride, dilation)
    reach = [0] * n
    if a.get("ceil_mode", 0):
        for i in range(n):
            size = x.shape[2 + i]
            length = size + before[i] + after[i]
            window = dilation[i] * (kernel[i] - 1) + 1
            out = -(-(length - window) // stride[i]) + 1
            if (out - 1) * stride[i] >= size + before[i]:
                out -= 1
            reach[i] = max((out - 1) * stride[i] + window - length, 0)
    return kernel, stride, dilation, before, after, reach


@op("MaxPool")
def max_pool(a, x):
    kernel, stride, dilation, before, after, reach = pool_geometry(a, x)
    end = [p + r for p, r in zip(after, reach)]
    return F.max_pool2d(pad_last_axes(x, before, end, float("-inf")), kernel, stride, 0,
                        dilation)


@op("AveragePool")
def average_pool(a, x):
    kernel, stride, dilation, before, after, reach = pool_geometry(a, x)
    if dilation != [1] * len(kernel):
        raise NotImplementedError("AveragePool with dilations")
    end = [p + r for p, r in zip(after, reach)]
    total = F.avg_pool2d(pad_last_axes(x, before, end, 0.0), kernel, stride, 0,
                         divisor_override=1)
    # The divisor of each window is the number of cells that count: those of the picture,
    # and with count_include_pad those of the explicit padding, never those of `reach`.
    ones = torch.ones([1, 1] + list(x.shape[2:]), dtype=x.dtype)
    inside = 1.0 if a.get("count_include_pad", 0) else 0.0
    ones = pad_last_axes(pad_last_axes(ones, before, after, inside), [0, 0], reach, 0.0)
    return total / F.avg_pool2d(ones, kernel, stride, 0, divisor_override=1)


@op("GlobalAveragePool")
def global_average_pool(a, x):
    return x.mean(dim=list(range(2, x.dim())), keepdim=True)


@op("GlobalMaxPool")
def global_max_pool(a, x):
    flat = x.flatten(2).max(dim=2).values     # max(dim) sends a tie's gradient to one cell
    return flat.reshape(list(x.shape[:2]) + [1] * (x.dim() - 2))


@op("BatchNormalization")
def batch_normalization(a, x, scale, bias, mean, var):
    if a.get("training_mode", 0):             # by the input's own statistics; the running ones are not given out
        return F.batch_norm(x, None, None, scale, bias, True, 0.0, a.get("epsilon", 1e-5))
    return F.batch_norm(x, mean, var, scale, bias, False, 0.0, a.get("epsilon", 1e-5))


@op("InstanceNormalization")
def instance_normalization(a, x, scale, bias):
    return F.instance_norm(x, None, None, scale, bias, True, 0.0, a.get("epsilon", 1e-5))


@op("LayerNormalization")
def layer_normalization(a, x, scale, bias=None):
    shape = list(x.shape[a.get("axis", -1) % x.dim():])
    bias = None if bias is None else bias.expand(shape)
    return F.layer_norm(x, shape, scale.expand(shape), bias, a.get("epsilon", 1e-5))


@op("LRN")
def local_response_normalization(a, x):
    size = a.get("size")
    low = (size - 1) // 2
    square = (x * x).transpose(1, -1)         # the channel axis last, where pad works
    square = F.pad(square, [low, size - 1 - low]).unfold(-1, size, 1).sum(-1)
    square = square.transpose(1, -1)
    factor = a.get("alpha", 1e-4) / size
    return x / (a.get("bias", 1.0) + factor * square) ** a.get("beta", 0.75)


@op("LSTM")
def lstm(a, x, w, r, b=None, lengths=None, h=None, cell=None, peepholes=None):
    if lengths is not None or peepholes is not None or a.get("layout", 0):
        raise NotImplementedError("LSTM with lengths, peepholes or the batch first")
    steps, batch, _ = x.shape
    directions, _, hidden = r.shape
    b = x.new_zeros(directions, 8 * hidden) if b is None else b
    outputs, last, last_cells = [], [], []
    for d in range(directions):
        backwards = d == 1 or a.get("direction", "forward") == "reverse"
        h_t = x.new_zeros(batch, hidden) if h is None else h[d].expand(batch, hidden)
        c_t = x.new_zeros(batch, hidden) if cell is None else cell[d].expand(batch, hidden)
        out = [None] * steps
        for t in reversed(range(steps)) if backwards else range(steps):
            gates = x[t] @ w[d].T + h_t @ r[d].T + b[d, :4 * hidden] + b[d, 4 * hidden:]
            i, o, f, c = gates.chunk(4, 1)
            c_t = torch.sigmoid(f) * c_t + torch.sigmoid(i) * torch.tanh(c)
            out[t] = h_t = torch.sigmoid(o) * torch.tanh(c_t)
        outputs.append(torch.stack(out))
        last.append(h_t)
        last_cells.append(c_t)
    return torch.stack(outputs, 1), torch.stack(last), torch.stack(last_cells)


# --- elementwise ---------------------------------------------------------------------------

UNARY = {
    "Relu": torch.relu, "Sigmoid": torch.sigmoid, "Tanh": torch.tanh, "Erf": torch.erf,
    "Exp": torch.exp, "Log": torch.log, "Sqrt": torch.sqrt, "Abs": torch.abs,
    "Neg": torch.neg, "Reciprocal": torch.reciprocal, "Floor": torch.floor,
    "Ceil": torch.ceil, "Round": torch.round, "Sign": torch.sign, "Sin": torch.sin,
    "Cos": torch.cos, "Softplus": F.softplus, "Softsign": F.softsign, "Mish": F.mish,
    "Not": torch.logical_not, "Identity": lambda x: x,
}
for _name, _function in UNARY.items():
    OPERATORS[_name] = lambda a, x, f=_function: f(x)

BINARY = {
    "Add": torch.add, "Sub": torch.sub, "Mul": torch.mul, "Equal": torch.eq,
    "Greater": torch.gt, "GreaterOrEqual": torch.ge, "Less": torch.lt,
    "LessOrEqual": torch.le, "And": torch.logical_and, "Or": torch.logical_or,
    "Xor": torch.logical_xor,
}
for _name, _function in BINARY.items():
    OPERATORS[_name] = lambda a, x, y, f=_function: f(x, y)


@op("Div")
def div(a, x, y):
    # ONNX divides integers like C: rounded towards zero.
    return x / y if x.is_floating_point() else torch.div(x, y, rounding_mode="trunc")


@op("Mod")
def mod(a, x, y):
    return torch.fmod(x, y) if a.get("fmod", 0) else torch.remainder(x, y)


@op("Pow")
def power(a, x, y):
    # A constant exponent as a Python number: then a negative base has a gradient too.
    exponent = y.item() if y.numel() == 1 else y
    result = torch.pow(x, exponent)
    if y.numel() == 1:
        result = result.expand(torch.broadcast_shapes(x.shape, y.shape))
    return result.to(x.dtype)


@op("Sum", "Mean", "Max", "Min")
def variadic(a, *inputs):
    combine = {"Max": torch.maximum, "Min": torch.minimum}.get(a.kind, torch.add)
    result = inputs[0]
    for value in inputs[1:]:
        result = combine(result, value)
    return result / len(inputs) if a.kind == "Mean" else result


@op("Clip")
def clip(a, x, low=None, high=None):
    # Bounds are attributes before opset 11 and inputs since.
    low = a.get("min") if low is None else low.item()
    high = a.get("max") if high is None else high.item()
    if low is None and high is None:
        return x
    return torch.clamp(x, min=low, max=high)


@op("LeakyRelu")
def leaky_relu(a, x):
    return F.leaky_relu(x, a.get("alpha", 0.01))


@op("PRelu")
def prelu(a, x, slope):
    return torch.where(x < 0, slope * x, x)


@op("Elu")
def elu(a, x):
    return F.elu(x, a.get("alpha", 1.0))


@op("Selu")
def selu(a, x):
    alpha, gamma = a.get("alpha", 1.6732632423543772), a.get("gamma", 1.0507009873554805)
    return gamma * F.elu(x, alpha)


@op("HardSigmoid")
def hard_sigmoid(a, x):
    return torch.clamp(a.get("alpha", 0.2) * x + a.get("beta", 0.5), 0.0, 1.0)


@op("HardSwish")
def hard_swish(a, x):
    return x * torch.clamp(x / 6.0 + 0.5, 0.0, 1.0)


@op("Gelu")
def gelu(a, x):
    return F.gelu(x, approximate=a.get("approximate", "none"))


@op("Softmax", "LogSoftmax")
def softmax(a, x):
    function = F.softmax if a.kind == "Softmax" else F.log_softmax
    if a.opset >= 13:
        return function(x, dim=a.get("axis", -1))
    # Before opset 13 all axes from `axis` on are taken together.
    axis = a.get("axis", 1) % x.dim()
    return function(x.flatten(axis), dim=-1).reshape(x.shape)


@op("Dropout")
def dropout(a, x, ratio=None, training=None):
    drops = a.get("ratio", 0.5) if ratio is None else ratio.item()
    if training is not None and training.item() and drops > 0:  # Swin's exports train with a ratio of 0
        raise NotImplementedError("Dropout in training mode")
    return x, torch.ones_like(x, dtype=torch.bool)


@op("Where")
def where(a, condition, x, y):
    return torch.where(condition, x, y)


@op("Cast")
def cast(a, x):
    if a.get("to") == onnx.TensorProto.STRING:
        raise NotImplementedError("Cast to strings")
    kind = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(a.get("to"))
                    if hasattr(onnx.helper, "tensor_dtype_to_np_dtype")
                    else onnx.mapping.TENSOR_TYPE_TO_NP_TYPE[a.get("to")])
    if kind.kind == "f":
        return x.to(a.real)
    if kind.kind == "b":
        return x != 0
    return x.to({"i1": torch.int8, "u1": torch.uint8, "i2": torch.int16,
                 "i4": torch.int32}.get(kind.kind + str(kind.itemsize), torch.int64))


# --- linear algebra ------------------------------------------------------------------------

@op("MatMul")
def matmul(a, x, y):
    return torch.matmul(x, y)


@op("Gemm")
def gemm(a, x, y, c=None):
    x = x.t() if a.get("transA", 0) else x
    y = y.t() if a.get("transB", 0) else y
    result = a.get("alpha", 1.0) * torch.matmul(x, y)
    return result if c is None else result + a.get("beta", 1.0) * c


@op("Einsum")
def einsum(a, *inputs):
    return torch.einsum(a.get("equation"), *inputs)


# --- reductions ----------------------------------------------------------------------------

@op("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1",
    "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp")
def reduce(a, x, axes=None):
    # Axes are an attribute in older opsets and an input in newer ones.
    axes = a.get("axes") if axes is None else whole(axes)
    if not axes:
        if a.get("noop_with_empty_axes", 0):
            return x
        axes = range(x.dim())
    axes = sorted(v % x.dim() for v in axes)
    keep = bool(a.get("keepdims", 1))
    if a.kind == "ReduceMean":
        return x.mean(dim=axes, keepdim=keep)
    if a.kind in ("ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare"):
        y = {"ReduceSum": x, "ReduceL1": x.abs()}.get(a.kind, None)
        y = (x * x if y is None else y).sum(dim=axes, keepdim=keep)
        return y.sqrt() if a.kind == "ReduceL2" else y
    if a.kind == "ReduceLogSumExp":
        return torch.logsumexp(x, dim=axes, keepdim=keep)
    for axis in reversed(axes):               # one axis at a time, from the last
        if a.kind == "ReduceProd":
            x = x.prod(dim=axis, keepdim=keep)
        else:
            x = (x.max if a.kind == "ReduceMax" else x.min)(dim=axis, keepdim=keep).values
    return x


@op("ArgMax", "ArgMin")
def arg_extreme(a, x):
    if a.get("select_last_index", 0):
        raise NotImplementedError("the last of equal values")
    function = torch.argmax if a.kind == "ArgMax" else torch.argmin
    return function(x, dim=a.get("axis", 0), keepdim=bool(a.get("keepdims", 1)))


# --- shapes, indexing ----------------------------------------------------------------------

@op("Shape")
def shape(a, x):
    sizes = list(x.shape)
    return torch.tensor(sizes[slice(a.get("start", 0), a.get("end", None))],
                        dtype=torch.int64)


@op("Size")
def size_of(a, x):
    return torch.tensor(x.numel(), dtype=torch.int64)


@op("Constant")
def constant(a):
    if "value" in a.values:
        return a.tensor(a.values["value"])
    for name in ("value_float", "value_floats"):
        if name in a.values:
            return torch.tensor(a.values[name], dtype=a.real)
    for name in ("value_int", "value_ints"):
        if name in a.values:
            return torch.tensor(a.values[name], dtype=torch.int64)
    raise NotImplementedError("Constant of kind " + ", ".join(a.values))


@op("ConstantOfShape")
def constant_of_shape(a, sizes):
    value = a.tensor(a.values["value"]) if "value" in a.values else torch.zeros(1, dtype=a.real)
    return value.reshape(()).expand(whole(sizes)).clone()


@op("Range")
def arange(a, start, limit, delta):
    return torch.arange(start.item(), limit.item(), delta.item(), dtype=start.dtype)


@op("Flatten")
def flatten(a, x):
    axis = a.get("axis", 1)
    axis = axis + x.dim() if axis < 0 else axis
    rows = int(np.prod(x.shape[:axis], dtype=np.int64))
    return x.reshape(rows, -1)


@op("Reshape")
def reshape(a, x, target=None):
    sizes = whole(target) if target is not None else list(a.get("shape"))
    if not a.get("allowzero", 0):
        sizes = [x.shape[i] if s == 0 else s for i, s in enumerate(sizes)]
    return x.reshape(sizes)


@op("Transpose")
def transpose(a, x):
    return x.permute(list(a.get("perm", list(range(x.dim()))[::-1])))


@op("Squeeze")
def squeeze(a, x, axes=None):
    axes = a.get("axes") if axes is None else whole(axes)
    if axes is None:
        axes = [i for i, s in enumerate(x.shape) if s == 1]
    axes = {v % x.dim() for v in axes}
    if any(x.shape[i] != 1 for i in axes):
        raise ValueError(f"Squeeze of axes {sorted(axes)} of shape {tuple(x.shape)}")
    return x.reshape([s for i, s in enumerate(x.shape) if i not in axes])


@op("Unsqueeze")
def unsqueeze(a, x, axes=None):
    axes = list(a.get("axes")) if axes is None else whole(axes)
    rank = x.dim() + len(axes)
    for axis in sorted(v % rank for v in axes):
        x = x.unsqueeze(axis)
    return x


@op("Concat")
def concat(a, *inputs):
    return torch.cat(inputs, dim=a.get("axis"))


@op("Split")
def split(a, x, sizes=None):
    axis = a.get("axis", 0)
    sizes = a.get("split") if sizes is None else whole(sizes)
    if sizes is None:
        step = -(-x.shape[axis] // a.count)
        sizes = [min(step, x.shape[axis] - step * i) for i in range(a.count)]
    return tuple(torch.split(x, list(sizes), dim=axis))


@op("Slice")
def slice_(a, x, starts=None, ends=None, axes=None, steps=None):
    if starts is None:                        # before opset 10
        starts, ends, axes = a.get("starts"), a.get("ends"), a.get("axes")
    else:
        starts, ends = whole(starts), whole(ends)
        axes = None if axes is None else whole(axes)
    steps = [1] * len(starts) if steps is None else whole(steps)
    axes = range(len(starts)) if axes is None else axes
    for start, end, axis, step in zip(starts, ends, axes, steps):
        # Python clamps slices as ONNX does; an index list also serves negative steps.
        picked = range(*slice(start, end, step).indices(x.shape[axis]))
        x = x.index_select(axis, torch.tensor(list(picked), dtype=torch.int64))
    return x


@op("Gather")
def gather(a, x, indices):
    axis = a.get("axis", 0) % x.dim()
    flat = indices.reshape(-1).to(torch.int64)
    flat = torch.where(flat < 0, flat + x.shape[axis], flat)
    sizes = list(x.shape[:axis]) + list(indices.shape) + list(x.shape[axis + 1:])
    return x.index_select(axis, flat).reshape(sizes)


@op("GatherElements")
def gather_elements(a, x, indices):
    axis = a.get("axis", 0) % x.dim()
    return x.gather(axis, torch.where(indices < 0, indices + x.shape[axis], indices))


@op("ScatterND")
def scatter_nd(a, x, indices, updates):
    if a.get("reduction", "none") != "none":
        raise NotImplementedError("ScatterND with a reduction")
    return x.index_put(tuple(indices.unbind(-1)), updates)


@op("Expand")
def expand(a, x, sizes):
    return x.expand(torch.broadcast_shapes(x.shape, whole(sizes)))


@op("Tile")
def tile(a, x, repeats):
    return x.repeat(whole(repeats))


@op("DepthToSpace")
def depth_to_space(a, x):
    n, c, h, w = x.shape
    b = a.get("blocksize")
    if a.get("mode", "DCR") == "CRD":
        return F.pixel_shuffle(x, b)
    x = x.reshape(n, b, b, c // (b * b), h, w).permute(0, 3, 4, 1, 5, 2)
    return x.reshape(n, c // (b * b), h * b, w * b)


@op("Pad")
def pad(a, x, pads=None, value=None, axes=None):
    pads = list(a.get("pads")) if pads is None else whole(pads)
    axes = list(range(x.dim())) if axes is None else [v % x.dim() for v in whole(axes)]
    fill = a.get("value", 0.0) if value is None else value.item()
    before, after = [0] * x.dim(), [0] * x.dim()
    for i, axis in enumerate(axes):
        before[axis], after[axis] = pads[i], pads[i + len(axes)]
    mode = a.get("mode", "constant")
    if mode == "constant":
        return pad_last_axes(x, before, after, fill)
    for axis, (low, high) in enumerate(zip(before, after)):
        n = x.shape[axis]
        at = torch.arange(-low, n + high)
        if mode == "edge":
            at = at.clamp(0, n - 1)
        elif mode == "wrap":
            at = at % n
        elif mode == "reflect":
            at = at % max(2 * n - 2, 1)
            at = torch.where(at >= n, 2 * n - 2 - at, at)
        else:
            raise NotImplementedError(f"Pad of mode {mode}")
        x = x.index_select(axis, at)
    return x


# --- the interpreter -----------------------------------------------------------------------

class Model:
    """An ONNX graph that can be run; `real` is torch.float32 or torch.float64."""

    def __init__(self, path, real=torch.float32):
        try:
            proto = onnx.load(path)
        except OSError:
            raise
        except Exception as error:            # the kind depends on the protobuf in use
            raise ValueError(f"{path} is not an ONNX file: {error}") from None
        self.real = real
        self.opset = max([o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")]
                         or [1])
        self.nodes = list(proto.graph.node)
        unknown = sorted({n.op_type if n.domain in ("", "ai.onnx") else n.domain + "." + n.op_type
                          for n in self.nodes
                          if n.op_type not in OPERATORS or n.domain not in ("", "ai.onnx")})
        if unknown:
            raise NotImplementedError("operators not known here: " + ", ".join(unknown))
        self.weights = {t.name: to_torch(numpy_helper.to_array(t), real)
                        for t in proto.graph.initializer}
        # Old models list the initializers among the inputs.
        self.inputs = {v.name: v.type.tensor_type for v in proto.graph.input
                       if v.name not in self.weights}
        self.outputs = [v.name for v in proto.graph.output]

    def place(self, name, array):
        """An array as the value of an input, in the input's kind of number."""
        kind = self.inputs[name].elem_type
        real_kinds = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE,
                      onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
        if kind in real_kinds:
            array = array.astype(np.float64)
        dims = self.inputs[name].shape.dim
        fits = len(dims) == array.ndim and all(
            d.WhichOneof("value") != "dim_value" or d.dim_value <= 0 or d.dim_value == s
            for d, s in zip(dims, array.shape))
        if len(dims) and not fits:
            wanted = "x".join(d.dim_param or str(d.dim_value) for d in dims)
            found = "x".join(map(str, array.shape))
            raise ValueError(f"input {name} is {wanted}, the array is {found}")
        return to_torch(array, self.real)

    def run(self, inputs, watch=(), decide=None):
        """All values of the graph by name; gradients are kept for the names in `watch`.

        decide(node, attributes, arguments), where given, may return a node's result in the
        place of its operator's function, or None to leave it to that.
        """
        values = dict(self.weights)
        values.update(inputs)
        for node in self.nodes:
            for name in node.input:
                if name and name not in values:
                    raise ValueError(f"{node.op_type} {node.name}: no value called {name}")
            attributes = Attributes(node, self.opset, self.real)
            arguments = [values[name] if name else None for name in node.input]
            try:
                results = decide(node, attributes, arguments) if decide else None
                if results is None:
                    results = OPERATORS[node.op_type](attributes, *arguments)
            except Exception as error:
                raise RuntimeError(f"{node.op_type} {node.name}: {error}") from error
            if not isinstance(results, tuple):
                results = (results,)
            for name, result in zip(node.output, results):
                values[name] = result
                if name in watch and result.requires_grad:
                    result.retain_grad()
        return values


def read_inputs(model, given):
    """The --input arguments as {name: leaf tensor}; unnamed ones fill the inputs in order."""
    found, unnamed = {}, []
    for text in given:
        name, equals, path = text.partition("=")
        if equals and name in model.inputs:
            found[name] = path
        else:
            unnamed.append(text)
    free = [name for name in model.inputs if name not in found]
    if len(unnamed) != len(free):
        raise ValueError(f"the model's inputs are {', '.join(model.inputs)}: "
                         f"{len(unnamed)} files for the {len(free)} left")
    found.update(zip(free, unnamed))
    tensors = {}
    for name, path in found.items():
        tensor = model.place(name, np.load(path))
        tensors[name] = tensor.requires_grad_() if tensor.is_floating_point() else tensor
    return tensors


def read_target(text, values):
    """The scalar that --gradient names: OUTPUT or OUTPUT:CLASS (names may have colons)."""
    if text in values:
        return values[text].sum()
    name, colon, index = text.rpartition(":")
    if not colon or name not in values:
        raise ValueError(f"no value called {name or text}")
    try:
        index = int(index)
    except ValueError:
        raise ValueError(f"{index} is not a class number") from None
    value = values[name]
    if value.dim() < 2 or not 0 <= index < value.shape[1]:
        raise ValueError(f"{name} is {'x'.join(map(str, value.shape))}: no class {index}")
    return value[:, index].sum()


def write(folder, prefix, name, tensor):
    path = os.path.join(folder, prefix + re.sub(r"[^A-Za-z0-9._-]", "_", name) + ".npy")
    array = tensor.detach().contiguous().numpy()
    np.save(path, array)
    print(f"{path}: {'x'.join(map(str, array.shape)) or 'scalar'} {array.dtype}")


def main():
    parser = argparse.ArgumentParser(
        description="Outputs of an ONNX model and gradients with respect to its inputs, "
                    "computed by torch.")
    parser.add_argument("model", help="an ONNX file")
    parser.add_argument("--input", action="append", required=True, metavar="[NAME=]FILE.npy",
                        help="the value of an input; repeat for each input of the model")
    parser.add_argument("--out", required=True, metavar="DIR",
                        help="folder for OUTPUT.npy and grad_INPUT.npy (made if missing)")
    parser.add_argument("--gradient", metavar="OUTPUT[:CLASS]",
                        help="write the inputs' gradients of sum(OUTPUT[:,CLASS]), "
                             "or of sum(OUTPUT)")
    parser.add_argument("--extra", action="append", default=[], metavar="VALUE",
                        help="also write this value from inside the graph, and its gradient")
    parser.add_argument("--double", action="store_true", help="compute in float64")
    options = parser.parse_args()

    try:
        model = Model(options.model, torch.float64 if options.double else torch.float32)
        inputs = read_inputs(model, options.input)
        with torch.set_grad_enabled(options.gradient is not None):
            values = model.run(inputs, watch=options.extra)
        for name in model.outputs + options.extra:
            if name not in values:
                raise ValueError(f"no value called {name}")
        os.makedirs(options.out, exist_ok=True)
        for name in model.outputs + options.extra:
            write(options.out, "", name, values[name])
        if options.gradient is not None:
            target = read_target(options.gradient, values)
            if not target.requires_grad:
                raise ValueError(f"{options.gradient} does not depend on any input")
            target.backward()
            for name in list(inputs) + options.extra:
                if values[name].requires_grad:
                    # A value the target does not depend on has no gradient: that is zero.
                    gradient = values[name].grad
                    write(options.out, "grad_", name,
                          torch.zeros_like(values[name]) if gradient is None else gradient)
    except (OSError, ValueError, NotImplementedError, RuntimeError) as error:
        sys.exit(f"torch_reference: {error}")


if __name__ == "__main__":
    main()
