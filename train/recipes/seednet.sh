#!/usr/bin/env bash
# The original network. It is trained with the data and labels of edgenet, to compare the networks,
# and with two labels on whole pictures, as in the original project. The second network is
# benchmarks/maskedge_bench/models/seednet.onnx.
set -euo pipefail
source "$(dirname "$0")/common.sh"

for seed in $SEEDS; do
  edge-train classifier --negatives given --data "$FACES" --face-boxes "$FACE_BOXES" \
    --scenes "$TRAIN_SCENES" --backgrounds "$TRAIN_BACKGROUNDS" --people "$PEOPLE" \
    --cache "$RUNS/crops" --relabel "$FACE_LABELS" --distrust 'incorrect_mask=^web_' \
    --oversample '^ilc_=3' --test-scenes "$DEV_SCENES" --test-backgrounds "$DEV_BACKGROUNDS" \
    --net seednet --epochs 16 --patience 16 --learning-rate 1e-3 --precision bf16-mixed \
    --seed "$seed" --out "$RUNS/seednet-$seed"
  cp "$RUNS/seednet-$seed/report.json" "$RESULTS/training/seednet-$seed.json"
done

# Both networks with two labels, on whole pictures with copies kept together. Each network has its
# own recipe.
COPIES=(--data "$FACES" --whole-pictures --negatives none --samples 2866 --batch-size 32
  --no-paint)
edge-train classifier "${COPIES[@]}" --net edgenet --epochs 60 --patience 20 \
  --out "$RUNS/copies-edgenet"
edge-train classifier "${COPIES[@]}" --net seednet --epochs 30 --patience 30 \
  --learning-rate 1e-3 --augment light --mixup 0.3 --out "$RUNS/copies-seednet"
for net in edgenet seednet; do
  cp "$RUNS/copies-$net/report.json" "$RESULTS/copies/$net.json"
done

# --compact stores the large matrix as 8-bit integers with one scale per row: 2.5 MB instead of
# 8.8 MB. ONNX Runtime expands the matrix to float32 when it opens the file, so arithmetic and time
# do not change.
edge-export "$RUNS/copies-seednet/best.ckpt" -o benchmarks/maskedge_bench/models/seednet.onnx \
  --overwrite --data "$FACES" --compact
