#!/usr/bin/env bash
# How far the figures travel: cascade and classifier trained without a source, measured on pictures of
# it, beside the same short training with all sources. The detector network is the bundled one, which
# has seen all sources. Takes an hour on two cores.
set -euo pipefail
source "$(dirname "$0")/common.sh"

SHARED=(--negatives given --data "$FACES" --face-boxes "$FACE_BOXES=eyebrows" --people "$PEOPLE"
  --relabel "$FACE_LABELS" --oversample '^ilc_=3' --oversample '^webcam_=3' --net edgenet
  --samples 16000 --epochs 16 --patience 16)
mkdir -p "$RESULTS/sources"

train() {
  edge-train classifier "${SHARED[@]}" "${ALL_SCENES[@]}" --out "$scenes/classifier" "$@"
}

for source in none ilc web; do
  scenes="$RUNS/sources-$source"
  mkdir -p "$scenes"
  ln -sfn "$(realpath "$(dirname "$REFIT_SCENES")")/train" "$scenes/train"
  ln -sfn "$(realpath "$(dirname "$REFIT_SCENES")")/more" "$scenes/more"
  for file in "$REFIT_SCENES" "$MORE_SCENES" "$SCENE_LABELS"; do
    grep -v "/${source}_" "$file" > "$scenes/$(basename "$file")"
  done
  if [[ $source == none ]]; then train; else train --hold-out "^${source}_"; fi
  edge-export "$scenes/classifier/best.ckpt" -o "$scenes/classifier.onnx" --data "$FACES"
  edge-train cascade --scenes "$scenes/train_refit.csv=forehead" --scenes "$scenes/more.csv=forehead" \
    --relabel-scenes "$scenes/scene_labels.csv" --backgrounds "$TRAIN_BACKGROUNDS" --backgrounds "$MORE_BACKGROUNDS" \
    --faces "$FACES" --face-boxes "$FACE_BOXES=eyebrows" --stages 13 --positives 16000 --out "$scenes/cascade"
  # Held-out pictures of all sources, and dev_refit.csv, whose pictures are of the kind of ilc.
  edge-bench attributes --scenes "$REFIT_SCENES" --scenes "$MORE_SCENES" --relabel-scenes "$SCENE_LABELS" \
    --held-out --test-scenes "${DEV_FOREHEAD%=*}" --detector "$scenes/cascade/cascade.xml" --detector cnn \
    --model "$scenes/classifier.onnx" --json "$RESULTS/sources/$source.json" --overwrite
done
