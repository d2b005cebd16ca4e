#!/usr/bin/env bash
# Training pictures with turned and covered faces: $RUNS/synthesis/boxes.csv and the folder beside it.
#
# The landmarks come from MediaPipe 0.10.21, the last release that contains its models. It needs an older
# numpy than maskedge, and therefore an environment of its own.
set -euo pipefail
source "$(dirname "$0")/common.sh"

python3.11 -m venv "$RUNS/mediapipe"
"$RUNS/mediapipe/bin/pip" install mediapipe==0.10.21
"$RUNS/mediapipe/bin/python" train/recipes/face_landmarks.py "$REFIT_SCENES" "$MORE_SCENES" "$RUNS/landmarks.npz"

edge-train synthesise "$RUNS/landmarks.npz" --scenes "$REFIT_SCENES=forehead" --scenes "$MORE_SCENES=forehead" \
  --relabel-scenes "$SCENE_LABELS" --out "$RUNS/synthesis"
