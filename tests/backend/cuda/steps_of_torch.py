"""The steps of torchvision's and timm's networks, for conv_tables.py: from the graph that torch.jit.trace records."""
import importlib
import warnings

import torch
from torch import nn

import catalogue
from conv_tables import Step

# Of these only shapes are read, which a file has as constants.
SHAPES_ONLY = {"aten::size", "aten::numel", "aten::dim", "prim::NumToTensor", "aten::Int"}
KINDS = {"aten::batch_norm": "batch_norm", "aten::add": "add", "aten::relu": "relu", "aten::dropout": "nothing",
         "aten::feature_dropout": "nothing", "aten::contiguous": "nothing", "aten::alias": "nothing"}

for _name in dir(nn.init):  # drawing weights takes most of the time
    if _name.endswith("_") and not _name.startswith("_"):
        setattr(nn.init, _name, lambda tensor, *args, **kwargs: tensor)


def versions(library):
    return " and ".join(f"{m.__name__} {m.__version__.split('+')[0]}" for m in (torch, importlib.import_module(library)))


def network(library, name):
    if library == "timm":
        import timm
        net = timm.create_model(name, pretrained=False)
        return net, net.default_cfg["input_size"][-1]
    import torchvision
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    return torchvision.models.get_model(name, weights=None, **options), catalogue.size_of(catalogue.Case(name, "torchvision", "", 0))


class Reader:
    def __init__(self, traced):
        self.traced, self.steps, self.made = traced, [], {}
        graph = traced.inlined_graph
        for value in graph.inputs():
            if isinstance(value.type(), torch.TensorType):
                self.add(value, "other", [])
        for node in graph.nodes():
            self.read(node)

    def add(self, value, kind, inputs, **settings):
        step = Step(kind, inputs, value.type().sizes() or (), **settings)
        self.made[value.debugName()] = step
        self.steps.append(step)

    def constant(self, value):
        """Numbers and lists of them; a parameter by its way through the modules."""
        node = value.node()
        if node.kind() == "prim::ListConstruct":
            return [self.constant(v) for v in node.inputs()]
        if node.kind() == "prim::GetAttr":
            owner = list(node.inputs())[0]
            module = self.traced if owner.node().kind() == "prim::Param" else self.constant(owner)
            return getattr(module, node.s("name"))
        return value.toIValue()

    def tensors(self, node):
        found = []
        for value in node.inputs():
            values = value.node().inputs() if value.node().kind() == "prim::ListConstruct" else [value]
            found += [self.made[v.debugName()] for v in values if v.debugName() in self.made]
        return found

    def read(self, node):
        kind = node.kind().rstrip("_")
        values = list(node.inputs())
        if kind in SHAPES_ONLY or kind in ("prim::Constant", "prim::GetAttr", "prim::ListConstruct"):
            return
        outputs = [v for v in node.outputs() if isinstance(v.type(), torch.TensorType)]
        inputs = self.tensors(node)
        if kind in ("aten::_convolution", "aten::_convolution_mode") and len(inputs[0].shape) == 4:
            self.convolution(node, values, outputs[0], inputs[0])
            return
        if kind == "aten::hardtanh":
            kind = "relu6" if [self.constant(v) for v in values[1:]] == [0, 6] else "other"
        elif kind in ("aten::pad", "aten::constant_pad_nd"):
            pads = self.constant(values[1])
            zeros = kind == "aten::constant_pad_nd" or self.constant(values[2]) == "constant"
            if zeros and not self.constant(values[-1]) and len(pads) == 4:
                left, right, top, bottom = pads
                if None in pads:  # computed from the size of the picture, as TensorFlow's "same" is
                    down, across = (y - x for x, y in zip(inputs[0].shape[2:], outputs[0].type().sizes()[2:]))
                    top, bottom, left, right = down // 2, down - down // 2, across // 2, across - across // 2
                self.add(outputs[0], "pad", inputs, pads=[top, left, bottom, right])
                return
            kind = "other"
        else:
            kind = KINDS.get(kind, "other")
        if kind == "add" and len(inputs) != 2:
            kind = "other"
        for value in outputs:
            self.add(value, kind, inputs)
        for value in node.outputs():  # of a list of tensors: those that are taken out of it
            if value not in outputs and value.debugName() not in self.made:
                self.add_list(value, inputs)

    def add_list(self, value, inputs):
        step = Step("other", inputs, ())
        self.made[value.debugName()] = step
        self.steps.append(step)

    def convolution(self, node, values, output, x):
        weights = values[1].type().sizes() or tuple(self.constant(values[1]).shape)
        bias = self.tensors_of(values[2]) or self.constant(values[2]) is not None
        stride, padding, dilation = (self.constant(v) for v in values[3:6])
        if node.kind() == "aten::_convolution_mode":
            groups, amounts = self.constant(values[6]), [0, 0, 0, 0]
            if padding == "same":
                room = [d * (r - 1) for d, r in zip(dilation, weights[2:])]
                amounts = [r // 2 for r in room] + [r - r // 2 for r in room]
        else:
            if self.constant(values[6]):  # transposed
                self.add(output, "other", [x])
                return
            groups, amounts = self.constant(values[8]), padding + padding
        self.add(output, "conv", [x], kernel=weights[2:], stride=stride, pads=amounts, dilation=dilation, groups=groups, bias=bool(bias))

    def tensors_of(self, value):
        return value.debugName() in self.made


def steps_of(library, name):
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        net, size = network(library, name)
        traced = torch.jit.trace(net.eval(), torch.zeros(1, 3, size, size), check_trace=False)
        return Reader(traced).steps
