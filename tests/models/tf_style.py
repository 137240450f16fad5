"""Small networks written the way converters from TensorFlow and Keras write them, node by node with onnx.helper.

Pictures come as NHWC and are transposed, pads are asymmetric (auto_pad, Pad nodes), clips take their bounds from initializers, batch norms are left
in, activations are spelt out, pictures are normalised inside, targets of Reshape are computed from shapes.
"""
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from catalogue import Case


class Net:
    """A graph under construction; methods return names of values."""

    def __init__(self, name, opset, dims, seed=0):
        self.name, self.opset, self.dims = name, opset, dims
        self.random = np.random.default_rng(seed)
        self.nodes, self.weights, self.count = [], [], 0
        self.input = "input_1:0"

    def constant(self, array, kind=np.float32):
        self.count += 1
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array, dtype=kind), f"const_{self.count}"))
        return self.weights[-1].name

    def node(self, op, inputs, **attributes):
        self.count += 1
        name = f"{self.name}/{op}_{self.count}"
        self.nodes.append(helper.make_node(op, inputs, [name + ":0"], name=name, **attributes))
        return name + ":0"

    def integers(self, values):
        return self.constant(values, np.int64)

    def to_nchw(self, x):
        return self.node("Transpose", [x], perm=[0, 3, 1, 2])

    def to_nhwc(self, x):
        return self.node("Transpose", [x], perm=[0, 2, 3, 1])

    def normal(self, *shape, scale=None):
        fan = np.prod(shape[1:]) if len(shape) > 1 else 1
        return self.random.normal(0, scale or np.sqrt(2 / fan), shape)

    def conv(self, x, out, into, kernel, stride=1, bias=False, **attributes):
        inputs = [x, self.constant(self.normal(out, into, kernel, kernel))] + ([self.constant(self.normal(out, scale=0.1))] if bias else [])
        return self.node("Conv", inputs, kernel_shape=[kernel] * 2, strides=[stride] * 2, **attributes)

    def depthwise(self, x, channels, kernel, stride=1, **attributes):
        """Weights as TensorFlow has them, HWC1, turned by nodes of the graph."""
        weights = self.constant(self.random.normal(0, np.sqrt(2) / kernel, (kernel, kernel, channels, 1)))
        turned = self.node("Transpose", [weights], perm=[3, 2, 0, 1])
        shaped = self.node("Reshape", [turned, self.integers([channels, 1, kernel, kernel])])
        return self.node("Conv", [x, shaped], group=channels, strides=[stride] * 2, kernel_shape=[kernel] * 2, **attributes)

    def batch_norm(self, x, channels):
        rng = self.random
        vectors = [rng.uniform(0.6, 1.4, channels), rng.normal(0, 0.2, channels), rng.normal(0, 0.3, channels), rng.uniform(0.5, 1.5, channels)]
        return self.node("BatchNormalization", [x] + [self.constant(v) for v in vectors], epsilon=1e-3)

    def relu6(self, x):
        return self.node("Clip", [x, self.constant(0.0), self.constant(6.0)])

    def hard_swish(self, x):
        """As tf2onnx spells it out."""
        gate = self.relu6(self.node("Add", [x, self.constant(3.0)]))
        return self.node("Mul", [self.node("Mul", [x, gate]), self.constant(1 / 6)])

    def swish(self, x):
        return self.node("Mul", [x, self.node("Sigmoid", [x])])

    def reduce_mean(self, x, axes, keep):
        if self.opset >= 18:
            return self.node("ReduceMean", [x, self.integers(axes)], keepdims=keep)
        return self.node("ReduceMean", [x], axes=axes, keepdims=keep)

    def squeeze(self, x, axes):
        return self.node("Squeeze", [x, self.integers(axes)]) if self.opset >= 13 else self.node("Squeeze", [x], axes=axes)

    def dense(self, x, into, out):
        product = self.node("MatMul", [x, self.constant(self.normal(out, into).T)])
        return self.node("Add", [product, self.constant(self.normal(out, scale=0.1))])

    def save(self, y, path):
        shape = ["unk__1"] + list(self.dims[1:])
        graph = helper.make_graph(self.nodes, "tf2onnx", [helper.make_tensor_value_info(self.input, TensorProto.FLOAT, shape)],
                                  [helper.make_tensor_value_info(y, TensorProto.FLOAT, ["unk__1", None])], self.weights)
        model = helper.make_model(graph, producer_name="tf2onnx", opset_imports=[helper.make_opsetid("", self.opset)])
        model.ir_version = 8
        onnx.checker.check_model(model)
        onnx.save(model, str(path))


