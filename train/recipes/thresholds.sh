#!/usr/bin/env bash
# The prior of incorrect_mask in edgenet.onnx and edgenet.int8.onnx, and the face thresholds and weak
# groups in their cards. Run it once after the recipes of the classifier and of the detectors: the
# thresholds depend on all of them. Then run reports.sh.
#
# Training draws incorrect_mask three times as often as it occurs. On held-out pictures the mean F1 of
# three labels (haar and cnn, float32 and int8) is best with priors of -0.9 and -1.
set -euo pipefail
source "$(dirname "$0")/common.sh"

PICTURES=(--scenes "$REFIT_SCENES" --scenes "$MORE_SCENES" --relabel-scenes "$SCENE_LABELS" --held-out)

annotate() {
  for name in edgenet edgenet.int8; do
    cp "$MODELS/$name.onnx" "$RUNS/$name.plain.onnx"
    edge-export annotate "$RUNS/$name.plain.onnx" -o "$MODELS/$name.onnx" --overwrite "$@"
  done
}
annotate --prior incorrect_mask=-0.9
edge-bench thresholds "${PICTURES[@]}" --backgrounds "$TRAIN_BACKGROUNDS" \
  --backgrounds "$MORE_BACKGROUNDS" --json "$RESULTS/thresholds.json" --overwrite
annotate --thresholds "$RESULTS/thresholds.json"
# At the threshold `balanced` of the annotated file.
edge-bench attributes "${PICTURES[@]}" \
  --test-scenes "${DEV_FOREHEAD%=*}" --attributes "$RESULTS/face_attributes.csv" \
  --json "$RESULTS/attributes.json" --overwrite
# The same pictures with the models of before, which had seen no picture of more.csv.
mkdir -p "$RUNS/before"
for name in haar.xml edgeface.onnx edgenet.onnx; do
  git show "7243467:$MODELS/$name" > "$RUNS/before/$name"
done
edge-bench attributes "${PICTURES[@]}" --test-scenes "${DEV_FOREHEAD%=*}" \
  --detector "$RUNS/before/haar.xml" --detector "$RUNS/before/edgeface.onnx" \
  --model "$RUNS/before/edgenet.onnx" --json "$RESULTS/attributes-before.json" --overwrite
annotate --attributes "$RESULTS/attributes.json"

# Hashes of the pictures that the network was trained on, named after the file. A training that starts
# from it keeps them out of its test part.
rm -f train/maskedge_train/classifier/*.seen.npy
cp "$RUNS/seen.npy" "train/maskedge_train/classifier/$(sha256sum "$MODELS/edgenet.onnx" | cut -c1-12).seen.npy"
