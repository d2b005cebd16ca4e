#!/usr/bin/env bash
# The larger classifier edgenet-l, trained from the bundled edgenet. It is measured, not bundled.
set -euo pipefail
source "$(dirname "$0")/common.sh"

for seed in $SEEDS; do
  edge-train classifier --negatives given --data "$FACES" --face-boxes "$FACE_BOXES=eyebrows" \
    --scenes "$TRAIN_SCENES=eyebrows" --relabel-scenes "$SCENE_LABELS" --backgrounds "$TRAIN_BACKGROUNDS" \
    --people "$PEOPLE" --cache "$RUNS/crops" --relabel "$FACE_LABELS" --oversample '^ilc_=3' \
    --test-scenes "$DEV_SCENES=eyebrows" --test-backgrounds "$DEV_BACKGROUNDS" --net edgenet-l \
    --init "$MODELS/edgenet.onnx" --epochs 60 --patience 60 --samples 16000 --learning-rate 1e-3 \
    --seed "$seed" --out "$RUNS/edgenet-l-fine-tuned-$seed"
  cp "$RUNS/edgenet-l-fine-tuned-$seed/report.json" \
    "$RESULTS/training/edgenet-l-fine-tuned-$seed.json"
done
edge-export "$RUNS/edgenet-l-fine-tuned-0/best.ckpt" -o "$RUNS/edgenet-l.onnx"
