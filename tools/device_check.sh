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
# pack reads ACTMATCH_DATA (default: ../shared/data beside the source) and DEVICE_TESTS (further test programs). run reads
#   STAGES         what to do (default: description tests kernels plans speed memcheck racecheck peers; growth takes minutes more). With it
#                  the rows are added to those that $OUT holds of this package: several short calls make one table.
#   TOTAL_SECONDS  the whole call (default: 470); TESTS_SECONDS, KERNELS_SECONDS, PLANS_SECONDS, SPEED_SECONDS, MEMCHECK_SECONDS,
#                  RACECHECK_SECONDS, PEERS_SECONDS, GROWTH_SECONDS: one stage; the last stage has all that is left. ROW_SECONDS: one row of
#                  the speed stage (default: what is left of the stage)
#   PLAN_SEARCH    how many of cuDNN's plans to time for a convolution and how many of those that must be compiled first to build (default:
#                  8,1; with STAGES 10,4, the engine's own); TESTS_PLAN_SEARCH (1,0) and GROWTH_PLAN_SEARCH (2,0) likewise
#   MEMCHECK_FILTER, RACECHECK_FILTER  tests, as --gtest_filter takes them; PEER_MODELS (default: resnet18; resnet50) what PyTorch is
#                  timed with; PYTHON (default: python3)
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
# Suites whose kernels share no memory between threads, or that launch none: nothing for racecheck.
UNSHARED='CudaBench.*:*Reference*:Elementwise.*:Operators.*:Unary.*:Pooling.*:Gathering.*'
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
  local extra=() needs=""
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
    needs+=$(objdump -p "$file" 2>/dev/null | awk '$1 == "NEEDED" && $2 ~ /cublas|cudnn|cudart|nvrtc/ { print $2 }')$'\n'
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
    echo "needs $(sort -u <<<"$needs" | xargs)"
  } >"$out/PACKED"
  local bytes
  bytes=$(du -sb "$out" | cut -f1)
  if ((bytes > MOST_MIB * 1024 * 1024)); then
    die "$out has $((bytes / 1048576)) MiB, more than $MOST_MIB; the largest: $(cd "$out" && du -ab . | sort -rn | awk '$2 ~ /\/.*\// { printf "%s %.1f MiB, ", $2, $1 / 1048576 } ++n == 8 { exit }')"
  fi
  local packed=("$out"/bin/*.gz)
  packed=("${packed[@]##*/}")
  echo "packed $out: $(awk -v b="$bytes" 'BEGIN { printf "%.1f", b / 1048576 }') MiB; ${packed[*]%.gz}; the other machine must have: $(sed -n 's/^needs //p' "$out/PACKED")"
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
# The seconds of stage $1: what its variable says, else all that is left for the last one, else $2.
seconds_for() {
  local set=${1^^}_SECONDS
  if [[ -z "${!set:-}" && "$1" == "$last_stage" ]]; then left; else at_most "${!set:-$2}"; fi
}
# What remains of $2 seconds since $1, a part of one counting as one; 0 when they are over.
rest_of() { awk -v a="$1" -v b="$(now)" -v of="$2" 'BEGIN { s = of - (b - a); print (s > 0 ? int(s + 0.999) : 0) }'; }
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
  show "$1" "$2" "$3" "$figure"
  [[ "$2" == failed ]] && status=1
  return 0
}
show() { printf '%-32s %-8s %8s  %s\n' "$@"; }
# The four of a row, in `fields`.
split_row() {
  IFS=$'\t' read -r -a fields <<<"${1//$'\t'/ $'\t'}"
  fields=("${fields[0]% }" "${fields[1]% }" "${fields[2]% }" "${fields[3]:-}")
}
# Drops the rows of earlier calls whose name is like one of these patterns.
forget() {
  local kept line pattern
  for pattern in "$@"; do
    kept=()
    for line in ${rows[@]+"${rows[@]}"}; do
      # shellcheck disable=SC2053 # a pattern
      if [[ "${line%%$'\t'*}" != $pattern ]]; then kept+=("$line"); fi
    done
    rows=(${kept[@]+"${kept[@]}"})
  done
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
  while read -r base; do
    for folder in "$base"/*/lib; do
      if [[ -d "$folder" ]]; then libraries+=:$folder; fi
    done
  done < <("$python" -c 'import nvidia; print(*nvidia.__path__, sep="\n")' 2>/dev/null || true)
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
    if [[ -n "$missing" ]]; then lacks+="$(basename "$program") lacks ${missing% }, "; fi
  done
  if [[ -n "$lacks" ]]; then
    row programs partial "$(seconds_since "$start")" "install these libraries or put their folders into LD_LIBRARY_PATH: ${lacks%, }"
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

# Hundreds of small convolutions: with one plan each, which need not be the one that a step takes. They have a file of their own.
stage_tests() {
  local program name precision begin budget
  begin=$(now) budget=$(seconds_for tests 70)
  for program in "$bin"/test_*; do
    [[ -x "$program" ]] || continue
    name=$(basename "$program")
    local precisions=("")
    if [[ " ${PRECISION_TESTS[*]} " == *" $name "* ]]; then precisions=(fp32 bf16 tf32); fi
    for precision in "${precisions[@]}"; do
      tests_within "$name${precision:+ $precision}" env ${precision:+ACTMATCH_TEST_PRECISION="$precision"} \
        ACTMATCH_PLAN_CACHE="$work/plans.tests.json" ACTMATCH_PLAN_SEARCH="${TESTS_PLAN_SEARCH:-1,0}" "$program"
    done
  done
  # What cuDNN compiles on the spot: whole networks.
  if [[ -x "$bin/test_ops_gpu" ]]; then
    tests_within "test_ops_gpu bf16 compiled" env ACTMATCH_TEST_PRECISION=bf16 ACTMATCH_PLAN_CACHE= ACTMATCH_PLAN_SEARCH=2,2 \
      "$bin/test_ops_gpu" --gtest_filter='WholeNets.*:DeviceExplain.*-WholeNets.MobileNet*'
  fi
}
# $1: what to call it. The rest: the command.
tests_within() {
  local rest
  rest=$(rest_of "$begin" "$budget")
  if [[ -n "$no_device" ]]; then
    row "tests $1" skipped 0 "$no_device"
  elif ((rest < 1)); then
    row "tests $1" skipped 0 "the time for this stage was over"
  else
    test_program "$1" "$rest" "${@:2}"
  fi
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
  start=$(now) budget=$(seconds_for kernels 40)
  packed kernels $((budget + 10)) "$bin/bench_kernels" --seconds "$budget" --json "$parts/bench_kernels.json" || code=$?
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

# The seconds that a row of the speed stage may take.
row_seconds() {
  local rest
  rest=$(rest_of "$begin" "$budget")
  if [[ -n "${ROW_SECONDS:-}" ]] && ((ROW_SECONDS < rest)); then rest=$ROW_SECONDS; fi
  at_most "$rest"
}

# One optimisation step. $1: model, $2: pictures at once, $3: precision, $4: recipe, bench or csae.
speed_case() {
  local name="speed $1 B=$2 $3" start code=0 limit why="" outcome=ok
  [[ "$4" == bench ]] || name+=" $4"
  start=$(now) limit=$(row_seconds)
  rm -rf "$work/speed"
  packed speed "$limit" "$bin/actmatch_bench" "$(model_file "$1")" "${images[@]}" --recipe "$dir/peer/tools/bench/recipe_$4.json" \
    --device cuda --precision "$3" --batch "$2" --steps 96 --rounds 10 --runs 3 --out "$work/speed" || code=$?
  if ((code == 0)); then
    if [[ -s "$work/speed/engine.json" ]]; then cp "$work/speed/engine.json" "$parts/speed.$1.$2.$3.$4.json"; fi
    # A step that could not be recorded, or kernels of our own where cuDNN should have plans, are slower than they need be.
    if grep -q '^step as .*plain calls' "$work/speed.out"; then why+="the step is not recorded; "; fi
    if [[ "$1" == resnet* ]] && ! grep -qE '^convolutions: [1-9][0-9]* by plans, .* 0 by kernels for lack' "$work/speed.out"; then
      # Of those with less fused to them, which have the last word.
      why+="convolutions lack plans ($(grep -o 'no plan of .*' "$work/speed.out" | grep -m 1 -vE '\+ (relu|residual|skip)' || echo 'log.txt may say why')); "
    fi
    if [[ -n "$why" ]]; then outcome=partial; fi
    row "$name" "$outcome" "$(seconds_since "$start")" "$(awk '$1 == "step" && NF == 3 { printf "%.3f ms a step, ", $2 }
      /pictures x steps a second/ { printf "%s", $0 } /^[0-9]+ image-passes/ { printf ", %s image-passes a second", $1 }
      /^device memory/ { printf ", %s MiB, %s a picture", $3, $5 } /^step as / { printf ", %s", substr($0, 9) }
      /^convolutions: / { printf ", convolutions %s+%s+%s", $2, $5, $11 }' "$work/speed.out")${why:+; ${why%; }}"
  elif ((code == 124 || code == 137)); then
    row "$name" partial "$(seconds_since "$start")" "no figure, its $limit s were over"
  else
    row "$name" failed "$(seconds_since "$start")" "$(reason speed)"
  fi
}

# Explanations as a user gets them, pruned and certified. $1: model, $2: pictures at once, $3: precision, $4: batches. The rest: further flags.
# The figure is the last batch's, which chooses no plans and records no step.
explain_case() {
  local model=$1 batch=$2 precision=$3 count=$(($2 * $4)) start code=0 i limit figure
  local row="explain $model B=$batch $precision" name
  local photos=("$dir"/data/images/*.jpg) pictures=()
  for ((i = 0; i < count; ++i)); do
    printf -v name '%04d' "$i"
    pictures+=("$work/pictures/$name.jpg")
    if [[ ! -e "${pictures[i]}" ]]; then
      ln -s "${photos[i % ${#photos[@]}]}" "${pictures[i]}"
    fi
  done
  rm -rf "$work/explained"
  start=$(now) limit=$(row_seconds)
  packed explain "$limit" "$bin/actmatch" explain "$(model_file "$model")" "${pictures[@]}" --device cuda --precision "$precision" --batch "$batch" \
    --quiet --out "$work/explained" "${@:5}" || code=$?
  if ((code == 0)); then
    local results=()
    for ((i = count - batch; i < count; ++i)); do
      printf -v name '%04d' "$i"
      results+=("$work/explained/$name/result.json")
    done
    figure=$(awk '
      function of(key) { return match($0, "\"" key "\": *[0-9.e-]+") ? substr($0, RSTART + length(key) + 3, RLENGTH - length(key) - 3) + 0 : 0 }
      FNR == 1 { ++n } /"optimise"/ { optimise += of("optimise") } /"prune"/ { prune += of("prune") } /"total"/ { total += of("total") }
      /"steps":/ { steps = of("steps") } /"minimal_tile"/ { certified += of("minimal_tile") > 0 } /"batch":/ { batch = of("batch") }
      END { if (n && total > 0) printf "%d steps: %.3f s a picture (%.3f optimised, %.3f pruned), %.1f pictures a second, %d at once, %d of %d certified",
        steps, total / n, optimise / n, prune / n, n / total, batch, certified, n }' "${results[@]}")
    # The row is about explanations that are pruned and certified.
    if [[ "$figure" == *", 0 of "*" certified" ]]; then
      row "$row" partial "$(seconds_since "$start")" "none is certified: $figure"
    else
      row "$row" ok "$(seconds_since "$start")" "$figure"
    fi
    # Random weights make claims too narrow to be the same on two machines; a network that knows the photo does not.
    if [[ "$model" == squeezenet ]]; then
      start=$(now) code=0
      packed verify "$(at_most 60)" "$bin/actmatch" verify "${results[-1]}" --device cpu || code=$?
      row "verify $model B=$batch $precision" "$( ((code == 0)) && echo ok || echo failed)" "$(seconds_since "$start")" "on the CPU $(awk '$NF == "yes" { ++held } $NF == "no" { ++broken } END { printf "%d claims hold, %d do not", held, broken }' "$work/verify.out")"
    fi
  elif ((code == 124 || code == 137)); then
    row "$row" partial "$(seconds_since "$start")" "no figure, its $limit s were over"
  else
    row "$row" failed "$(seconds_since "$start")" "$(reason explain)"
  fi
}

# What is timed. What there are targets for comes first, the rest while the time lasts.
speed_rows() {
  cat <<'END'
speed resnet18 64 bf16 bench
speed resnet18 1 bf16 bench
speed resnet18 1 bf16 csae
speed resnet50 64 bf16 bench
explain resnet18 1 bf16 3
explain squeezenet 1 bf16 3
explain resnet18 64 bf16 2
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

# Chooses the plans of the rows of the speed stage, in a run of each that is as short as it can be. For a network that is new that takes a
# minute, which is not what those rows are to measure.
stage_plans() {
  local why begin budget line code rest start ended=0 all=0 images=() image words first=""
  why=$(no_backend)
  if [[ -n "$why" ]]; then
    row plans skipped 0 "$why"
    return
  fi
  for image in "$dir"/data/images/*.jpg; do images+=(--image "$image"); done
  begin=$(now) budget=$(seconds_for plans 100)
  while read -r -u 3 -a line; do
    all=$((all + 1)) rest=$(rest_of "$begin" "$budget") code=0
    if ((rest < 1)); then continue; fi
    if [[ "${line[0]}" == speed ]]; then
      words=("$bin/actmatch_bench" "$(model_file "${line[1]}")" "${images[@]}" --recipe "$dir/peer/tools/bench/recipe_${line[4]}.json" --rounds 1)
    else
      rm -rf "$work/planned"
      words=("$bin/actmatch" explain "$(model_file "${line[1]}")" "${images[1]}" --quiet --out "$work/planned")
      [[ "${line[1]}" == squeezenet ]] || words+=(--recipe "$dir/peer/tools/bench/recipe_bench.json")
    fi
    start=$(now)
    packed plans "$(at_most "$rest")" "${words[@]}" --device cuda --precision "${line[3]}" --batch "${line[2]}" --steps 12 || code=$?
    if ((code == 0)); then
      ended=$((ended + 1))
    elif ((code != 124 && code != 137)) && [[ -z "$first" ]]; then
      first="; ${line[*]}: $(reason plans)"
    fi
    printf 'plans of %s: %s s, status %d\n' "${line[*]}" "$(seconds_since "$start")" "$code" >>"$out/log.txt"
  done 3< <(speed_rows)
  local kept timed=${search%,*} built=${search#*,} outcome=ok
  kept=$(grep -c '"microseconds"' "$ACTMATCH_PLAN_CACHE" 2>/dev/null || true)
  if ((ended < all)); then outcome=partial; fi
  row plans "$outcome" "$(seconds_since "$begin")" \
    "$ended of $all configurations; ${kept:-0} plans in plans.json; of a convolution's, $timed are timed, of these $built compiled$first"
}

stage_speed() {
  local why begin budget images=() image line bench=$dir/peer/tools/bench/recipe_bench.json
  why=$(no_backend)
  if [[ -n "$why" ]]; then
    row speed skipped 0 "$why"
    return
  fi
  for image in "$dir"/data/images/*.jpg; do images+=(--image "$image"); done
  begin=$(now) budget=$(seconds_for speed 90)
  while read -r -u 3 -a line; do
    if (($(rest_of "$begin" "$budget") < 1)); then
      row "${line[0]} ${line[1]} B=${line[2]} ${line[3]}$([[ "${line[4]}" == csae ]] && echo ' csae')" skipped 0 "the time for this stage was over"
    elif [[ "${line[0]}" == speed ]]; then
      speed_case "${line[@]:1}"
    elif [[ "${line[1]}" == squeezenet ]]; then # the default recipe, on a network that knows the photos
      explain_case "${line[@]:1}"
    else
      explain_case "${line[@]:1}" --recipe "$bench"
    fi
  done 3< <(speed_rows)
}

stage_peers() {
  local why="" budget model code images=() image start begin models share
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
  begin=$(now) budget=$(seconds_for peers 90)
  read -r -a models <<<"${PEER_MODELS:-resnet18}"
  while ((${#models[@]})); do
    model=${models[0]} share=$(($(rest_of "$begin" "$budget") / ${#models[@]}))
    models=("${models[@]:1}")
    # Pictures, taps and losses of the engine's, on the CPU if need be.
    start=$(now) code=0
    packed peers "$(at_most 60)" "$bin/actmatch_bench" "$(model_file "$model")" "${images[@]}" --recipe "$dir/peer/tools/bench/recipe_bench.json" \
      --steps 12 --rounds 1 --threads "$(nproc)" --out "$work/engine.$model" || code=$?
    if ((code != 0)); then
      row "peers $model" failed "$(seconds_since "$start")" "$(reason peers)"
      continue
    fi
    # What is compiled takes a minute or more: it has a process and a limit of its own, so that it cannot take the others' rows with it, and
    # all the time that those leave.
    peer_run "$model" quick $(($(rest_of "$start" "$share") * 2 / 5)) --check --variants eager-fp32 graph-bf16
    peer_run "$model" compiled "$(rest_of "$start" "$share")" --variants compiled-bf16 --batch 64 1
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
    --recipe "$dir/peer/tools/bench/recipe_bench.json" --json "$parts/peer.$1.$2.json" "${@:4}" >"$work/peers.out" 2>&1 || code=$?
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

# The engine's bf16 step over the best of the peers'. Without a compiled one that is not the strongest peer.
peer_ratios() {
  local engines=() peers=() file line
  for file in "$parts/speed.$1".{1,64}.bf16.bench.json; do if [[ -s "$file" ]]; then engines+=("$file"); fi; done
  for file in "$parts/peer.$1".*.json; do if [[ -s "$file" ]]; then peers+=("$file"); fi; done
  if ((${#engines[@]} == 0 || ${#peers[@]} == 0)); then
    row "peer ratio $1" skipped "" "the engine's or the peers' times are missing"
    return
  fi
  while read -r line; do
    case "$line" in
      B=*"no compiled variant"*) row "peer ratio $1 ${line%% *}" partial "" "${line#* }" ;;
      B=*) row "peer ratio $1 ${line%% *}" ok "" "${line#* }" ;;
      *) row "peer ratio $1" partial "" "$line" ;;
    esac
  done < <("$python" "$dir/peer/tools/bench/peer_ratio.py" --engine "${engines[@]}" --peer "${peers[@]}" 2>&1)
}

# How the step grows with pictures, extent and taps. At length: not among the stages of a plain run. Of each point's convolutions the same
# few plans are timed, since hardly two points have any in common.
stage_growth() {
  local why start code=0 limit points
  start=$(now) why=$(no_backend)
  if [[ -z "$why" ]] && ! command -v "$python" >/dev/null; then why="there is no $python"; fi
  if [[ -n "$why" ]]; then
    row growth skipped 0 "$why"
    return
  fi
  limit=$(seconds_for growth 300)
  ACTMATCH_PLAN_CACHE=$work/plans.growth.json ACTMATCH_PLAN_SEARCH=${GROWTH_PLAN_SEARCH:-2,0} packed growth "$limit" "$python" \
    "$dir/peer/tools/bench/growth.py" "$bin" --image "$dir"/data/images/*.jpg --out "$out" --device cuda --precision bf16 \
    --batches 1,2,4,8,16,32,64 --at 8,224,5 --steps 96 --seconds $((limit * 3 / 4)) || code=$?
  points=$(grep -c 'taps:' "$work/growth.out" || true)
  if ((code == 124 || code == 137)); then
    row growth partial "$(seconds_since "$start")" "time was over after $points points, which log.txt has"
  elif ((code != 0)); then
    row growth failed "$(seconds_since "$start")" "$(reason growth)"
  elif grep -q 'left out' "$work/growth.out"; then
    row growth partial "$(seconds_since "$start")" "time was over after $points points: growth.svg, growth.json"
  else
    row growth ok "$(seconds_since "$start")" "$points points: growth.svg, growth.json"
  fi
}

write_json() {
  local file separator line fields passed=true
  for line in "${rows[@]}"; do
    split_row "$line"
    if [[ "${fields[1]}" == failed ]]; then passed=false; fi
  done
  {
    printf '{\n "packed": %s,\n "seconds": %s,\n "passed": %s,\n "stages": [' "$(quoted "$(cat "$dir/PACKED")")" "$(all_seconds)" "$passed"
    separator=$'\n'
    for line in "${rows[@]}"; do
      split_row "$line"
      printf '%s  {"stage": %s, "status": %s, "seconds": %s, "figure": %s}' "$separator" "$(quoted "${fields[0]}")" "$(quoted "${fields[1]}")" \
        "$([[ "${fields[2]}" =~ ^[0-9.]+$ ]] && echo "${fields[2]}" || echo null)" "$(quoted "${fields[3]}")"
      separator=$',\n'
    done
    printf '\n ]'
    if [[ -s "$parts/bench_kernels.json" ]]; then printf ',\n "kernels": ' && cat "$parts/bench_kernels.json"; fi
    if [[ -s "$out/device.json" ]]; then printf ',\n "device": ' && cat "$out/device.json"; fi
    for file in "$parts"/{speed,peer}.*.json; do
      if [[ -s "$file" ]]; then printf ',\n %s: ' "$(quoted "$(basename "$file" .json)")" && cat "$file"; fi
    done
    printf '}\n'
  } >"$out/device_check.json"
}

# ---- several calls that make one table

all_seconds() { awk -v before="$seconds_before" -v here="$(seconds_since "$begun")" 'BEGIN { printf "%.1f", before + here }'; }
# What an earlier call has left, if it was of this package.
load_parts() {
  if [[ ! -s "$out/parts.tgz" ]] || ! tar -xzf "$out/parts.tgz" -C "$parts" 2>/dev/null || ! cmp -s "$parts/PACKED" "$dir/PACKED"; then
    rm -rf "$parts"
    mkdir "$parts"
    return
  fi
  mapfile -t rows <"$parts/rows"
  seconds_before=$(cat "$parts/seconds")
}
save_parts() {
  cp "$dir/PACKED" "$parts/PACKED"
  printf '%s\n' "${rows[@]}" >"$parts/rows"
  all_seconds >"$parts/seconds"
  tar -czf "$out/parts.tgz" -C "$parts" .
}

# Whatever happens, what there is gets written.
finish() {
  if ((!finished)); then
    row device_check failed "" "ended before its time, see log.txt"
    write_json
    save_parts
  fi
  rm -rf "$work" "$out/plans.json.lock"
}

run() {
  dir=$(cd "${1:-$here}" && pwd) || die "there is no folder $1"
  [[ -f "$dir/PACKED" ]] || die "$dir was not made by 'device_check.sh pack'"
  out=${OUT:-$PWD/device_check_out} python=${PYTHON:-python3} total=${TOTAL_SECONDS:-470} begun=$(now) no_device=""
  mkdir -p "$out"
  out=$(cd "$out" && pwd)
  work=$(mktemp -d)
  bin=$work/bin parts=$work/parts seconds_before=0 finished=0
  mkdir -p "$bin" "$parts" "$work/lib" "$work/models" "$work/pictures"
  trap finish EXIT
  if [[ -n "${STAGES:-}" ]]; then load_parts; fi
  local earlier=${#rows[@]}
  if ((earlier == 0)); then
    rm -f "$out"/{device_check,device,growth}.json "$out"/growth.svg "$out"/bench_kernels.txt "$out"/parts.tgz
    : >"$out/log.txt"
  fi
  find_libraries
  export ACTMATCH_MODULE_PATH=$bin
  # All programs share the plans, where there is no home as well, and they come back as a result.
  export ACTMATCH_PLAN_CACHE=${ACTMATCH_PLAN_CACHE:-$out/plans.json}
  search=${PLAN_SEARCH:-${STAGES:+10,4}} search=${search:-8,1}
  export ACTMATCH_PLAN_SEARCH=$search
  show stage status seconds figure
  local stage stages=${STAGES:-description tests kernels plans speed memcheck racecheck peers}
  last_stage=${stages##* }
  forget programs device models device_check
  stage_programs
  stage_device
  make_models
  for stage in $stages; do
    case "$stage" in
      tests) forget 'tests *' ;;
      speed) forget 'speed*' 'explain *' 'verify *' ;;
      peers) forget 'peer*' ;;
      *) forget "$stage" ;;
    esac
    case "$stage" in
      memcheck) stage_sanitizer memcheck "$(seconds_for memcheck 35)" "${MEMCHECK_FILTER:--CudaBench.*}" ;;
      racecheck) stage_sanitizer racecheck "$(seconds_for racecheck 25)" "${RACECHECK_FILTER:--$UNSHARED}" ;;
      description | tests | kernels | plans | speed | peers | growth) "stage_$stage" ;;
      *) row "$stage" failed 0 "there is no such stage" ;;
    esac
  done
  finished=1
  write_json
  save_parts
  if ((earlier > 0)); then
    local line fields
    printf '\nTogether with earlier calls:\n'
    for line in "${rows[@]}"; do
      split_row "$line"
      show "${fields[@]}"
    done
  fi
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
