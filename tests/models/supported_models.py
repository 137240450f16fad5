#!/usr/bin/env python3
"""Exports networks with random weights, runs them through the program, and compares values and input gradients with torch in double.

    tests/models/supported_models.py build/actmatch --small                          a few small ones, in seconds
    tests/models/supported_models.py build/actmatch --write                          all that this Python can export; rewrites their rows of
                                                                                     onnx_import/SUPPORTED_MODELS.md
    tests/models/supported_models.py build/actmatch --only 'swin|vit' --exporter dynamo --keep /tmp/models
    tests/models/supported_models.py build/actmatch --files keras-*.onnx             files that are there (keras_exports.py makes some)

What can be exported depends on the Python that runs this: torch and torchvision at least (Debian: python3-torch python3-torchvision
python3-onnx); the dynamo exporter needs a newer torch with onnxscript, timm's networks need timm. Rows of other exporters stay as they are.
How the comparison is made says tools/reference/compare_with_torch.py. The exit status is 1 when a model fails, 77 without torch.
"""
import argparse
import multiprocessing
import pathlib
import re
import resource
import sys
import tempfile
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT / "tools" / "reference"), str(ROOT / "tools" / "export")]
TABLE = ROOT / "onnx_import" / "SUPPORTED_MODELS.md"
OPSETS = {"torch.onnx": [11, 13, 17], "dynamo": [18, 20]}

try:
    import torch  # noqa: F401
    import torchvision  # noqa: F401
    import onnx
except ImportError as missing:
    print(f"skipped: {missing}; install python3-torch, python3-torchvision and python3-onnx")
    sys.exit(77)

import catalogue  # noqa: E402
import compare_with_torch  # noqa: E402
import export_torchvision  # noqa: E402
import table  # noqa: E402
import tf_style  # noqa: E402
import torch_exports  # noqa: E402


def cases_here(args):
    """What this Python can export."""
    if args.small:
        opset = {"resnet18": 11, "mobilenet_v2": 13}
        cases = [catalogue.Case(n, "torchvision", "torch.onnx", opset.get(n, 17), small=True) for n in catalogue.SMALL]
        return cases + tf_style.cases()
    exporters = ["torch.onnx"] + (["dynamo"] if torch_exports.has_dynamo() else [])
    cases = catalogue.torch_cases(exporters, OPSETS) + tf_style.cases()
    try:
        import timm
        known = set(timm.list_models())
    except ImportError:
        known = set()
    cases = [c for c in cases if c.source != "timm" or c.name in known]
    cases = [c for c in cases if c.source != "torchvision" or c.name in export_torchvision.classifiers()]
    return [c for c in cases if (not args.exporter or c.exporter == args.exporter) and (not args.opset or c.opset == args.opset)
            and (not args.source or c.source == args.source) and (not args.only or re.search(args.only, c.name))]


def first_line(error):
    lines = [line for line in str(error).strip().splitlines() if line.strip()] or [type(error).__name__]
    return re.sub(r"/\S*/", "", lines[0])[:300]


def examine(actmatch, case, folder):
    """The row of a case: errors, or the reason why there are none."""
    row = table.Row(case.key(), case.source, case.exporter, case.opset)
    row.version = torch_exports.versions(case.source) if case.source != "tf-style" else f"onnx {onnx.__version__}"
    path = folder / f"{case.source}-{case.exporter}-{case.opset}-{re.sub(r'[^A-Za-z0-9]+', '_', case.key())}.onnx"
    try:
        if not path.exists():
            partial = path.with_suffix(".part")
            (tf_style if case.source == "tf-style" else torch_exports).export(case, partial)
            partial.rename(path)
    except Exception as error:  # whatever the exporter throws
        row.reason = "not exported: " + first_line(error)
        return row
    return judge(actmatch, row, path)


def examine_file(actmatch, path):
    proto = onnx.load(str(path), load_external_data=False)
    source, _, name = path.stem.rpartition("-")
    row = table.Row(name, source, proto.producer_name or "?", 0)
    row.version = source or "file"
    if proto.producer_version:
        row.exporter += " " + proto.producer_version.split(" ")[0]
    return judge(actmatch, row, path)


def judge(actmatch, row, path):
    """Runs the file and fills in the row."""
    proto = onnx.load(str(path))
    row.operators = sorted({n.op_type for n in proto.graph.node} | {n.op_type for f in proto.functions for n in f.node})
    row.opset = max(o.version for o in proto.opset_import if o.domain in ("", "ai.onnx"))
    try:
        torch.manual_seed(1)

        def picture(dims):
            if dims[1] == 3 and dims[2] == dims[3]:
                return export_torchvision.random_pictures(dims[0], dims[2]).numpy()
            return torch.randn(dims).numpy()
        row.errors = compare_with_torch.compare(actmatch, path, picture, plain=False)
        row.good = compare_with_torch.is_good(row.errors)
    except compare_with_torch.EngineError as error:
        row.reason = "engine: " + first_line(error)
    except Exception as error:
        row.reason = "reference: " + first_line(error)
        if not isinstance(error, (NotImplementedError, RuntimeError)):
            traceback.print_exc()
    return row


def apart(function, *arguments):
    """The row that the function gives, from a process of its own: its memory goes with it, and so does whatever an exporter leaves behind."""
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    process = context.Process(target=lambda: queue.put(function(*arguments)))
    process.start()
    process.join()
    return None if queue.empty() else queue.get()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("actmatch", help="the built program")
    parser.add_argument("--small", action="store_true", help="a few small networks and the handmade ones")
    parser.add_argument("--only", help="a regular expression on the networks' names")
    parser.add_argument("--exporter", choices=["torch.onnx", "dynamo", "onnx.helper"])
    parser.add_argument("--source", choices=["torchvision", "timm", "tf-style"])
    parser.add_argument("--opset", type=int)
    parser.add_argument("--files", nargs="+", type=pathlib.Path, default=[], help="compare these files, named SOURCE-NETWORK.onnx, instead")
    parser.add_argument("--keep", help="a folder for the ONNX files, which are used again when they are there")
    parser.add_argument("--write", action="store_true", help="put the rows into onnx_import/SUPPORTED_MODELS.md")
    args = parser.parse_args()
    failed = done = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(args.keep or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        jobs = [(examine_file, args.actmatch, file) for file in args.files] or [(examine, args.actmatch, c, folder) for c in cases_here(args)]
        for job in jobs:
            start = time.time()
            row = apart(*job)
            if row is None:
                sys.exit(f"the comparison of {job[2]} died")
            if args.keep is None:
                for file in pathlib.Path(temporary).iterdir():
                    file.unlink()
            print(row.text() + f" {time.time() - start:.0f} s", flush=True)
            done += 1
            failed += not row.good and not row.reason.startswith("not exported")
            if args.write:
                table.put(TABLE, row)
    print(f"{done} models, {failed} failed; at most {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10} MiB")
    sys.exit(1 if failed or not done else 0)


if __name__ == "__main__":
    main()