def mobilenet_v1(opset):
    """tf2onnx: SAME by auto_pad at odd and even sizes, depthwise kernels turned in the graph, the mean over NHWC."""
    n = Net("mobilenet", opset, (1, 33, 40, 3))
    x = n.to_nchw(n.input)
    x = n.relu6(n.batch_norm(n.conv(x, 8, 3, 3, 2, auto_pad="SAME_UPPER"), 8))
    channels = 8
    for out, stride in ((16, 1), (24, 2), (24, 1), (40, 2)):
        x = n.relu6(n.batch_norm(n.depthwise(x, channels, 3, stride, auto_pad="SAME_UPPER"), channels))
        x = n.relu6(n.batch_norm(n.conv(x, out, channels, 1, auto_pad="VALID"), out))
        channels = out
    x = n.reduce_mean(n.to_nhwc(x), [1, 2], 1)
    x = n.squeeze(n.to_nhwc(n.conv(n.to_nchw(x), 12, channels, 1, bias=True)), [1, 2])
    return n, n.node("Softmax", [x], axis=-1) if opset >= 13 else n.node("Softmax", [x])


def mobilenet_v2(opset):
    """Keras: Pad nodes before convolutions of stride 2, residual sums in NHWC, batch norms after transposes."""
    n = Net("model/v2", opset, (1, 32, 32, 3))

    def pad(x, amounts):
        if opset < 11:
            return n.node("Pad", [x], pads=amounts, mode="constant", value=0.0)
        return n.node("Pad", [x, n.integers(amounts), n.constant(0.0)], mode="constant")

    def outside(x, f):  # every layer between its own transposes
        return n.to_nhwc(f(n.to_nchw(x)))

    x = pad(n.input, [0, 0, 0, 0, 0, 1, 1, 0])
    x = n.relu6(outside(x, lambda v: n.batch_norm(n.conv(v, 16, 3, 3, 2, pads=[0, 0, 0, 0]), 16)))
    channels = 16
    for out, stride in ((24, 2), (24, 1), (32, 2), (32, 1)):
        start = x
        x = n.relu6(outside(x, lambda v, c=channels: n.batch_norm(n.conv(v, 4 * c, c, 1), 4 * c)))
        if stride == 2:
            x = pad(x, [0, 0, 0, 0, 0, 1, 1, 0])
        x = n.relu6(outside(x, lambda v, c=4 * channels, s=stride: n.batch_norm(
            n.depthwise(v, c, 3, s, **({"pads": [0] * 4} if s == 2 else {"auto_pad": "SAME_UPPER"})), c)))
        x = outside(x, lambda v, c=4 * channels, o=out: n.batch_norm(n.conv(v, o, c, 1), o))
        if out == channels:
            x = n.node("Add", [start, x])
        channels = out
    return n, n.node("Softmax", [n.dense(n.reduce_mean(x, [1, 2], 0), channels, 12)])


def mobilenet_v3(opset):
    """Hard swishes and hard sigmoids, native or spelt out, squeeze-and-excitation over NHWC."""
    n = Net("v3", opset, (1, 40, 40, 3))
    x = n.node("Sub", [n.node("Mul", [n.input, n.constant(1 / 127.5)]), n.constant(1.0)])
    x = n.batch_norm(n.conv(n.to_nchw(x), 16, 3, 3, 2, auto_pad="SAME_UPPER"), 16)
    x = n.node("HardSwish", [x]) if opset >= 14 else n.hard_swish(x)
    channels = 16
    for out, stride, excite in ((16, 2, True), (24, 1, False), (24, 2, True)):
        x = n.hard_swish(n.batch_norm(n.conv(x, 3 * channels, channels, 1), 3 * channels))
        x = n.batch_norm(n.depthwise(x, 3 * channels, 5, stride, auto_pad="SAME_UPPER"), 3 * channels)
        if excite:
            s = n.reduce_mean(n.to_nhwc(x), [1, 2], 1)
            s = n.node("Relu", [n.conv(n.to_nchw(s), channels, 3 * channels, 1, bias=True)])
            s = n.conv(s, 3 * channels, channels, 1, bias=True)
            if stride == 2:
                s = n.node("HardSigmoid", [s], alpha=1 / 6, beta=0.5)
            else:
                s = n.node("Mul", [n.relu6(n.node("Add", [s, n.constant(3.0)])), n.constant(1 / 6)])
            x = n.node("Mul", [x, s])
        x = n.batch_norm(n.conv(n.hard_swish(x), out, 3 * channels, 1), out)
        channels = out
    x = n.hard_swish(n.node("GlobalAveragePool", [x]))
    x = n.node("Reshape", [x, n.integers([-1, channels])])
    return n, n.dense(x, channels, 12)


