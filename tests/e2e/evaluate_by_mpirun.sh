#!/usr/bin/env bash
# Two processes of one evaluation, as mpirun starts them: together they make each record once, and the report joins them.
#   tests/e2e/evaluate_by_mpirun.sh ACTMATCH SOURCE
set -euo pipefail
actmatch=$1 source=$2
command -v mpirun >/dev/null || { echo "skipped: there is no mpirun (openmpi-bin)" >&2; exit 77; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
fail() { echo "evaluate_by_mpirun.sh: $*" >&2; exit 1; }

# Open MPI refuses to run as root, and with more processes than cores, unless it is told that this is meant.
OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun -n 2 --oversubscribe "$actmatch" evaluate "$source/examples/shapes96.onnx" \
  --images "$source/examples/images" --methods gradcam,center,random --metrics area,necessity --threads 1 --out "$folder/run" | tee "$folder/said"
[[ $(grep -c 'records made, 0 were there already' "$folder/said") == 2 ]] || fail "each of the two parts should have made records of its own"

pictures=$(find "$source/examples/images" -name '*.png' | wc -l)
cat "$folder"/run/results.1-of-2.jsonl "$folder"/run/results.2-of-2.jsonl |
  sed -E 's/.*"image":("[^"]*").*"method":("[^"]*").*"status":("[^"]*").*/\1 \2 \3/' | sort >"$folder/records"
[[ $(wc -l <"$folder/records") == $((3 * pictures)) ]] || fail "$(wc -l <"$folder/records") records of $pictures pictures and 3 methods"
[[ -z $(uniq -d "$folder/records") ]] || fail "made twice: $(uniq -d "$folder/records")"
grep -vq '"ok"$' "$folder/records" && fail "not all went well: $(grep -v '"ok"$' "$folder/records")"

"$actmatch" report "$folder/run" | tee "$folder/report"
grep -q "^$((3 * pictures)) records of $pictures pictures" "$folder/report" || fail "the report has not joined the parts"
