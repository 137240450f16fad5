#!/usr/bin/env bash
# Everything that can be said about a build on a machine with a GPU, in one call that needs nothing but the folder it comes in.
#
#   tools/device_check.sh pack OUT_DIR [BUILD_DIR]   makes the folder (under 60 MiB) from a build with -DACTMATCH_BENCH=ON; default: build
#   OUT_DIR/device_check.sh run [DIR]                runs it, in under 8 minutes, and writes device_check.json; default: where this script lies
#
# What the other machine must have: an NVIDIA driver, the runtime libraries of the CUDA version of the build, cuDNN 9, glibc 2.34 and
# libstdc++ of GCC 12 or newer. Other libraries travel along. PyTorch and compute-sanitizer are used where they are; what cannot run says why.
# Results go to $OUT (default: ./device_check_out). The exit status is 1 when a test or a program failed, 2 for wrong usage.
#
# pack reads ACTMATCH_DATA (default: ../shared/data beside the source) and DEVICE_TESTS (further test programs). run reads PYTHON (default:
# python3), TOTAL_SECONDS (default: 470) and the budgets TESTS_SECONDS, MEMCHECK_SECONDS, RACECHECK_SECONDS, KERNELS_SECONDS, SPEED_SECONDS,
# PEERS_SECONDS, GROWTH_SECONDS; MEMCHECK_FILTER and RACECHECK_FILTER choose tests as --gtest_filter does, PEER_MODELS (default: resnet18; resnet50)
# what PyTorch is timed with. STAGES (default: description tests kernels speed memcheck racecheck peers; growth takes minutes more) says what to do.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

die() {
  echo "device_check: $*" >&2
  exit 1
}
usage() {
  sed -n '4,5p' "${BASH_SOURCE[0]}" | cut -c3- >&2
  exit 2
}

# ---- pack

MOST_MIB=60
PROGRAMS=(test_gpu bench_kernels actmatch actmatch_bench make_random_resnet) # what a package is pointless without
OPTIONAL=(libactmatch_cuda.so actmatch_device_json test_ops_gpu)
PRECISION_TESTS=(test_ops_gpu) # run once for each precision
# What the other machine has.
NEWEST=(GLIBC 2.34 GLIBCXX 3.4.30 CXXABI 1.3.13)
PRESENT='^(linux-vdso|ld-linux|libc|libm|libdl|librt|libpthread|libresolv|libstdc\+\+|libgcc_s|libcuda|libcudart|libnvrtc|libcudnn|libcublas)[-_a-zA-Z0-9]*\.so'

