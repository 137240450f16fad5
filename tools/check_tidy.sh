#!/usr/bin/env bash
# Runs the checks of .clang-tidy over our own sources. Left out: tests (GoogleTest's macros trip them) and the importer's operators (each one
# drags protobuf's headers through the checker, which triples the time).
#   tools/check_tidy.sh BUILD
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:?usage: tools/check_tidy.sh BUILD}
# Some files are built for the emulator too, with an option that clang does not know; each file is looked at as the first target has it.
database=$(mktemp -d)
trap 'rm -rf "$database"' EXIT
sed 's/ -fsanitize-sections=[a-z_]*//' "$build/compile_commands.json" | awk '
  /^{/ { entry = "" }
  /^{/ || /^  "/ { entry = entry $0 "\n" }
  /^  "file"/ { file = $0 }
  /^}/ { if (!(file in seen)) { printf "%s%s}", count++ ? ",\n" : "[\n", entry; seen[file] = 1 } }
  END { print "\n]" }' >"$database/compile_commands.json"
# What this build leaves out (cuDNN's part where there is no cuDNN) has no headers to be checked with.
git ls-files 'engine/*.cpp' 'kernels/*.cpp' 'onnx_import/*.cpp' 'tools/actmatch/*.cpp' | grep -v '^onnx_import/ops/' |
  while read -r file; do if grep -qF "/$file\"" "$build/compile_commands.json"; then echo "$file"; fi; done |
  xargs -P "$(env -u OMP_NUM_THREADS nproc)" -n 4 clang-tidy -p "$database" --quiet --warnings-as-errors='*' --extra-arg=-Wno-unknown-warning-option 2> >(grep -v 'warnings generated\|^Suppressed\|^Use -header' >&2)
echo "tidy: clean"
