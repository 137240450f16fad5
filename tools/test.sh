#!/usr/bin/env bash
# Installs what is missing, builds everything, checks form, fuzzes for a minute, runs all tests, and builds what differs without the CUDA
# toolkit. Ends with the test runner's summary.
#   tools/test.sh                  all of it
#   tools/test.sh --quick          build and tests only
#   tools/test.sh --without-cuda   everything without the toolkit, in build-cpu, and all its tests
set -euo pipefail
cd "$(dirname "$0")/.."
mode=${1:-}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} # spinning threads make a shared machine slow

# Says how long the part before took.
lap() { echo "$1: $((SECONDS - ${since:-0})) s" && since=$SECONDS; }
configure() { cmake -S . -B "$1" -G Ninja -DCMAKE_BUILD_TYPE=Release -DACTMATCH_TESTS=ON -DACTMATCH_WERROR=ON "${@:2}" >/dev/null; }
# nproc would answer OMP_NUM_THREADS.
run_tests() { ctest --test-dir "$1" --output-on-failure -j "$(env -u OMP_NUM_THREADS nproc)"; }

tools/install_dependencies.sh build test
lap install
if [[ "$mode" == "--without-cuda" ]]; then
  configure build-cpu -DACTMATCH_BENCH=ON -DACTMATCH_CUDA=OFF
  cmake --build build-cpu
  lap build
  run_tests build-cpu
  exit
fi
# Where nothing runs them, the kernels are compiled for one architecture: what is accepted for it is for the others.
architectures=()
nvidia-smi -L >/dev/null 2>&1 || architectures=(-DACTMATCH_CUDA_ARCHITECTURES=90)
configure build -DACTMATCH_BENCH=ON "${architectures[@]}"
cmake --build build
lap build

if [[ "$mode" != "--quick" ]]; then
  tools/check_format.sh
  tools/check_tidy.sh build
  lap "format and tidy"
  tools/fuzz.sh 60
  lap fuzz
  # What machines without the toolkit get, as far as it differs: no module beside the program, which says so and does without.
  if grep -q '^CMAKE_CUDA_COMPILER:' build/CMakeCache.txt; then
    configure build-cpu -DACTMATCH_BENCH=ON -DACTMATCH_CUDA=OFF
    cmake --build build-cpu --target actmatch_tool test_backend
    build-cpu/test_backend --gtest_brief=1
    out=$(mktemp -d)
    trap 'rm -rf "$out"' EXIT
    export ACTMATCH_MODULE_PATH=$PWD/build-cpu # not what is installed
    explain() { build-cpu/actmatch explain examples/shapes96.onnx examples/images/dotted_disc.png --steps 20 --quiet --out "$out/$1" --device "$1"; }
    explain auto
    grep -q '"device": "cpu"' "$out/auto/dotted_disc/result.json"
    if explain cuda 2>"$out/message"; then echo "test.sh: a GPU was found by a build without CUDA" >&2 && exit 1; fi
    [[ $(wc -l <"$out/message") == 1 ]]
    grep 'there is no libactmatch_cuda.so' "$out/message"
    unset ACTMATCH_MODULE_PATH
    lap "without CUDA"
  fi
fi
run_tests build
