#!/usr/bin/env bash
# Runs the checks of .clang-tidy over our own sources (tests left out: GoogleTest's macros trip them).
#   tools/check_tidy.sh BUILD
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:?usage: tools/check_tidy.sh BUILD}
git ls-files 'engine/*.cpp' 'kernels/*.cpp' 'onnx_import/*.cpp' 'tools/*.cpp' |
  xargs -P "$(nproc)" -n 4 clang-tidy -p "$build" --quiet --warnings-as-errors='*' --extra-arg=-Wno-unknown-warning-option 2> >(grep -v 'warnings generated\|^Suppressed\|^Use -header' >&2)
echo "tidy: clean"
