#!/usr/bin/env python3
"""Writes the ONNX project's own operator cases for the test Conformance, from Debian's python3-onnx:

    python3 tests/onnx/make_conformance_cases.py build/onnx_cases
    ACTMATCH_ONNX_CASES=build/onnx_cases build/test_onnx --gtest_filter='Conformance*'

NAME.onnx is the case's model with the inputs as initializers; NAME.expected holds its outputs, each a length (8 bytes, little-endian) and a
TensorProto. Cases of operators that are not in SUPPORTED_OPS.md are left out.
"""
import pathlib
import re
import sys

import numpy

for name in ("float", "int", "bool", "object"):  # which the cases of older onnx packages still look for in numpy
    if name not in numpy.__dict__:
        setattr(numpy, name, getattr(__builtins__, name))

import onnx
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases

OLDEST_OPSET = 7


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    table = pathlib.Path(__file__).parents[2] / "onnx_import" / "SUPPORTED_OPS.md"
    supported = set(re.findall(r"^\| (\w+) \| \d", table.read_text(), re.M))
    try:
        cases = collect_testcases()
    except TypeError:  # newer packages want an operator
        cases = collect_testcases(None)
    written = 0
    for case in cases:
        if not all(node.op_type in supported for node in case.model.graph.node):
            continue
        for inputs, outputs in case.data_sets or []:
            if not all(isinstance(a, (numpy.ndarray, numpy.generic)) for a in [*inputs, *outputs]):
                continue
            model = onnx.ModelProto()
            model.CopyFrom(case.model)
            for opset in model.opset_import:  # operators that have not changed since are as good at the oldest opset read
                if opset.domain == "":
                    opset.version = max(opset.version, OLDEST_OPSET)
            for info, value in zip(model.graph.input, inputs):
                model.graph.initializer.append(numpy_helper.from_array(numpy.asarray(value), info.name))
            (out / f"{case.name}.onnx").write_bytes(model.SerializeToString())
            with open(out / f"{case.name}.expected", "wb") as file:
                for value in outputs:
                    data = numpy_helper.from_array(numpy.asarray(value)).SerializeToString()
                    file.write(len(data).to_bytes(8, "little") + data)
            written += 1
    print(f"{written} cases in {out}")


if __name__ == "__main__":
    main()
