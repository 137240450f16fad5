#!/usr/bin/env bash
# Installs what is missing, builds everything, checks form, fuzzes for a minute, runs all tests. Ends with the test runner's summary.
#   tools/test.sh            all of it
#   tools/test.sh --quick    build and tests only
set -euo pipefail
cd "$(dirname "$0")/.."
quick=0
[[ "${1:-}" == "--quick" ]] && quick=1
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} # spinning threads make a shared machine slow

# Says how long the part before took.
lap() { echo "$1: $((SECONDS - ${since:-0})) s" && since=$SECONDS; }

tools/install_dependencies.sh build test
lap install
# Where nothing runs them, the kernels are compiled for one architecture: what is accepted for it is for the others.
architectures=()
nvidia-smi -L >/dev/null 2>&1 || architectures=(-DACTMATCH_CUDA_ARCHITECTURES=90)
cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=Release -DACTMATCH_TESTS=ON -DACTMATCH_BENCH=ON -DACTMATCH_WERROR=ON "${architectures[@]}" >/dev/null
cmake --build build
lap build

if ((!quick)); then
  tools/check_format.sh
  tools/check_tidy.sh build
  lap "format and tidy"
  tools/fuzz.sh 60
  lap fuzz
fi
# nproc would answer OMP_NUM_THREADS.
ctest --test-dir build --output-on-failure -j "$(env -u OMP_NUM_THREADS nproc)"