# Complains about symbols of libraries newer than the other machine's.
check_symbols() {
  local file=$1 i newest
  for ((i = 0; i < ${#NEWEST[@]}; i += 2)); do
    newest=$(objdump -T "$file" 2>/dev/null | grep -F '*UND*' | grep -oE "\b${NEWEST[i]}_[0-9.]+" | sed 's/.*_//' | sort -uV | tail -n 1 || true)
    if [[ -n "$newest" && "$(printf '%s\n%s\n' "$newest" "${NEWEST[i + 1]}" | sort -V | tail -n 1)" != "${NEWEST[i + 1]}" ]]; then
      die "$(basename "$file") needs ${NEWEST[i]}_$newest, and the other machine need not have more than ${NEWEST[i]}_${NEWEST[i + 1]}"
    fi
  done
}

# Copies the libraries that a program needs and the other machine need not have, compressed.
carry_libraries() {
  local program=$1 out=$2 name path
  while read -r name path; do
    [[ "$name" =~ $PRESENT || -e "$out/lib/$name.gz" ]] && continue
    [[ "$path" == /* ]] || die "$(basename "$program") needs $name, which is not found here"
    check_symbols "$path"
    gzip -9 -n -c "$path" >"$out/lib/$name.gz"
  done < <(ldd "$program" 2>/dev/null | awk '$2 == "=>" { print $1, ($3 == "not" ? "-" : $3) }')
}

pack() {
  local out=$1 build=${2:-$here/../build} source data program
  source=$(cd "$here/.." && pwd)
  data=${ACTMATCH_DATA:-$source/../shared/data}
  [[ -d "$build" ]] || die "there is no build folder $build"
  if [[ -e "$out" ]] && [[ -n "$(ls -A "$out")" ]]; then
    [[ -e "$out/PACKED" ]] || die "$out is not empty and was not made by this script"
    rm -rf "$out"
  fi
  mkdir -p "$out/bin" "$out/lib" "$out/data/models" "$out/data/images"
  echo unfinished >"$out/PACKED"
  local extra=()
  read -r -a extra <<<"${DEVICE_TESTS:-}"
  for program in "${PROGRAMS[@]}" "${OPTIONAL[@]}" ${extra[@]+"${extra[@]}"}; do
    local file
    file=$(find "$build" -maxdepth 3 -name "$program" -type f -print -quit)
    if [[ -z "$file" ]]; then
      [[ " ${OPTIONAL[*]} " == *" $program "* ]] && continue
      die "there is no $program in $build: build with -DACTMATCH_BENCH=ON -DACTMATCH_TESTS=ON where nvcc is found"
    fi
    check_symbols "$file"
    carry_libraries "$file" "$out"
    strip --strip-unneeded -o "$out/bin/$program" "$file"
    gzip -9 -n "$out/bin/$program"
  done
  local model=squeezenet1.1_fp32.onnx image
  [[ -f "$data/models/$model" ]] || die "there is no $data/models/$model; set ACTMATCH_DATA"
  cp "$data/models/$model" "$out/data/models/"
  for image in n01818515_macaw n02099601_golden_retriever n02391049_zebra n04285008_sports_car; do
    cp "$data/images/$image.jpg" "$out/data/images/" || die "there is no picture $image.jpg in $data/images"
  done
  [[ -f "$data/labels/imagenet1000.txt" ]] && cp "$data/labels/imagenet1000.txt" "$out/data/models/${model%.onnx}.labels.txt"
  local file
  for file in tools/bench/peer_gpu.py tools/bench/peer_ratio.py tools/bench/peer_step.py tools/bench/growth.py tools/bench/recipe_{bench,check,csae}.json \
    tools/export/torch_reference.py tests/kernels/philox_backgrounds.py; do
    mkdir -p "$out/peer/$(dirname "$file")"
    cp "$source/$file" "$out/peer/$file"
  done
  cp "$source/tools/device_check.sh" "$out/device_check.sh"
  {
    echo "commit $(git -C "$source" rev-parse HEAD 2>/dev/null || echo unknown)$(git -C "$source" diff --quiet HEAD 2>/dev/null || echo ', changed')"
    sed -n 's/^CMAKE_CUDA_COMPILER:[A-Z]*=/nvcc /p; s/^ACTMATCH_CUDA_ARCHITECTURES:[A-Z]*=/architectures /p; s/^CMAKE_BUILD_TYPE:[A-Z]*=/build /p' "$build/CMakeCache.txt"
  } >"$out/PACKED"
  local bytes
  bytes=$(du -sb "$out" | cut -f1)
  if ((bytes > MOST_MIB * 1024 * 1024)); then
    die "$out has $((bytes / 1048576)) MiB, more than $MOST_MIB; the largest: $(cd "$out" && du -ab . | sort -rn | awk '$2 ~ /\/.*\// { printf "%s %.1f MiB, ", $2, $1 / 1048576 } ++n == 8 { exit }')"
  fi
  local packed=("$out"/bin/*.gz)
  packed=("${packed[@]##*/}")
  echo "packed $out: $(awk -v b="$bytes" 'BEGIN { printf "%.1f", b / 1048576 }') MiB; ${packed[*]%.gz}"
}

# ---- run

now() { date +%s.%N; }
seconds_since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.1f", b - a }'; }
left() { awk -v a="$begun" -v b="$(now)" -v total="$total" 'BEGIN { s = int(total - (b - a)); print s < 1 ? 1 : s }'; }
at_most() { # of $1 seconds, as many as are left
  local rest
  rest=$(left)
  echo $(($1 < rest ? $1 : rest))
}
# One line without what JSON or the table would stumble over.
plain() { printf '%s' "$*" | tr '\n\t\r' '   ' | tr -d '\000-\037' | cut -c1-300; }
quoted() {
  local s
  s=$(plain "$*")
  s=${s//\\/\\\\}
  printf '"%s"' "${s//\"/\\\"}"
}

rows=()
status=0
# A line of the result: stage, status (ok, failed, partial, skipped), seconds, figure.
row() {
  local figure
  figure=$(plain "$4")
  rows+=("$1"$'\t'"$2"$'\t'"$3"$'\t'"$figure")
  printf '%-32s %-8s %8s  %s\n' "$1" "$2" "$3" "$figure"
  [[ "$2" == failed ]] && status=1
  return 0
}

# Runs a program with the libraries that travelled along; output to $work/$1.out, all of it to the log as well. The limit is $2 seconds.
packed() {
  local name=$1 limit=$2 code=0
  shift 2
  printf '\n==== %s: %s\n' "$name" "$*" >>"$out/log.txt"
  LD_LIBRARY_PATH=$libraries OMP_NUM_THREADS=${OMP_NUM_THREADS:-4} timeout -k 5 "$limit" "$@" >"$work/$name.out" 2>&1 || code=$?
  tail -c 400000 "$work/$name.out" >>"$out/log.txt"
  return "$code"
}
# The line of an output that says most about a failure.
reason() {
  grep -m 1 -iE 'error|fail|cannot|refus|not supported|no CUDA' "$work/$1.out" || tail -n 1 "$work/$1.out"
}

find_libraries() {
  libraries=$work/lib
  local base folder
  for base in "${CUDA_HOME:-}" "${CUDNN_HOME:-}" /usr/local/cuda; do
    for folder in lib64 lib; do
      if [[ -n "$base" && -d "$base/$folder" ]]; then libraries+=:$base/$folder; fi
    done
  done
  # The wheels that PyTorch brings.
  base=$("$python" -c 'import nvidia; print(list(nvidia.__path__)[0])' 2>/dev/null || true)
  if [[ -n "$base" ]]; then
    for folder in "$base"/*/lib; do
      if [[ -d "$folder" ]]; then libraries+=:$folder; fi
    done
  fi
  libraries+=:${LD_LIBRARY_PATH:-}
}

stage_programs() {
  local start lacks="" program missing file
  start=$(now)
  for file in "$dir"/{bin,lib}/*.gz; do
    if [[ -e "$file" ]]; then gzip -dc "$file" >"$work/${file#"$dir/"}.part" && mv "$work/${file#"$dir/"}.part" "$work/$(basename "$(dirname "$file")")/$(basename "$file" .gz)"; fi
  done
  chmod +x "$bin"/*
  for program in "$bin"/*; do
    missing=$(LD_LIBRARY_PATH=$libraries ldd "$program" 2>&1 | awk '/not found/ { print $1 }' | sort -u | tr '\n' ' ' || true)
    if [[ -n "$missing" ]]; then lacks+="$(basename "$program") lacks $missing"; fi
  done
  if [[ -n "$lacks" ]]; then
    row programs partial "$(seconds_since "$start")" "$lacks"
  else
    row programs ok "$(seconds_since "$start")" "$(find "$bin" -type f | wc -l) programs find their libraries"
  fi
}

# Why nothing can run on a GPU here; empty where it can.
stage_device() {
  local start code=0
  start=$(now)
  packed device 20 "$bin/bench_kernels" --filter '^advance ' --repeats 1 || code=$?
  if ((code == 2)); then
    no_device=$(sed 's/^bench_kernels: //; q' "$work/device.out")
    row device skipped "$(seconds_since "$start")" "$no_device"
    return
  fi
  local name
  name=$(head -n 1 "$work/device.out")
  if ((code != 0)); then
    row device failed "$(seconds_since "$start")" "$(reason device)"
    return
  fi
  if command -v nvidia-smi >/dev/null; then name+=", driver $(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null | head -n 1 || true)"; fi
  row device ok "$(seconds_since "$start")" "$name"
}

stage_description() {
  local start code=0
  start=$(now)
  if [[ ! -x "$bin/actmatch_device_json" ]]; then
    row description skipped 0 "this package was built without cuDNN"
  elif [[ -n "$no_device" ]]; then
    row description skipped 0 "$no_device"
  else
    packed description "$(at_most 30)" "$bin/actmatch_device_json" || code=$?
    if ((code == 0)); then
      cp "$work/description.out" "$out/device.json"
      row description ok "$(seconds_since "$start")" "device.json: the fixture for plans without a GPU"
    elif grep -q 'loading shared libraries' "$work/description.out"; then
      row description skipped "$(seconds_since "$start")" "$(reason description)"
    else
      row description failed "$(seconds_since "$start")" "$(reason description)"
    fi
  fi
}

# How many tests of a GoogleTest program ended how, from its output.
counts() {
  awk '/^\[       OK \]/ { ++ok } /^\[  SKIPPED \].* \(/ { ++skipped } /^\[  FAILED  \].* \(/ { ++failed }
    END { printf "%d passed, %d failed, %d skipped", ok, failed, skipped }' "$1"
}

# $1: what to call it. $2: seconds. The rest: the command.
test_program() {
  local name=$1 start code=0
  start=$(now)
  ACTMATCH_DATA=$dir/data packed tests "$(at_most "$2")" "${@:3}" || code=$?
  local seconds failed figure
  seconds=$(seconds_since "$start") figure=$(counts "$work/tests.out")
  failed=$(awk '/^\[  FAILED  \].* \(/ { printf " %s", $4 }' "$work/tests.out")
  if grep -q 'loading shared libraries' "$work/tests.out"; then
    row "tests $name" skipped "$seconds" "$(reason tests)"
  elif ((code == 77)); then # GoogleTest has nothing for that
    row "tests $name" skipped "$seconds" "$(tail -n 1 "$work/tests.out")"
  elif ((code == 124 || code == 137)) && [[ -z "$failed" ]]; then
    row "tests $name" partial "$seconds" "time was over: $figure"
  elif ((code != 0)); then
    row "tests $name" failed "$seconds" "$figure$failed$( ((code > 1)) && echo ", status $code")"
  else
    row "tests $name" ok "$seconds" "$figure"
  fi
}

stage_tests() {
  local program name precision begin rest
  begin=$(now)
  for program in "$bin"/test_*; do
    [[ -x "$program" ]] || continue
    name=$(basename "$program")
    local precisions=("")
    if [[ " ${PRECISION_TESTS[*]} " == *" $name "* ]]; then precisions=(fp32 bf16 tf32); fi
    for precision in "${precisions[@]}"; do
      rest=$((${TESTS_SECONDS:-110} - $(seconds_since "$begin" | cut -d. -f1)))
      if [[ -n "$no_device" ]]; then
        row "tests $name${precision:+ $precision}" skipped 0 "$no_device"
      elif ((rest < 1)); then
        row "tests $name${precision:+ $precision}" skipped 0 "the time for this stage was over"
      else
        test_program "$name${precision:+ $precision}" "$rest" env ${precision:+ACTMATCH_TEST_PRECISION="$precision"} "$program"
      fi
    done
  done
}

# $1: memcheck or racecheck. $2: seconds. $3: which tests.
stage_sanitizer() {
  local tool=$1 start code=0 sanitizer
  sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null || true)
  if [[ -n "$no_device" ]]; then
    row "$tool" skipped 0 "$no_device"
  elif [[ -z "$sanitizer" ]]; then
    row "$tool" skipped 0 "compute-sanitizer is not on PATH"
  else
    start=$(now)
    packed "$tool" "$(at_most "$2")" "$sanitizer" --tool "$tool" --error-exitcode 99 "$bin/test_gpu" --gtest_filter="$3" || code=$?
    local summary
    summary=$(grep -hE 'ERROR SUMMARY|RACECHECK SUMMARY' "$work/$tool.out" | tail -n 1 | sed 's/^=* *//' || true)
    if grep -qiE 'device not supported|unable to|failed to initialize' "$work/$tool.out"; then
      row "$tool" skipped "$(seconds_since "$start")" "compute-sanitizer: $(grep -m 1 -iE 'device not supported|unable to|failed to initialize' "$work/$tool.out")"
    elif ((code == 124 || code == 137)) && ! awk '/SUMMARY: 0 / { next } /^=+ (Invalid|Error: Race|ERROR)|^\[  FAILED  \]/ { found = 1 } END { exit !found }' "$work/$tool.out"; then
      row "$tool" partial "$(seconds_since "$start")" "time was over, nothing found so far: $(counts "$work/$tool.out")"
    elif ((code != 0)); then
      row "$tool" failed "$(seconds_since "$start")" "${summary:-$(reason "$tool")}; $(counts "$work/$tool.out")"
    else
      row "$tool" ok "$(seconds_since "$start")" "${summary:-no error}; $(counts "$work/$tool.out")"
    fi
  fi
}

stage_kernels() {
  if [[ -n "$no_device" ]]; then
    row kernels skipped 0 "$no_device"
    return
  fi
  local start code=0 budget
  start=$(now) budget=$(at_most "${KERNELS_SECONDS:-45}")
  packed kernels $((budget + 10)) "$bin/bench_kernels" --seconds "$budget" --json "$out/bench_kernels.json" || code=$?
  cp "$work/kernels.out" "$out/bench_kernels.txt"
  local figure
  # Cases that memory bounds: the median share of the copy's rate, and how many reach three quarters of it.
  figure=$(awk 'NF > 1 && $(NF - 1) == "memory" && $NF ~ /%$/ { share[++n] = $NF + 0; if ($NF + 0 >= 75) ++good }
    END { if (!n) { print "no case bound by memory"; exit }
      for (i = 1; i <= n; ++i) for (j = i + 1; j <= n; ++j) if (share[j] < share[i]) { t = share[i]; share[i] = share[j]; share[j] = t }
      printf "bound by memory: %d cases, median %d%% of the copy rate, %d at 75%% or more", n, share[int((n + 1) / 2)], good }' "$work/kernels.out")
  if ((code == 0)); then
    local outcome=ok
    if ! tail -n 1 "$work/kernels.out" | grep -q ', 0 not run'; then outcome=partial; fi
    row kernels "$outcome" "$(seconds_since "$start")" "$(tail -n 1 "$work/kernels.out"); $figure"
  else
    row kernels failed "$(seconds_since "$start")" "$(tail -n 1 "$work/kernels.out")"
  fi
}

make_models() {
  local start code=0 depth
  start=$(now)
  for depth in 18 50; do
    packed models 60 "$bin/make_random_resnet" "$depth" --out "$work/models/resnet$depth.onnx" || code=$?
  done
  if ((code == 0)); then
    row models ok "$(seconds_since "$start")" "ResNet-18 and ResNet-50 with random weights"
  else
    row models failed "$(seconds_since "$start")" "$(reason models)"
  fi
}

model_file() {
  if [[ "$1" == squeezenet ]]; then echo "$dir/data/models/squeezenet1.1_fp32.onnx"; else echo "$work/models/$1.onnx"; fi
}

no_backend() {
  if [[ -n "$no_device" ]]; then
    echo "$no_device"
  elif [[ ! -e "$bin/libactmatch_cuda.so" ]]; then
    echo "this package has no CUDA backend (libactmatch_cuda.so)"
  fi
}

# One optimisation step. $1: model, $2: pictures at once, $3: precision, $4: recipe, bench or csae.
speed_case() {
  local name="speed $1 B=$2 $3" start code=0
  [[ "$4" == bench ]] || name+=" $4"
  start=$(now)
  packed speed "$(at_most 60)" "$bin/actmatch_bench" "$(model_file "$1")" "${images[@]}" --recipe "$dir/peer/tools/bench/recipe_$4.json" \
    --device cuda --precision "$3" --batch "$2" --steps 96 --rounds 10 --runs 3 --out "$work/speed.$1.$2.$3.$4" || code=$?
  if ((code == 0)); then
    local outcome=ok # a step that could not be recorded is slower than it need be
    if grep -q '^step as .*plain calls' "$work/speed.out"; then outcome=partial; fi
    row "$name" "$outcome" "$(seconds_since "$start")" "$(awk '$1 == "step" && NF == 3 { printf "%.3f ms a step, ", $2 } /pictures x steps a second/ { printf "%s", $0 } /^device memory/ { printf ", %s MiB, %s a picture", $3, $5 } /^step as / { printf ", %s", substr($0, 9) }' "$work/speed.out")"
  elif ((code == 124 || code == 137)); then
    row "$name" failed "$(seconds_since "$start")" "not done when its time was over"
  else
    row "$name" failed "$(seconds_since "$start")" "$(reason speed)"
  fi
}

# Explanations as a user gets them, pruned and certified. $1: model, $2: pictures at once, $3: precision, $4: batches. The rest: further flags.
# The figure is the last batch's, which chooses no plans and records no step.
explain_case() {
  local model=$1 batch=$2 precision=$3 count=$(($2 * $4)) start code=0 i
  local name="explain $model B=$batch $precision"
  local photos=("$dir"/data/images/*.jpg) pictures=()
  for ((i = 0; i < count; ++i)); do
    pictures+=("$work/pictures/$(printf '%04d' "$i").jpg")
    if [[ ! -e "${pictures[i]}" ]]; then
      mkdir -p "$work/pictures"
      ln -s "${photos[i % ${#photos[@]}]}" "${pictures[i]}"
    fi
  done
  rm -rf "$work/explained"
  start=$(now)
  packed explain "$(at_most 60)" "$bin/actmatch" explain "$(model_file "$model")" "${pictures[@]}" --device cuda --precision "$precision" --batch "$batch" \
    --quiet --out "$work/explained" "${@:5}" || code=$?
  if ((code == 0)); then
    local results=()
    for ((i = count - batch; i < count; ++i)); do results+=("$work/explained/$(printf '%04d' "$i")/result.json"); done
    row "$name" ok "$(seconds_since "$start")" "$(awk '
      function of(key) { return match($0, "\"" key "\": *[0-9.e-]+") ? substr($0, RSTART + length(key) + 3, RLENGTH - length(key) - 3) + 0 : 0 }
      FNR == 1 { ++n } /"optimise"/ { optimise += of("optimise") } /"prune"/ { prune += of("prune") } /"total"/ { total += of("total") }
      /"steps":/ { steps = of("steps") } /"minimal_tile"/ { certified += of("minimal_tile") > 0 } /"batch":/ { batch = of("batch") }
      END { if (n && total > 0) printf "%d steps: %.3f s a picture (%.3f optimised, %.3f pruned), %.1f pictures a second, %d at once, %d of %d certified",
        steps, total / n, optimise / n, prune / n, n / total, batch, certified, n }' "${results[@]}")"
    # Random weights make claims too narrow to be the same on two machines; a network that knows the photo does not.
    if [[ "$model" == squeezenet ]]; then
      start=$(now) code=0
      packed verify "$(at_most 60)" "$bin/actmatch" verify "${results[-1]}" --device cpu || code=$?
      row "verify $model B=$batch $precision" "$( ((code == 0)) && echo ok || echo failed)" "$(seconds_since "$start")" "on the CPU $(awk '$NF == "yes" { ++held } $NF == "no" { ++broken } END { printf "%d claims hold, %d do not", held, broken }' "$work/verify.out")"
    fi
  elif ((code == 124 || code == 137)); then
    row "$name" failed "$(seconds_since "$start")" "not done when its time was over"
  else
    row "$name" failed "$(seconds_since "$start")" "$(reason explain)"
  fi
}

# What there are targets for comes first, the rest while the time lasts.
stage_speed() {
  local why begin budget=${SPEED_SECONDS:-120} images=() image line bench=$dir/peer/tools/bench/recipe_bench.json
  why=$(no_backend)
  if [[ -n "$why" ]]; then
    row speed skipped 0 "$why"
    return
  fi
  for image in "$dir"/data/images/*.jpg; do images+=(--image "$image"); done
  begin=$(now)
  while read -r -u 3 -a line; do
    if awk -v s="$(seconds_since "$begin")" -v b="$budget" 'BEGIN { exit !(s > b) }'; then
      row "${line[0]} ${line[1]} B=${line[2]} ${line[3]}" skipped 0 "the time for this stage was over"
    elif [[ "${line[0]}" == speed ]]; then
      speed_case "${line[@]:1}"
    elif [[ "${line[1]}" == squeezenet ]]; then # the default recipe, on a network that knows the photos
      explain_case "${line[@]:1}"
    else
      explain_case "${line[@]:1}" --recipe "$bench"
    fi
  done 3<<'END'
speed resnet18 64 bf16 bench
speed resnet18 1 bf16 bench
speed resnet18 1 bf16 csae
explain resnet18 1 bf16 3
explain resnet18 64 bf16 2
speed resnet50 64 bf16 bench
explain squeezenet 1 fp32 3
speed resnet18 1 fp32 csae
speed resnet18 1 fp32 bench
speed resnet18 64 fp32 bench
speed resnet50 64 fp32 bench
explain squeezenet 64 bf16 2
speed squeezenet 64 bf16 bench
speed squeezenet 1 bf16 bench
speed resnet50 1 bf16 bench
speed resnet18 64 tf32 bench
speed resnet50 64 tf32 bench
speed resnet18 1 tf32 bench
speed squeezenet 1 fp32 bench
END
}

stage_peers() {
  local why="" budget model code images=() image start
  if ! command -v "$python" >/dev/null; then
    why="there is no $python"
  elif ! why=$("$python" -c '
import sys
try:
    import numpy, onnx, torch
except ImportError as error:
    sys.exit(print(f"{error} in {sys.executable}") or 1)
sys.exit(0 if torch.cuda.is_available() else print(f"torch {torch.__version__} has no CUDA device") or 1)' 2>&1 | tail -n 1); then
    why=${why:-"$python cannot import torch"}
  fi
  if [[ -n "$why" ]]; then
    row peers skipped 0 "$why"
    return
  fi
  for image in "$dir"/data/images/*.jpg; do images+=(--image "$image"); done
  for model in ${PEER_MODELS:-resnet18}; do
    # Pictures, taps and losses of the engine's, on the CPU if need be.
    start=$(now) code=0
    packed peers "$(at_most 60)" "$bin/actmatch_bench" "$(model_file "$model")" "${images[@]}" --recipe "$dir/peer/tools/bench/recipe_bench.json" \
      --steps 12 --rounds 1 --threads "$(nproc)" --out "$work/engine.$model" || code=$?
    if ((code != 0)); then
      row "peers $model" failed "$(seconds_since "$start")" "$(reason peers)"
      continue
    fi
    budget=$((${PEERS_SECONDS:-100} - $(seconds_since "$start" | cut -d. -f1)))
    # What is compiled takes a minute or more: it has a process and a limit of its own, so that it cannot take the others' rows with it.
    peer_run "$model" quick $((budget * 2 / 5)) --check --variants eager-fp32 graph-bf16
    peer_run "$model" compiled $((budget * 3 / 5)) --variants compiled-bf16 --batch 64 1
    peer_ratios "$model"
  done
}

# $1: model, $2: what to call it, $3: seconds. The rest: flags of peer_gpu.py.
peer_run() {
  local start code=0 line found=0 limit
  start=$(now) limit=$(at_most "$3")
  if ((limit < 10)); then
    row "peers $1 $2" skipped 0 "the time for this stage was over"
    return
  fi
  printf '\n==== peers %s %s\n' "$1" "$2" >>"$out/log.txt"
  timeout -k 5 "$limit" "$python" "$dir/peer/tools/bench/peer_gpu.py" "$(model_file "$1")" --engine "$work/engine.$1" \
    --recipe "$dir/peer/tools/bench/recipe_bench.json" --json "$work/peer.$1.$2.json" "${@:4}" >"$work/peers.out" 2>&1 || code=$?
  cat "$work/peers.out" >>"$out/log.txt"
  while read -r line; do
    found=1
    case "$line" in
      *largest*"too much") row "peer $1 ${line%% *}" failed "" "${line#* }" ;;
      *largest* | *"ms a step"*) row "peer $1 ${line%% *}" ok "" "${line#* }" ;;
      *) row "peer $1 ${line%% *}" partial "" "${line#* }" ;;
    esac
  done < <(grep -E '^(eager|graph|compiled)-[a-z0-9]+ +(B=|largest)' "$work/peers.out" | tr -s ' ')
  if ((code == 124 || code == 137)); then
    row "peers $1 $2" partial "$(seconds_since "$start")" "its $limit s were over"
  elif ((found == 0)); then
    row "peers $1 $2" partial "$(seconds_since "$start")" "no row: $(reason peers)"
  fi
}

# The engine's bf16 step over the best of the peers'.
peer_ratios() {
  local engines=() peers=() file line
  for file in "$work/speed.$1".{1,64}.bf16.bench/engine.json; do if [[ -s "$file" ]]; then engines+=("$file"); fi; done
  for file in "$work/peer.$1".*.json; do if [[ -s "$file" ]]; then peers+=("$file"); fi; done
  if ((${#engines[@]} == 0 || ${#peers[@]} == 0)); then
    row "peer ratio $1" skipped "" "the engine's or the peers' times are missing"
    return
  fi
  while read -r line; do
    if [[ "$line" == B=* ]]; then row "peer ratio $1 ${line%% *}" ok "" "${line#* }"; else row "peer ratio $1" partial "" "$line"; fi
  done < <("$python" "$dir/peer/tools/bench/peer_ratio.py" --engine "${engines[@]}" --peer "${peers[@]}" 2>&1)
}

# How the step grows with pictures, extent and taps. At length: not among the stages of a plain run.
stage_growth() {
  local why start code=0
  start=$(now) why=$(no_backend)
  if [[ -z "$why" ]] && ! command -v "$python" >/dev/null; then why="there is no $python"; fi
  if [[ -n "$why" ]]; then
    row growth skipped 0 "$why"
    return
  fi
  packed growth "$(at_most "${GROWTH_SECONDS:-300}")" "$python" "$dir/peer/tools/bench/growth.py" "$bin" --image "$dir"/data/images/*.jpg --out "$out" --device cuda \
    --precision bf16 --batches 1,2,4,8,16,32,64 --at 8,224,5 --steps 96 || code=$?
  if ((code == 0)); then
    row growth ok "$(seconds_since "$start")" "$(grep -c 'taps:' "$work/growth.out") points: growth.svg, growth.json"
  elif ((code == 124 || code == 137)); then
    row growth partial "$(seconds_since "$start")" "time was over after $(grep -c 'taps:' "$work/growth.out" || true) points, which log.txt has"
  else
    row growth failed "$(seconds_since "$start")" "$(reason growth)"
  fi
}

write_json() {
  local file separator line fields
  {
    printf '{\n "packed": %s,\n "seconds": %s,\n "passed": %s,\n "stages": [' "$(quoted "$(cat "$dir/PACKED")")" "$(seconds_since "$begun")" \
      "$( ((status == 0)) && echo true || echo false)"
    separator=$'\n'
    for line in "${rows[@]}"; do
      IFS=$'\t' read -r -a fields <<<"${line//$'\t'/ $'\t'}"
      printf '%s  {"stage": %s, "status": %s, "seconds": %s, "figure": %s}' "$separator" "$(quoted "${fields[0]% }")" "$(quoted "${fields[1]% }")" \
        "$([[ "${fields[2]% }" =~ ^[0-9.]+$ ]] && echo "${fields[2]% }" || echo null)" "$(quoted "${fields[3]:-}")"
      separator=$',\n'
    done
    printf '\n ]'
    if [[ -s "$out/bench_kernels.json" ]]; then printf ',\n "kernels": ' && cat "$out/bench_kernels.json"; fi
    if [[ -s "$out/device.json" ]]; then printf ',\n "device": ' && cat "$out/device.json"; fi
    for file in "$work"/speed.*/engine.json; do
      if [[ -s "$file" ]]; then printf ',\n %s: ' "$(quoted "$(basename "$(dirname "$file")")")" && cat "$file"; fi
    done
    for file in "$work"/peer.*.json; do
      if [[ -s "$file" ]]; then printf ',\n %s: ' "$(quoted "$(basename "$file" .json)")" && cat "$file"; fi
    done
    printf '}\n'
  } >"$out/device_check.json"
}

# Whatever happens, what there is gets written.
finish() {
  if ((!finished)); then
    row device_check failed "" "ended before its time, see log.txt"
    write_json
  fi
  rm -rf "$work"
}

run() {
  dir=$(cd "${1:-$here}" && pwd) || die "there is no folder $1"
  [[ -f "$dir/PACKED" ]] || die "$dir was not made by 'device_check.sh pack'"
  out=${OUT:-$PWD/device_check_out} python=${PYTHON:-python3} total=${TOTAL_SECONDS:-470} begun=$(now) no_device=""
  mkdir -p "$out"
  out=$(cd "$out" && pwd)
  rm -f "$out"/{device_check,bench_kernels,device}.json "$out"/bench_kernels.txt
  work=$(mktemp -d)
  finished=0
  trap finish EXIT
  bin=$work/bin
  mkdir -p "$bin" "$work/lib" "$work/models"
  : >"$out/log.txt"
  find_libraries
  export ACTMATCH_MODULE_PATH=$bin
  printf '%-32s %-8s %8s  %s\n' stage status seconds figure
  stage_programs
  stage_device
  make_models
  local stage
  for stage in ${STAGES:-description tests kernels speed memcheck racecheck peers}; do
    case "$stage" in
      memcheck) stage_sanitizer memcheck "${MEMCHECK_SECONDS:-50}" "${MEMCHECK_FILTER:--CudaBench.*}" ;;
      # Where threads share memory; the large ones of the rest would take minutes.
      racecheck) stage_sanitizer racecheck "${RACECHECK_SECONDS:-35}" "${RACECHECK_FILTER:-*CudaTap*:CudaTest.*:Reduce.*:Softmax.*:Movement.Transposes*:CudaConvTest.*}" ;;
      description | tests | kernels | speed | peers | growth) "stage_$stage" ;;
      *) row "$stage" failed 0 "there is no such stage" ;;
    esac
  done
  finished=1
  write_json
  echo
  echo "$(seconds_since "$begun") s; $out/device_check.json, log.txt beside it"
  exit "$status"
}

case "${1:-}" in
  pack)
    (($# == 2 || $# == 3)) || usage
    pack "${@:2}"
    ;;
  run)
    (($# <= 2)) || usage
    run "${@:2}"
    ;;
  *) usage ;;
esac
