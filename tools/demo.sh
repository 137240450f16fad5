#!/usr/bin/env bash
# The main job in one command: installs what is missing, builds, explains a few pictures with the classifier that ships with the sources,
# prints the table and says where the page lies.
#   tools/demo.sh [OUT]      OUT: folder for the results, default out/demo
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-out/demo}

tools/install_dependencies.sh build
cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=Release -DACTMATCH_TESTS=OFF >/dev/null
cmake --build build --target actmatch_tool

# One thread: the net is so small that a second one costs more in waiting than it brings.
build/actmatch explain examples/shapes96.onnx examples/images --out "$out" --threads 1
echo
echo "The page with the pictures: $(realpath "$out")/index.html"
