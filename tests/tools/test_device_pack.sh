#!/usr/bin/env bash
# tools/device_check.sh pack, of the real build: what is in the package, and that it runs from there as far as a machine without a GPU goes.
#   test_device_pack.sh SOURCE_DIR BUILD_DIR
set -euo pipefail
source=$1 build=$2
export ACTMATCH_DATA=${ACTMATCH_DATA:-$source/../shared/data}
if [[ ! -f "$ACTMATCH_DATA/models/squeezenet1.1_fp32.onnx" ]]; then
  echo "skipped: no $ACTMATCH_DATA/models/squeezenet1.1_fp32.onnx"
  exit 77
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
die() {
  echo "FAILED: $*"
  exit 1
}
pack() { bash "$source/tools/device_check.sh" pack "$@" >"$scratch/said" 2>&1; }

pack "$scratch/package" "$build" || die "pack: $(cat "$scratch/said")"
(($(du -sb "$scratch/package" | cut -f1) <= 60 * 1024 * 1024)) || die "more than 60 MiB"
grep -q 'the other machine must have: libcublasLt.so.[0-9]* libcudnn.so.9' "$scratch/said" || die "what the machine must have: $(cat "$scratch/said")"
for program in actmatch actmatch_bench bench_kernels test_gpu test_ops_gpu libactmatch_cuda.so; do
  [[ -s "$scratch/package/bin/$program.gz" ]] || die "no $program"
done
cd "$scratch"
OUT=$scratch/out STAGES="description peers" PYTHON=/nonexistent/python3 "$scratch/package/device_check.sh" run >"$scratch/table" 2>&1 || die "run: $(cat "$scratch/table")"
grep -qE '^programs +ok .*programs find their libraries' "$scratch/table" || die "programs: $(cat "$scratch/table")"
grep -qE '^device +(ok|skipped) ' "$scratch/table" || die "device: $(cat "$scratch/table")"
grep -qE '^models +ok ' "$scratch/table" || die "models: $(cat "$scratch/table")"

mkdir "$scratch/other" && touch "$scratch/other/mine"
if pack "$scratch/other" "$build"; then die "wrote into somebody's folder"; fi
grep -q 'not empty' "$scratch/said" && [[ -e "$scratch/other/mine" ]] || die "somebody's folder: $(cat "$scratch/said")"
if ACTMATCH_DATA=$scratch/nothing pack "$scratch/none" "$build"; then die "packed without the network"; fi
grep -q 'set ACTMATCH_DATA' "$scratch/said" || die "no network: $(cat "$scratch/said")"
echo "device_pack: all as expected"
