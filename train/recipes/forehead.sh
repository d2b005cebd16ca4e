#!/usr/bin/env bash
# Candidates for the bundled networks, trained on all scenes with boxes from forehead to chin. They
# are measured, not bundled. Each starts from the bundled network.
#
# train_refit.csv has the rows of train.csv with boxes drawn again; more.csv has other sources.
# --people keeps the webcam pictures of more.csv, which show few people, in one part.
set -euo pipefail
source "$(dirname "$0")/common.sh"

SCENES=(--scenes "$MASKEDGE_DATA/scenes/train_refit.csv=forehead"
  --scenes "$MASKEDGE_DATA/scenes/more.csv=forehead" --relabel-scenes "$SCENE_LABELS=eyebrows"
  --backgrounds "$TRAIN_BACKGROUNDS" --backgrounds "$MASKEDGE_DATA/backgrounds/more"
  --people '^(?:\d+_\d+_|(?=webcam_))(?P<person>[a-z]+)_\d+')

edge-train detector "${SCENES[@]}" --epochs 40 --batches 250 --learning-rate 2e-3 \
  --whole-share 0.5 --init "$MODELS/edgeface.onnx" --out "$RUNS/detector-forehead"
edge-export "$RUNS/detector-forehead/detector.ckpt" -o "$RUNS/edgeface-forehead.onnx"

for seed in $SEEDS; do
  edge-train classifier "${SCENES[@]}" --negatives given --data "$FACES" \
    --face-boxes "$FACE_BOXES=eyebrows" --cache "$RUNS/crops" --relabel "$FACE_LABELS" \
    --oversample '^ilc_=3' --test-scenes "$DEV_FOREHEAD" --test-backgrounds "$DEV_BACKGROUNDS" \
    --net edgenet --init "$MODELS/edgenet.onnx" --epochs 40 --patience 40 --samples 16000 \
    --learning-rate 1e-3 --seed "$seed" --out "$RUNS/edgenet-forehead-$seed"
  edge-export "$RUNS/edgenet-forehead-$seed/best.ckpt" -o "$RUNS/edgenet-forehead-$seed.onnx" \
    --data "$FACES"
done

# The pictures of one source at a time, without training on them.
for source in ilc web haon lfw flickr smoke kary darun; do
  edge-train detector "${SCENES[@]}" --epochs 20 --batches 250 --whole-share 0.5 \
    --hold-out "^${source}2?_" --out "$RUNS/detector-without-$source"
done
