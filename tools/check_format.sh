#!/usr/bin/env bash
# Fails, naming the files, when clang-format would change one of ours.
set -euo pipefail
cd "$(dirname "$0")/.."
git ls-files '*.cpp' '*.h' '*.hpp' '*.c' '*.cu' '*.cuh' | xargs clang-format --dry-run --Werror --ferror-limit=1
echo "format: clean"
