#!/usr/bin/env bash
# tools/bench/growth.py on tiny pictures: a drawing of six panels, numbers that grow, a clear word where the programs are missing.
#   test_growth.sh SOURCE_DIR BUILD_DIR
set -euo pipefail
source=$1 build=$2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
die() {
  echo "FAILED: $*"
  exit 1
}
image=$source/examples/images/dotted_disc.png
python3 "$source/tools/bench/growth.py" "$build" --image "$image" --out "$scratch/out" --batches 1,4 --sizes 32,96 --taps 1,3 --at 1,32,3 --steps 12
python3 - "$scratch/out" <<'END' || die "what was written"
import json, sys, xml.dom.minidom
folder = sys.argv[1]
series = json.load(open(folder + "/growth.json"))
assert [p["pictures"] for p in series["pictures"]] == [1, 4]
assert [p["extent"] for p in series["extent"]] == [32, 96]
assert [p["taps"] for p in series["taps"]] == [1, 3]
for name in ("pictures", "extent"):
    first, last = series[name]
    assert 0 < first["memory_mib"] < last["memory_mib"], series
first, last = series["extent"]  # nine times the work
assert 0 < first["classifier_ms"] < last["classifier_ms"] and 0 < first["step_ms"], series
drawing = xml.dom.minidom.parse(folder + "/growth.svg")
assert len(drawing.getElementsByTagName("polyline")) == 9, "a line a figure: two of time and one of memory in each of three"
END
# Without time for more than the first point, that is what is drawn.
python3 "$source/tools/bench/growth.py" "$build" --image "$image" --out "$scratch/short" --batches 1,4 --sizes 32,96 --taps 1,3 --at 1,32,3 --steps 12 \
  --seconds 0.001 >"$scratch/said"
grep -q '3 points left out, for the 0.001 s were over' "$scratch/said" || die "no word of what is left out: $(cat "$scratch/said")"
python3 - "$scratch/short" <<'END' || die "what was written in a short time"
import json, sys, xml.dom.minidom
series = json.load(open(sys.argv[1] + "/growth.json"))
assert [len(series[name]) for name in ("pictures", "extent", "taps")] == [1, 1, 1], series
xml.dom.minidom.parse(sys.argv[1] + "/growth.svg")
END
if python3 "$source/tools/bench/growth.py" "$scratch" --image "$image" --out "$scratch/none" 2>"$scratch/said"; then die "no programs, and no complaint"; fi
grep -q 'there is no actmatch_bench in .*ACTMATCH_BENCH=ON' "$scratch/said" || die "the complaint: $(cat "$scratch/said")"
[[ ! -e "$scratch/none" ]] || die "a folder was left"
echo "growth: all as expected"
