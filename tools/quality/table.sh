#!/usr/bin/env bash
# Every row of the quality table for one classifier: recipes `default`, `one-mask` with each generator, and `paper`, at both operating points.
#   tools/quality/table.sh ACTMATCH MODEL.onnx PREPROCESS IMAGES OUT [flags of quality.py or explain]
# IMAGES is a folder of photos with annotations.json. The `paper` recipe takes 880 steps of a U-Net at the full
# size of the picture, which is long on a CPU: start with `--limit 3`.
set -euo pipefail
if (($# < 5)); then
  sed -n 2,5p "$0" >&2
  exit 2
fi
actmatch=$1 model=$2 preprocess=$3 images=$4 out=$5
shift 5
quality=$(dirname "$0")/quality.py
header=yes
row() {  # NAME FLAGS...
  local name=$1
  shift
  "${PYTHON:-python3}" "$quality" "$actmatch" "$model" --preprocess "$preprocess" --images "$images" --out "$out/$name" --quiet "$@" >"$out/$name.log"
  if [[ $header ]]; then grep '^|' "$out/$name.log"; else grep '^|' "$out/$name.log" | tail -n 1; fi
  header=
}
mkdir -p "$out"
for point in "" --robust; do
  row "default$point" --recipe default $point "$@"
  for generator in grid csae unet; do row "one-mask-$generator$point" --recipe one-mask --generator "$generator" $point "$@"; done
  row "paper-unet$point" --recipe paper $point "$@"
done
