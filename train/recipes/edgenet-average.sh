#!/usr/bin/env bash
# benchmarks/results/candidates/edgenet-average.onnx: a classifier that is not bundled, the average of three
# trainings with turned and covered faces (docs/experiments.md). It has no prior and no thresholds, and
# was exported before the calibration, with a temperature of 1.
#
# Needs synthesis.sh, and 24 GB of memory. The pictures of the committed file are from an earlier version of
# synthesis.sh with other random draws; its first training had only those with turned faces.
set -euo pipefail
source "$(dirname "$0")/common.sh"

DATA=(--negatives given --data "$FACES" --face-boxes "$FACE_BOXES=eyebrows" --people "$PEOPLE"
  --cache "$RUNS/crops" --relabel "$FACE_LABELS" --oversample '^ilc_=3' --oversample '^webcam_=3'
  --oversample '^(?!.*_(turned|covered)\d+x*\.jpg)=2' --scenes "$RUNS/synthesis/boxes.csv=forehead"
  --test-scenes "$DEV_FOREHEAD" --test-backgrounds "$DEV_BACKGROUNDS" --net edgenet --samples 16000)

# From the bundled classifier without its prior.
git show a4ac016:edge/maskedge/models/edgenet.onnx > "$RUNS/edgenet-plain.onnx"
edge-train classifier "${DATA[@]}" "${ALL_SCENES[@]}" --init "$RUNS/edgenet-plain.onnx" \
  --epochs 18 --patience 18 --learning-rate 1e-3 --out "$RUNS/edgenet5"
for seed in $SEEDS; do
  edge-train classifier "${DATA[@]}" "${ALL_SCENES[@]}" --init "$RUNS/edgenet5/last.ckpt" \
    --epochs 22 --patience 22 --learning-rate 1e-3 --seed "$seed" --out "$RUNS/edgenet6-$seed"
done
edge-train classifier "${DATA[@]}" "${ALL_SCENES[@]}" --init "$RUNS/edgenet6-0/last.ckpt" --epochs 0 \
  --average "$RUNS/edgenet6-1/last.ckpt=0.3333" --average "$RUNS/edgenet6-2/last.ckpt=0.3333" \
  --out "$RUNS/edgenet7"
edge-export "$RUNS/edgenet7/best.ckpt" -o "$RESULTS/candidates/edgenet-average.onnx" --overwrite --data "$FACES"

edge-bench thresholds --scenes "$REFIT_SCENES" --scenes "$MORE_SCENES" --relabel-scenes "$SCENE_LABELS" \
  --held-out --backgrounds "$TRAIN_BACKGROUNDS" --backgrounds "$MORE_BACKGROUNDS" \
  --model "$RESULTS/candidates/edgenet-average.onnx" \
  --json "$RESULTS/candidates/edgenet-average.json" --overwrite
