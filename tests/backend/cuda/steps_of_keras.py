"""The steps of Keras' networks, for conv_tables.py: from the layers of keras.applications."""
import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras  # noqa: E402

from conv_tables import Step  # noqa: E402


def versions(_library):
    return f"keras {keras.__version__}"


def nchw(shape):
    return (1, shape[3], shape[1], shape[2]) if len(shape) == 4 else (1, *shape[1:])


def same_pads(extent, kernel, stride, dilation):
    """What "same" puts in front and behind: one more behind where the sum is odd."""
    total = max((-(-extent // stride) - 1) * stride + dilation * (kernel - 1) + 1 - extent, 0)
    return total // 2, total - total // 2


def conv_settings(layer, x):
    kernel, stride, dilation = layer.kernel_size, layer.strides, layer.dilation_rate
    pads = [0, 0, 0, 0]
    if layer.padding == "same":
        (top, bottom), (left, right) = (same_pads(*along) for along in zip(x.shape[2:], kernel, stride, dilation))
        pads = [top, left, bottom, right]
    return {"kernel": kernel, "stride": stride, "pads": pads, "dilation": dilation}


def activation_of(layer):
    name = getattr(getattr(layer, "activation", None), "__name__", "linear")
    return {"linear": None, "relu": "relu", "relu6": "relu6"}.get(name, "other")


def kind_of(layer):
    if isinstance(layer, keras.layers.ReLU):
        plain = not layer.negative_slope and not layer.threshold
        return {None: "relu", 6: "relu6"}.get(layer.max_value, "other") if plain else "other"
    if isinstance(layer, keras.layers.Activation):
        return activation_of(layer) or "nothing"
    return {"BatchNormalization": "batch_norm", "Add": "add", "Dropout": "nothing"}.get(type(layer).__name__, "other")


def steps_of(_library, name):
    size = {"InceptionV3": 299, "Xception": 299}.get(name, 224)
    net = getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3))
    made, steps = {}, []

    def add(kind, inputs, shape, **settings):
        steps.append(Step(kind, inputs, shape, **settings))
        return steps[-1]

    for operation in net.operations:
        node = operation._inbound_nodes[0]  # each layer of these networks is used once
        inputs = [made[id(tensor)] for tensor in node.input_tensors]
        shape = nchw(node.outputs[0].shape)
        if isinstance(operation, keras.layers.SeparableConv2D):
            x = inputs[0]
            settings = conv_settings(operation, x)
            channels = x.shape[1] * operation.depth_multiplier
            depthwise = add("conv", inputs, (1, channels, *shape[2:]), groups=x.shape[1], bias=False, **settings)
            step = add("conv", [depthwise], shape, kernel=(1, 1), stride=(1, 1), pads=[0] * 4, dilation=(1, 1), groups=1,
                       bias=operation.use_bias)
        elif isinstance(operation, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)):
            depthwise = isinstance(operation, keras.layers.DepthwiseConv2D)
            step = add("conv", inputs, shape, groups=inputs[0].shape[1] if depthwise else operation.groups, bias=operation.use_bias,
                       **conv_settings(operation, inputs[0]))
        elif isinstance(operation, keras.layers.ZeroPadding2D):
            (top, bottom), (left, right) = operation.padding
            step = add("pad", inputs, shape, pads=[top, left, bottom, right])
        else:
            step = add(kind_of(operation), inputs, shape)
        if step.kind == "conv" and activation_of(operation):
            step = add(activation_of(operation), [step], shape)
        made[id(node.outputs[0])] = step
    return steps
