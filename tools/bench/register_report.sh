#!/usr/bin/env bash
# Writes docs/measured/registers.md: registers, stack, spills and shared memory of every CUDA kernel, as ptxas reports them. Needs nvcc, no GPU.
#   tools/bench/register_report.sh [ARCH]     default 90
set -euo pipefail
cd "$(dirname "$0")/../.."
arch=${1:-90}
nvcc=$(command -v nvcc || echo "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
out=docs/measured/registers.md
{
  echo "# Registers of the CUDA kernels"
  echo
  echo "Made by \`tools/bench/register_report.sh $arch\`: what ptxas of $("$nvcc" --version | sed -n 's/.*release \([0-9.]*\),.*/CUDA \1/p') reports for sm_$arch."
  echo "A multiprocessor of that kind has 65536 registers for up to 2048 threads: beyond 32 a thread, fewer threads fit."
  echo
  echo "| file | kernel | registers | stack, bytes | spilled, bytes | shared, bytes |"
  echo "|---|---|---|---|---|---|"
} >"$scratch/report"
for file in kernels/*.cu; do
  "$nvcc" -std=c++20 -O3 -I. --expt-relaxed-constexpr -gencode "arch=compute_$arch,code=sm_$arch" -Xptxas -v -c "$file" -o "$scratch/object" 2>&1 |
    c++filt | sed 's/(anonymous namespace):://g' |
    awk -v file="$(basename "$file")" '
      /Compiling entry function/ { split($0, part, "\047"); name = part[2]; sub(/\(.*/, "", name); sub(/^void /, "", name); gsub(/[a-z_]+::/, "", name) }
      /bytes stack frame/ { stack = $1; spilled = $5 + $9 }
      /Used [0-9]+ registers/ {
        shared = 0
        for (i = 1; i <= NF; ++i) { if ($i == "registers,") registers = $(i - 1); if ($i ~ /^smem/) shared = $(i - 2) }
        print "| `" file "` | `" name "` | " registers " | " stack " | " spilled " | " shared " |"
      }' | sort >>"$scratch/report"
done
mv "$scratch/report" "$out"
echo "wrote $out: $(grep -c '^| `' "$out") kernels"
