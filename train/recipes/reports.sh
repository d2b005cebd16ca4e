#!/usr/bin/env bash
# The reports under benchmarks/results, and the tables rendered from them. The recipes of the models
# write the reports of their training; nets.json needs the network of edgenet-l.sh.
set -euo pipefail
source "$(dirname "$0")/common.sh"

edge-train leakage --data "$FACES" --people "$PEOPLE" --epochs 20 --seeds 3 --out "$RUNS/leakage"
cp "$RUNS/leakage/leakage.json" "$RESULTS/leakage.json"

edge-bench nets "$MODELS/edgenet.onnx" "$RUNS/edgenet-l.onnx" \
  --json "$RESULTS/nets.json" --overwrite
edge-bench cold-start --json "$RESULTS/start.json" --overwrite
edge-bench history --json "$RESULTS/history.json" --overwrite
edge-bench live --json "$RESULTS/live.json" --overwrite
edge-bench speed --frames 120 --json "$RESULTS/speed.json" --overwrite
edge-bench accuracy --scenes "${DEV_FOREHEAD%=*}" --backgrounds "$DEV_BACKGROUNDS" \
  --detector haar --detector cnn --unlabelled "$UNLABELLED_FACES" \
  --json "$RESULTS/accuracy.json" --overwrite
edge-bench compare --accuracy "$RESULTS/accuracy.json" --speed "$RESULTS/speed.json" \
  --json "$RESULTS/compare.json" --overwrite
for degrees in 0 15 30 45; do
  edge-bench accuracy --scenes "$REFIT_SCENES" --backgrounds "$TRAIN_BACKGROUNDS" --held-out \
    --rotate "$degrees" --detector haar --detector cnn --json "$RESULTS/rotation/$degrees.json" --overwrite
done
edge-bench tracking --source demo --source "$CLIPS/four_people_putting_masks_on.mp4" \
  --source "$CLIPS/one_man_no_mask.mp4" --source "$CLIPS/one_woman_masked.mp4" \
  --json "$RESULTS/tracking.json" --overwrite
for detector in haar cnn; do
  edge-bench tracking --detector "$detector" --rates 2,5,12.5,25,50 \
    --source "$CLIPS/four_people_putting_masks_on.mp4" \
    --json "$RESULTS/rates-$detector.json" --overwrite
done
# Needs mosquitto, postgresql and a quiet machine; an hour.
edge-bench fleet --json "$RESULTS/fleet.json" --plot docs/fleet-scale.png --overwrite
edge-bench tables