def efficientnet(opset):
    """Keras' EfficientNet: rescaling and normalisation inside, swishes, Dropout, a zero padding by SAME_LOWER for good measure."""
    n = Net("efficientnet", opset, (1, 32, 48, 3))
    x = n.node("Mul", [n.input, n.constant(1 / 255)])
    x = n.node("Div", [n.node("Sub", [x, n.constant([[[[0.485, 0.456, 0.406]]]])]), n.constant([[[[0.229, 0.224, 0.225]]]])])
    x = n.swish(n.batch_norm(n.conv(n.to_nchw(x), 16, 3, 3, 2, auto_pad="SAME_LOWER"), 16))
    channels = 16
    for out, kernel, stride in ((24, 3, 2), (24, 5, 1)):
        start = x
        x = n.swish(n.batch_norm(n.conv(x, 2 * channels, channels, 1), 2 * channels))
        x = n.swish(n.batch_norm(n.depthwise(x, 2 * channels, kernel, stride, auto_pad="SAME_UPPER"), 2 * channels))
        s = n.node("Reshape", [n.reduce_mean(n.to_nhwc(x), [1, 2], 0), n.integers([-1, 1, 1, 2 * channels])])
        s = n.swish(n.conv(n.to_nchw(s), 6, 2 * channels, 1, bias=True))
        s = n.node("Sigmoid", [n.conv(s, 2 * channels, 6, 1, bias=True)])
        x = n.batch_norm(n.conv(n.node("Mul", [s, x]), out, 2 * channels, 1), out)
        if out == channels:
            x = n.node("Add", [n.node("Dropout", [x]), start])
        channels = out
    x = n.squeeze(n.to_nhwc(n.node("GlobalAveragePool", [x])), [1, 2])
    return n, n.node("Sigmoid", [n.dense(x, channels, 12)])


def space_to_depth(opset):
    """A SpaceToDepth of NHWC by reshapes whose batch is computed from the input's shape, SAME pooling, Flatten in NHWC, LeakyRelu, an average pool."""
    n = Net("s2d", opset, (1, 32, 32, 3))
    batch = n.node("Slice", [n.node("Shape", [n.input]), n.integers([0]), n.integers([1]), n.integers([0])])
    batch = n.node("Cast", [n.node("Cast", [batch], to=TensorProto.INT32)], to=TensorProto.INT64)
    x = n.node("Reshape", [n.input, n.node("Concat", [batch, n.integers([16, 2, 16, 2, 3])], axis=0)])
    x = n.node("Transpose", [x], perm=[0, 1, 3, 2, 4, 5])
    x = n.node("Reshape", [x, n.node("Concat", [batch, n.integers([16, 16, 12])], axis=0)])
    x = n.node("LeakyRelu", [n.batch_norm(n.conv(n.to_nchw(x), 24, 12, 3, auto_pad="SAME_UPPER"), 24)], alpha=0.2)
    x = n.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")
    x = n.node("Relu", [n.batch_norm(n.node("Relu", [n.conv(x, 24, 24, 3, bias=True, auto_pad="SAME_UPPER", dilations=[2, 2])]), 24)])
    x = n.node("AveragePool", [x], kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER")
    x = n.node("Flatten", [n.to_nhwc(x)], axis=1)
    return n, n.node("Gemm", [x, n.constant(n.normal(12, 384)), n.constant(n.normal(12, scale=0.1))], transB=1)


BUILDERS = {f.__name__: f for f in (mobilenet_v1, mobilenet_v2, mobilenet_v3, efficientnet, space_to_depth)}


def cases():
    return [Case(name, "tf-style", "onnx.helper", opset) for name in BUILDERS for opset in (11, 13, 17)]


def export(case, path):
    net, output = BUILDERS[case.name](case.opset)
    net.save(output, path)
