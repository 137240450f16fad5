#!/usr/bin/env bash
# tools/device_check.sh run on packages whose programs only pretend: what it makes of successes, failures, time that runs out and of things that
# are missing. Needs neither a GPU nor a build.
#   test_device_check.sh SOURCE_DIR
set -euo pipefail
source=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failures=0

# A program of the package: a shell script.
program() {
  mkdir -p "$scratch/package/bin"
  { echo '#!/bin/bash' && cat; } | gzip -c >"$scratch/package/bin/$1.gz"
}
fresh_package() {
  rm -rf "$scratch/package" "$scratch/out"
  mkdir -p "$scratch/package"/{bin,lib,data/models,data/images,peer/tools/bench}
  cp "$source/tools/device_check.sh" "$scratch/package/"
  echo "commit none" >"$scratch/package/PACKED"
  touch "$scratch/package/data/images/"{a,b}.jpg
  program bench_kernels <<'END'
while (($#)); do [[ $1 == --json ]] && echo '{"kernels": []}' >"$2"; shift; done
echo 'Pretended GPU, compute capability 9.0, CUDA 13.0'
echo 'adam  B64 CSAE   100.00      4000      0.00  memory    90%'
echo 'fill  B64        100.00      4000      0.00  memory    50%'
echo 'advance  1         1.00         0      0.00  launch   100%'
echo
echo '3 cases timed, 0 failed, 0 not run'
END
  program test_gpu <<'END'
echo '[       OK ] A.One (1 ms)'
echo '[  SKIPPED ] A.Two (1 ms)'
END
  program test_ops_gpu <<'END'
[[ $ACTMATCH_TEST_PRECISION == tf32 ]] && echo 'this device has no tf32' && exit 77
[[ "$*" == *WholeNets* ]] && echo "[       OK ] Compiled.$ACTMATCH_PLAN_SEARCH.${ACTMATCH_PLAN_CACHE:-none} (1 ms)" && exit 0
[[ $ACTMATCH_PLAN_SEARCH == 1,0 && $ACTMATCH_PLAN_CACHE == */plans.tests.json ]] || exit 1
echo "[       OK ] B.$ACTMATCH_TEST_PRECISION (1 ms)"
END
  program make_random_resnet <<<'true'
  program actmatch_bench <<'END'
steps=0 out=
while (($#)); do
  [[ $1 == --batch ]] && batch=$2
  [[ $1 == --steps ]] && steps=$2
  [[ $1 == --out ]] && mkdir -p "$2" && out=$2
  shift
done
echo "$steps $ACTMATCH_PLAN_SEARCH" >>"$ACTMATCH_PLAN_CACHE"
[[ -z $out ]] && exit 0
echo "{\"step\": {\"wall_ms\": 0.3}, \"batch\": ${batch:-1}, \"precision\": \"bf16\"}" >"$out/engine.json"
echo 'step                           0.321     0.300'
echo '199.1 pictures x steps a second'
echo '9990 image-passes a second: 64 images forward and back through the classifier alone'
echo 'convolutions: 38 by plans, 1 by kernels of our own, 0 by kernels for lack of a plan'
END
  program actmatch <<'END'
[[ $1 == verify ]] && [[ -s $2 && "$*" == *"--device cpu"* ]] && printf 'p_e 0.5 0.5 yes\narea 0.1 0.1 yes\n' && exit 0
batch=1 pictures=()
while (($#)); do
  case $1 in
    --out) out=$2 ;;
    --batch) batch=$2 ;;
    *.jpg) pictures+=("$1") ;;
  esac
  shift
done
names=("${pictures[@]##*/}")
mkdir -p "$out" && cd "$out" && mkdir -p "${names[@]%.jpg}"
for picture in "${pictures[@]}"; do
  [[ -e $picture ]] || exit 1
  name=${picture##*/}
  printf ' "steps": 300,\n "passes_per_step": 2,\n "batch": %s,\n "minimal_tile": 8,\n "losses": {\n "total": [1]\n },\n "seconds": {\n "total": 0.25,\n "optimise": 0.15,\n "prune": 0.1\n }\n' \
    "$batch" >"${name%.jpg}/result.json"
done
END
  program libactmatch_cuda.so <<<''
}
# Runs the package; its table in $scratch/table, its exit status in $code.
run() {
  code=0
  OUT=$scratch/out PATH=$scratch/path:$PATH PYTHON=${PYTHON:-/nonexistent/python3} "$@" bash "$scratch/package/device_check.sh" run >"$scratch/table" 2>&1 || code=$?
}
expect() {
  if ! grep -qE "$1" "$scratch/table"; then
    echo "FAILED: $case: no line like '$1'"
    failures=$((failures + 1))
  fi
}
expect_code() {
  if ((code != $1)); then
    echo "FAILED: $case: exit status $code, not $1"
    failures=$((failures + 1))
  fi
}
finish_case() {
  if [[ -e "$scratch/package/PACKED" ]] && command -v python3 >/dev/null && ! python3 -c 'import json, sys; json.load(open(sys.argv[1]))' "$scratch/out/device_check.json"; then
    echo "FAILED: $case: device_check.json is no JSON"
    failures=$((failures + 1))
  fi
  if ((failures > failures_before)); then cat "$scratch/table"; fi
  failures_before=$failures
}
failures_before=0

mkdir -p "$scratch/path"
cat >"$scratch/path/compute-sanitizer" <<'END'
#!/bin/bash
echo '[       OK ] A.One (1 ms)'
echo '========= ERROR SUMMARY: 0 errors'
END
chmod +x "$scratch/path/compute-sanitizer"

# A Python that has PyTorch and runs the peer: the quick variants at once, the compiled one until its time is over.
cat >"$scratch/path/some-python" <<'END'
#!/bin/bash
[[ "$1" == *peer_ratio.py ]] && exec python3 "$@"
[[ "$1" == *peer_gpu.py ]] || exit 0
while (($#)); do [[ "$1" == --json ]] && json=$2; last=$1; shift; done
if [[ "$last" == graph-bf16 ]]; then
  echo 'eager-fp32     largest difference from the engine losses 1.0e-05'
  echo 'eager-fp32     B=1        1.500 ms a step,      666.7 pictures x steps a second'
  echo 'graph-bf16     B=1   RuntimeError: the gradients are off'
  echo '{"rows": [{"variant": "eager-fp32", "batch": 1, "ms_per_step": 1.5}, {"variant": "graph-bf16", "batch": 1, "failed": "off"}]}' >"$json"
  exit 1
fi
echo 'compiled-bf16  B=64       9.600 ms a step,     6666.7 pictures x steps a second'
echo '{"rows": [{"variant": "compiled-bf16", "batch": 64, "ms_per_step": 9.6}]}' >"$json"
[[ -z "$PEER_HANGS" ]] || sleep 60
END
chmod +x "$scratch/path/some-python"

case="all is well, with a peer"
fresh_package
cp "$source/tools/bench/peer_ratio.py" "$scratch/package/peer/tools/bench/"
run env PYTHON="$scratch/path/some-python"
expect_code 0
expect '^peer resnet18 eager-fp32 +ok +B=1 1.500 ms a step'
expect '^peer resnet18 compiled-bf16 +ok +B=64 9.600 ms a step'
expect '^peer resnet18 graph-bf16 +partial +B=1 RuntimeError'
expect '^peer resnet18 eager-fp32 +ok +largest difference'
expect '^peer ratio resnet18 B=1 +partial +bf16 5.00 times as fast as the best PyTorch: 0.300 ms a step, eager-fp32 1.500; no compiled variant was timed'
expect '^peer ratio resnet18 B=64 +ok +bf16 32.00 times'
finish_case

case="a peer that hangs"
fresh_package
cp "$source/tools/bench/peer_ratio.py" "$scratch/package/peer/tools/bench/"
run env PYTHON="$scratch/path/some-python" PEER_HANGS=1 PEERS_SECONDS=26 STAGES="speed peers"
expect_code 0
expect '^peer resnet18 compiled-bf16 +ok +B=64 9.600 ms a step'
expect '^peers resnet18 compiled +partial +[0-9.]+ +its 2[0-9] s were over'
expect '^peer ratio resnet18 B=64 +ok'
finish_case

case="a GPU that does not record the step, kernels for which there was no time"
fresh_package
program actmatch_bench <<'END'
echo 'step                           0.321     0.300'
echo '199.1 pictures x steps a second, 99 images a second'
echo 'step as plain calls: a library cannot be recorded'
echo 'convolutions: 38 by plans, 0 by kernels of our own, 0 by kernels for lack of a plan'
END
program bench_kernels <<'END'
echo 'Pretended GPU'
echo '3 cases timed, 0 failed, 7 not run'
END
run env STAGES="kernels speed growth"
expect_code 0
expect '^speed resnet18 B=1 bf16 +partial .*plain calls: a library cannot be recorded, .*; the step is not recorded'
expect '^kernels +partial .*7 not run'
expect '^growth +skipped .*there is no /nonexistent/python3'
finish_case

case="all is well"
fresh_package
run env
expect_code 0
expect '^device +ok .*Pretended GPU'
expect '^tests test_gpu +ok .*1 passed, 0 failed, 1 skipped'
expect '^tests test_ops_gpu bf16 +ok .*1 passed'
expect '^tests test_ops_gpu tf32 +skipped .*this device has no tf32'
expect '^kernels +ok .*3 cases timed.*2 cases, median 50% of the copy rate, 1 at 75%'
expect '^tests test_ops_gpu bf16 compiled +ok .*1 passed'
expect '^plans +ok .*20 of 20 configurations; .* 8 are timed, of these 1 compiled'
expect '^speed resnet50 B=64 bf16 +ok .*0.321 ms a step, 199.1 pictures x steps a second, 9990 image-passes a second, convolutions 38\+1\+0'
expect '^explain squeezenet B=1 bf16 +ok .*1 of 1 certified'
expect '^speed resnet18 B=1 fp32 csae +ok .*0.321 ms a step'
expect '^explain resnet18 B=1 bf16 +ok +[0-9.]+ +300 steps: 0.250 s a picture \(0.150 optimised, 0.100 pruned\), 4.0 pictures a second, 1 at once, 1 of 1 certified'
expect '^verify squeezenet B=1 fp32 +ok .*on the CPU 2 claims hold, 0 do not'
expect '^explain resnet18 B=64 bf16 +ok .*64 at once, 64 of 64 certified'
expect '^memcheck +ok .*ERROR SUMMARY: 0 errors; 1 passed'
expect '^peers +skipped .*there is no /nonexistent/python3'
expect '^description +skipped .*without cuDNN'
[[ $(sort -u "$scratch/out/plans.json" | xargs) == "12 8,1 96 8,1" ]] || { echo "FAILED: $case: plans and times share plans.json"; failures=$((failures + 1)); }
grep -q '"passed": true' "$scratch/out/device_check.json" || { echo "FAILED: $case: passed"; failures=$((failures + 1)); }
finish_case

case="no device, a library that lacks"
fresh_package
program bench_kernels <<<'echo "bench_kernels: no CUDA device to measure on: none" >&2; exit 2'
run env
expect_code 0
for stage in device 'tests test_gpu' kernels speed memcheck racecheck; do expect "^$stage +skipped .*no CUDA device to measure on: none"; done
finish_case

case="tests, kernels and one speed fail, the sanitizer finds an error"
fresh_package
program test_gpu <<'END'
echo '[       OK ] A.One (1 ms)'
echo '[  FAILED  ] A."Quoted"\Two, where x = 1 (1 ms)'
exit 1
END
program actmatch_bench <<'END'
[[ "$*" == *"--precision bf16"* ]] && echo "actmatch_bench: error: no plan" >&2 && exit 1
echo 'step   1.000   1.000'
echo 'convolutions: 2 by plans, 0 by kernels of our own, 0 by kernels for lack of a plan'
END
program bench_kernels <<'END'
[[ "$*" == *advance* ]] && echo 'Pretended GPU' && exit 0
echo '3 cases timed, 1 failed, 0 not run'
exit 1
END
cat >"$scratch/path/compute-sanitizer" <<'END'
#!/bin/bash
echo '========= Invalid __global__ read of size 4 bytes'
echo '========= ERROR SUMMARY: 1 error'
exit 99
END
run env
expect_code 1
expect '^tests test_gpu +failed .*1 passed, 1 failed, 0 skipped'
expect '^kernels +failed .*1 failed'
expect '^plans +partial .*of 20 configurations.*; speed resnet18 64 bf16 bench: actmatch_bench: error: no plan'
expect '^speed resnet18 B=1 bf16 +failed .*no plan'
expect '^speed resnet18 B=1 fp32 +ok .*1.000 ms a step'
expect '^racecheck +failed .*ERROR SUMMARY: 1 error'
grep -q '"passed": false' "$scratch/out/device_check.json" || { echo "FAILED: $case: passed"; failures=$((failures + 1)); }
finish_case

case="time runs out, the sanitizer refuses the device, no backend"
fresh_package
rm "$scratch/package/bin/libactmatch_cuda.so.gz"
program test_gpu <<<'echo "[       OK ] A.One (1 ms)"; sleep 60'
cat >"$scratch/path/compute-sanitizer" <<'END'
#!/bin/bash
echo '========= Device not supported.'
exit 1
END
run env TESTS_SECONDS=1
expect_code 0
expect '^tests test_gpu +partial .*time was over: 1 passed'
expect '^tests test_ops_gpu fp32 +skipped .*time for this stage was over'
expect '^memcheck +skipped .*Device not supported'
expect '^speed +skipped .*no CUDA backend'
finish_case

case="plans that do not run, nothing certified"
fresh_package
program actmatch_bench <<'END'
echo 'actmatch_bench: no plan of cuDNN for "forward bf16", so own kernels do it: CUDNN_STATUS_EXECUTION_FAILED'
echo 'step   1.000   1.000'
case "$*" in
  *resnet50*) echo 'convolutions: 0 by plans, 0 by kernels of our own, 106 by kernels for lack of a plan' ;;
  *resnet18*) echo 'convolutions: 30 by plans, 0 by kernels of our own, 8 by kernels for lack of a plan' ;;
  *) echo 'convolutions: 50 by plans, 0 by kernels of our own, 2 by kernels for lack of a plan' ;;
esac
END
gzip -dc "$scratch/package/bin/actmatch.gz" | sed 's/"minimal_tile": 8/"minimal_tile": 0/' >"$scratch/actmatch"
program actmatch <"$scratch/actmatch"
run env STAGES=speed
expect_code 0
expect '^speed resnet18 B=64 bf16 +partial .*1.000 ms a step.*convolutions lack plans \(no plan of cuDNN for "forward bf16", .*EXECUTION_FAILED\)'
expect '^speed resnet50 B=64 bf16 +partial .*convolutions 0\+0\+106'
expect '^speed squeezenet B=64 bf16 +ok '
expect '^explain resnet18 B=1 bf16 +partial .*none is certified: 300 steps'
finish_case

case="a row that hangs"
fresh_package
program actmatch_bench <<<'sleep 60'
run env STAGES="speed kernels" SPEED_SECONDS=3
expect_code 0
expect '^speed resnet18 B=64 bf16 +partial .*no figure, its [23] s were over'
expect '^speed resnet18 B=1 bf16 +skipped .*time for this stage was over'
run env STAGES="speed kernels" SPEED_SECONDS=4 ROW_SECONDS=1
expect '^speed resnet18 B=1 bf16 +partial .*no figure, its 1 s were over'
finish_case

case="several calls make one table"
fresh_package
program test_gpu <<<'echo "[  FAILED  ] A.One (1 ms)"; exit 1'
run env STAGES="tests kernels"
expect_code 1
cp "$source/tools/bench/peer_ratio.py" "$scratch/package/peer/tools/bench/"
run env STAGES=speed
expect_code 0
expect '^tests test_gpu +failed'
run env STAGES=peers PYTHON="$scratch/path/some-python"
expect '^peer ratio resnet18 B=64 +ok +bf16 32.00 times'
run env STAGES=kernels
for row in 'tests test_gpu +failed' 'speed resnet18 B=1 bf16 +ok' 'peer resnet18 compiled-bf16 +ok' 'kernels +ok'; do expect "^$row"; done
python3 - "$scratch/out/device_check.json" <<'END' || { echo "FAILED: $case: the JSON"; failures=$((failures + 1)); }
import json, sys
report = json.load(open(sys.argv[1]))
names = [row["stage"] for row in report["stages"]]
assert names.count("kernels") == names.count("device") == names.count("tests test_gpu") == 1, names
assert report["passed"] is False and "speed.resnet18.64.bf16.bench" in report and "kernels" in report and "peer.resnet18.compiled" in report, report.keys()
END
(($(find "$scratch/out" -type f | wc -l) <= 8)) || { echo "FAILED: $case: more files than a result may have"; failures=$((failures + 1)); }
echo "commit another" >"$scratch/package/PACKED"
run env STAGES=kernels
if grep -q '^tests' "$scratch/table"; then echo "FAILED: $case: rows of another package"; failures=$((failures + 1)); fi
finish_case

case="libraries that are missing"
fresh_package
cat >"$scratch/path/ldd" <<'END'
#!/bin/bash
[[ "$1" == *libactmatch_cuda.so ]] && echo '        libcublasLt.so.13 => not found'
exit 0
END
chmod +x "$scratch/path/ldd"
run env STAGES=kernels
rm "$scratch/path/ldd"
expect '^programs +partial .*install these libraries or put their folders into LD_LIBRARY_PATH: libactmatch_cuda.so lacks libcublasLt.so.13$'
finish_case

case="some stages only"
fresh_package
run env STAGES="kernels nonsense"
expect_code 1
expect '^kernels +ok'
expect '^nonsense +failed .*no such stage'
if grep -q '^speed' "$scratch/table"; then echo "FAILED: $case: speed"; failures=$((failures + 1)); fi
finish_case

case="not a package"
fresh_package
rm "$scratch/package/PACKED"
run env
expect_code 1
expect 'was not made by'
finish_case

# Suites that racecheck leaves out launch nothing that shares memory.
if command -v python3 >/dev/null; then
  python3 "$source/tests/tools/shared_memory.py" "$source" || failures=$((failures + 1))
fi

if ((failures)); then exit 1; fi
echo "device_check: all cases as expected"
