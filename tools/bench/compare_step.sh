#!/usr/bin/env bash
# The optimisation step of the engine and of PyTorch, in turn, several rounds; prints medians and the ratio with its range.
#
#   tools/bench/compare_step.sh BUILD_DIR [ROUNDS [STEPS]]
#
# BUILD_DIR/actmatch_bench is built with -DACTMATCH_BENCH=ON. SqueezeNet 1.1 and the picture come from ACTMATCH_DATA (default:
# ../shared/data beside the source), ResNet-18 is exported with random weights. Needs python3 with torch, torchvision, onnx, numpy; PYTHON
# names another one. THREADS (default 1) sets the threads of both. PyTorch takes single-threaded 1x1 convolutions to its BLAS, so check that
# this is a good one: with the reference BLAS of a bare Debian, SqueezeNet takes three times as long. BLAS_DIR, a folder with another
# libblas.so.3, is put in front for PyTorch alone. The picture matters to the comparison of losses: where large areas are quite flat, rounding
# decides which of many equal pixels a max pool takes, and PyTorch's own gradients differ by tens of percent between float and double.
set -euo pipefail

if [ $# -lt 1 ]; then
  sed -n '2,4p' "$0" | cut -c3-
  exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
bench=$1/actmatch_bench rounds=${2:-5} steps=${3:-45}
data=${ACTMATCH_DATA:-$here/../../../shared/data}
python=${PYTHON:-python3}
export OMP_NUM_THREADS=${THREADS:-1} OPENBLAS_NUM_THREADS=${THREADS:-1}
[ -x "$bench" ] || { echo "compare_step: no $bench; build with -DACTMATCH_BENCH=ON" >&2; exit 1; }
[ -d "$data/models" ] || { echo "compare_step: no $data/models; set ACTMATCH_DATA" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

peer() { LD_LIBRARY_PATH=${BLAS_DIR:+$BLAS_DIR:}${LD_LIBRARY_PATH:-} "$python" "$here/peer_step.py" "$@" --threads "$OMP_NUM_THREADS"; }

"$python" "$here/../export/export_torchvision.py" resnet18 --weights none --out "$work/resnet18.onnx" >/dev/null
for model in "$data/models/squeezenet1.1_fp32.onnx" "$work/resnet18.onnx"; do
  name=$(basename "$model" .onnx)
  common=(--image "$data/images/n01818515_macaw.jpg" --threads "$OMP_NUM_THREADS")
  echo "== $name, $OMP_NUM_THREADS thread(s), $steps steps, $rounds rounds"
  "$bench" "$model" "${common[@]}" --recipe "$here/recipe_check.json" --steps 12 --rounds 1 --out "$work/check" >/dev/null
  peer "$model" --engine "$work/check" --recipe "$here/recipe_check.json" --check | sed -n '$p' | sed 's/^/soft masks, 12 steps: /'
  for round in $(seq "$rounds"); do
    "$bench" "$model" "${common[@]}" --recipe "$here/recipe_bench.json" --steps "$steps" --rounds 15 --out "$work/run" >/dev/null
    peer "$model" --engine "$work/run" --recipe "$here/recipe_bench.json" --check --json >"$work/$name.$round.peer"
    mv "$work/run/engine.json" "$work/$name.$round.engine"
  done
  "$python" - "$work/$name" "$rounds" <<'EOF'
import json, statistics, sys
prefix, rounds = sys.argv[1], int(sys.argv[2])
load = lambda kind: [json.load(open(f"{prefix}.{i}.{kind}")) for i in range(1, rounds + 1)]
ours, theirs = load("engine"), load("peer")
def row(what, values, digits=2):
    print(f"{what:44s} {statistics.median(values):9.{digits}f}   ({min(values):.{digits}f} - {max(values):.{digits}f})")
for clock in ("cpu", "wall"):
    key = clock + "_ms"
    row(f"engine, step, ms {clock}", [e["step"][key] for e in ours], 1)
    row(f"PyTorch {theirs[0]['torch']}, step, ms {clock}", [p["step"][key] for p in theirs], 1)
    row(f"  PyTorch / engine, {clock}", [p["step"][key] / e["step"][key] for e, p in zip(ours, theirs)])
    row(f"bare oneDNN convolutions, ms {clock}", [e["bare_convolutions"][key] for e in ours], 1)
    row(f"  step / bare convolutions, {clock}", [e["step"][key] / e["bare_convolutions"][key] for e in ours])
row("engine, memory of its programs, MiB", [e["program_mib"] for e in ours], 1)
row("engine, peak resident, MiB", [e["peak_rss_mib"] for e in ours], 1)
row("PyTorch, peak resident, MiB", [p["peak_rss_mib"] for p in theirs], 1)
print(f"{'losses of the first hard step agree':44s} {'yes' if all(p['check']['passed'] for p in theirs) else 'NO':>9s}")
print(f"{'largest difference, steps 1, 2, 3':44s} " + "  ".join(f"{max(p['check']['worst'][i] for p in theirs):.1e}" for i in range(3)))
EOF
done
