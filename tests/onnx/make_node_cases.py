#!/usr/bin/env python3
"""Writes the node cases of an installed onnx package in the form of Debian's libonnx-testdata, one folder a case:

    python3 -m venv venv && venv/bin/pip install onnx
    venv/bin/python tests/onnx/make_node_cases.py build/node_cases
    ACTMATCH_NODE_CASES=build/node_cases build/test_onnx --gtest_filter='NodeCases*'
"""
import argparse
import pathlib
import warnings

import onnx
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases


def to_proto(value, info):
    if isinstance(value, onnx.TensorProto):
        return value
    kind = info.type.WhichOneof("value")
    if kind == "sequence_type":
        return numpy_helper.from_list(value, info.name)
    if kind == "optional_type":
        return numpy_helper.from_optional(value, info.name)
    return numpy_helper.from_array(value, info.name)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path)
    out = parser.parse_args().out
    warnings.simplefilter("ignore")  # some cases overflow on purpose
    count = 0
    for case in collect_testcases(None):
        folder = out / case.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.onnx").write_bytes(case.model.SerializeToString())
        graph = case.model.graph
        for i, (inputs, outputs) in enumerate(case.data_sets):
            data = folder / f"test_data_set_{i}"
            data.mkdir(exist_ok=True)
            for kind, values, infos in (("input", inputs, graph.input), ("output", outputs, graph.output)):
                for j, (value, info) in enumerate(zip(values, infos)):
                    (data / f"{kind}_{j}.pb").write_bytes(to_proto(value, info).SerializeToString())
        count += 1
    print(f"{count} cases of onnx {onnx.__version__} in {out}")


if __name__ == "__main__":
    main()
