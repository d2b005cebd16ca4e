#!/usr/bin/env bash
# edge/maskedge/models/edgeface.onnx: the detector network, `--detector cnn`.
#
# It was trained in five runs, each with the classifier that was bundled at that time. A repetition
# therefore gives other weights. Runs 1 to 3 rotated faces by at most 20 degrees and hid no part of
# them. Runs 1 and 2 used wider face boxes than the committed ones. Runs 1 to 4 used boxes that begin
# at the eyebrows, with corrected labels in the same convention. Run 5 uses all scenes, with boxes
# from the forehead.
set -euo pipefail
source "$(dirname "$0")/common.sh"

DATA=(--scenes "$TRAIN_SCENES=eyebrows" --faces "$FACES" --face-boxes "$FACE_BOXES=eyebrows"
  --backgrounds "$TRAIN_BACKGROUNDS")

edge-train detector "${DATA[@]}" --epochs 80 --batches 105 --learning-rate 3e-3 \
  --out "$RUNS/detector"
# Classifier trainings and later runs use the detections of the bundled network.
edge-export "$RUNS/detector/detector.ckpt" -o "$MODELS/edgeface.onnx" --overwrite

edge-train detector "${DATA[@]}" --epochs 64 --batches 250 --learning-rate 3e-3 --whole-share 0.5 \
  --init "$RUNS/detector/detector.ckpt" --out "$RUNS/detector2"
edge-export "$RUNS/detector2/detector.ckpt" -o "$MODELS/edgeface.onnx" --overwrite

edge-train detector "${DATA[@]}" --epochs 60 --batches 250 --learning-rate 3e-3 --whole-share 0.5 \
  --init "$RUNS/detector2/detector.ckpt" --out "$RUNS/detector3"
edge-export "$RUNS/detector3/detector.ckpt" -o "$RUNS/edgeface3.onnx"

edge-train detector "${DATA[@]}" --relabel-scenes "$SCENE_LABELS" --epochs 44 --batches 250 \
  --learning-rate 2e-3 --whole-share 0.5 --init "$RUNS/edgeface3.onnx" --out "$RUNS/detector4"
edge-export "$RUNS/detector4/detector.ckpt" -o "$RUNS/edgeface4.onnx"

edge-train detector "${ALL_SCENES[@]}" --faces "$FACES" --face-boxes "$FACE_BOXES=eyebrows" \
  --epochs 44 --batches 250 --learning-rate 2e-3 --whole-share 0.5 --init "$RUNS/edgeface4.onnx" \
  --out "$RUNS/detector5"
edge-export "$RUNS/detector5/detector.ckpt" -o "$MODELS/edgeface.onnx" --overwrite \
  --licence 'faces: MIT (github.com/chandrikadeb7/Face-Mask-Detection)' \
  --licence 'scenes and backgrounds: free to use, most not to redistribute'
cp "$RUNS/detector5/report.json" "$RESULTS/training/edgeface.json"

# The bundled int8 file.
edge-export int8 "$MODELS/edgeface.onnx" -o "$MODELS/edgeface.int8.onnx" --overwrite "${ALL_SCENES[@]}"
