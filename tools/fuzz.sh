#!/usr/bin/env bash
# Builds the fuzz targets with clang, ASan and UBSan, and runs each for some seconds from its corpus.
#   tools/fuzz.sh [SECONDS] [SEED]      default 60 and 1: the same inputs in the same order whenever it runs; seed 0 draws a new one
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
seed=${2:-1}
cmake -S . -B build-fuzz -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ -DACTMATCH_TESTS=OFF -DACTMATCH_FUZZ=ON >/dev/null
cmake --build build-fuzz --target fuzz_importer fuzz_image
declare -A max_len=([importer]=4096 [image]=65536)
# Both at once: a fuzzer has one thread.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
declare -A running
for target in importer image; do
  mkdir "$work/$target" # new inputs go here, the kept corpus stays as it is
  build-fuzz/fuzz_$target -max_total_time="$seconds" -seed="$seed" -max_len="${max_len[$target]}" -rss_limit_mb=2500 -malloc_limit_mb=1200 -timeout=60 -entropic=0 -print_final_stats=1 "$work/$target" "tests/fuzz/corpus/$target" >"$work/$target.log" 2>&1 &
  running[$target]=$!
done
failed=0
for target in importer image; do
  lines=8
  wait "${running[$target]}" || { failed=1; lines=60; }
  echo "fuzz_$target:"
  tail -n "$lines" "$work/$target.log"
done
exit "$failed"
