"""The table of onnx_import/SUPPORTED_MODELS.md: read, one row replaced, written."""
import dataclasses

INTRODUCTION = """# Models

Written by `tests/models/supported_models.py --write`, which exports each network with random weights, runs it through `actmatch run --gradient` and
compares with torch in double precision. Errors are relative L2 norms over the batch; `gradient` is that of one class with respect to the picture,
torch taking the engine's own decisions at kinks; `flips` counts the decisions that double would take otherwise, `margin` is how far the worst of
them was from its kink (see `tools/reference/compare_with_torch.py`). Bounds: value and gradient 1e-4, margin 1e-3.

To write it anew, with Debian's torch and then with newer ones from PyPI (torch, torchvision, timm, onnxscript):

    python3 tests/models/supported_models.py build/actmatch --write
    VENV/bin/python tests/models/supported_models.py build/actmatch --write
"""
HEAD = "| network | from | exporter | opset | value | gradient | flips | margin | operators |"
RULE = "|---|---|---|---|---|---|---|---|---|"


@dataclasses.dataclass
class Row:
    name: str
    source: str
    exporter: str
    opset: int
    version: str = ""
    operators: list = dataclasses.field(default_factory=list)
    errors: dict = None
    good: bool = False
    reason: str = ""

    def cells(self):
        source = self.version or self.source
        if self.errors is None:
            errors = [self.reason.replace("|", "/"), "", "", ""]
        else:
            e = self.errors
            errors = [f"{e['value']:.1e}", f"{e['gradient']:.1e}" + ("" if self.good else " FAILED"), f"{e['flips']} of {e['of']}",
                      f"{e['margin']:.0e}"]
        return [self.name, source, self.exporter, str(self.opset), *errors, " ".join(self.operators)]

    def text(self):
        return "| " + " | ".join(self.cells()[:-1]) + " |"

    def line(self):
        return "| " + " | ".join(self.cells()) + " |"


def identity(line):
    """What makes two rows the same: network, library, exporter with its version, opset."""
    cells = [c.strip() for c in line.strip().strip("|").split("|")]
    return tuple(cells[:4])


def read(path):
    if not path.exists():
        return []
    return [line for line in path.read_text().splitlines() if line.startswith("| ") and line != HEAD]


def put(path, row):
    lines = {identity(line): line for line in read(path)}
    lines[identity(row.line())] = row.line()
    order = sorted(lines.values(), key=lambda line: (identity(line)[1].split(",")[-1], identity(line)[0], identity(line)[1:3], int(identity(line)[3])))
    path.write_text("\n".join([INTRODUCTION, HEAD, RULE, *order]) + "\n")
