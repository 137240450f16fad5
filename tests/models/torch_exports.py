"""Networks of torchvision and timm as ONNX files, by the tracing exporter and by the dynamo one."""
import inspect
import warnings

import torch

import export_torchvision  # noqa: I001
from catalogue import size_of


def has_dynamo():
    return "dynamo" in inspect.signature(torch.onnx.export).parameters


def versions(source):
    library = __import__(source)
    return f"torch {torch.__version__.split('+')[0]}, {source} {library.__version__.split('+')[0]}"


def build(case):
    """(network in eval mode, size of its picture)."""
    torch.manual_seed(0)
    if case.source == "timm":
        import timm
        net = timm.create_model(case.name, pretrained=False)
        size = net.default_cfg["input_size"][-1] if net.default_cfg.get("input_size") else 224
    else:
        size = size_of(case)
        net = export_torchvision.build_random(case.name, size)
    export_torchvision.redraw(net)
    export_torchvision.settle_statistics(net, size)
    return net.eval(), size


def export(case, path):
    """Writes the file; returns the network."""
    warnings.filterwarnings("ignore")
    net, size = build(case)
    picture = export_torchvision.random_pictures(2 if case.free_batch else 1, size)
    options = {"opset_version": case.opset, "input_names": ["input"], "output_names": ["logits"]}
    if case.exporter == "dynamo":
        if case.free_batch:
            options["dynamic_shapes"] = ({0: torch.export.Dim.DYNAMIC},)
        torch.onnx.export(net, (picture,), str(path), dynamo=True, external_data=False, verbose=False, **options)
        return net
    if case.free_batch:
        options["dynamic_axes"] = {"input": {0: "N"}, "logits": {0: "N"}}
    if has_dynamo():
        options["dynamo"] = False
    torch.onnx.export(net, picture, str(path), do_constant_folding=case.folding, **options)
    return net
