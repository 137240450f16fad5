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

# Lines "Type number name" of the enumerations that kernels are templated on: a demangled name has "(Type)3" where the source has a word.
enumerations() {
  cat kernels/*.h kernels/*.cu kernels/common/*.cuh | sed 's:/\*[^*]*\*/::g; s://.*::' | tr '\n' ' ' | grep -o 'enum class [A-Za-z]* *[^{;]*{[^}]*}' |
    while read -r _ _ name rest; do
      rest=${rest#*\{} && rest=${rest%\}*}
      tr ',' '\n' <<<"$rest" | sed 's/^ *//; s/[ =].*$//' | grep . | awk -v name="$name" '{ print name, NR - 1, $1 }'
    done
}
enumerations >"$scratch/enumerations"

for file in kernels/*.cu; do
  "$nvcc" -std=c++20 -O3 -I. --expt-relaxed-constexpr -gencode "arch=compute_$arch,code=sm_$arch" -Xptxas -v -c "$file" -o "$scratch/object" 2>&1 |
    c++filt | sed 's/(anonymous namespace):://g' |
    awk -v file="$(basename "$file")" '
      FILENAME != "-" { word[$1, $2] = $3; next }
      # "void a::kernel<4, (a::Type)1>(a::Arguments)" -> "kernel<4, kWord>": the parameters begin at the first parenthesis outside of <>.
      function short(name,    depth, i, c, at, key) {
        sub(/^void /, "", name)
        gsub(/[A-Za-z_0-9]+::/, "", name)
        for (i = 1; i <= length(name); ++i) {
          c = substr(name, i, 1)
          if (c == "<") ++depth
          if (c == ">") --depth
          if (c == "(" && depth == 0) break
        }
        name = substr(name, 1, i - 1)
        while (match(name, /\([A-Za-z]+\)[0-9]+/)) {
          at = substr(name, RSTART, RLENGTH)
          split(substr(at, 2), key, ")")
          name = substr(name, 1, RSTART - 1) ((key[1], key[2]) in word ? word[key[1], key[2]] : key[1] " " key[2]) substr(name, RSTART + RLENGTH)
        }
        while (sub(/> >/, ">>", name)) continue
        return name
      }
      /Compiling entry function/ { split($0, part, "\047"); name = short(part[2]) }
      /bytes stack frame/ { stack = $1; spilled = $5 + $9 }
      /Used [0-9]+ registers/ {
        shared = 0
        for (i = 1; i <= NF; ++i) { if ($i == "registers,") registers = $(i - 1); if ($i ~ /^smem/) shared = $(i - 2) }
        print "| `" file "` | `" name "` | " registers " | " stack " | " spilled " | " shared " |"
      }' "$scratch/enumerations" - | sort >>"$scratch/kernels"
done
# A name that stands twice tells its kernels apart no more.
if twice=$(cut -d'|' -f2,3 "$scratch/kernels" | sort | uniq -d | head -1) && [[ -n "$twice" ]]; then
  echo "two kernels are called$twice" >&2
  exit 1
fi
spilling=$(awk -F'|' '$6 > 0' "$scratch/kernels" | wc -l)
{
  echo "# Registers of the CUDA kernels"
  echo
  echo "Made by \`tools/bench/register_report.sh $arch\`: what ptxas of $("$nvcc" --version | sed -n 's/.*release \([0-9.]*\),.*/CUDA \1/p') reports for sm_$arch."
  echo "A multiprocessor of that kind has 65536 registers for up to 2048 threads: beyond 32 a thread, fewer threads fit."
  echo "$(wc -l <"$scratch/kernels") kernels; $spilling of them spill registers to memory, and stand first."
  echo
  echo "| file | kernel | registers | stack, bytes | spilled, bytes | shared, bytes |"
  echo "|---|---|---|---|---|---|"
  awk -F'|' '$6 > 0' "$scratch/kernels"
  awk -F'|' '$6 == 0' "$scratch/kernels"
} >"$scratch/report"
mv "$scratch/report" "$out"
echo "wrote $out: $(grep -c '^| `' "$out") kernels, $spilling spill"
