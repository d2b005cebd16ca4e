#!/usr/bin/env bash
# The signatures of the bundled models, by the private key and with the number of the release, which is
# higher than any before (docs/release.md): train/recipes/signatures.sh /media/key/release.key 2
# Run it last.
set -euo pipefail
source "$(dirname "$0")/common.sh"

for signature in edgenet.onnx.sig edgenet.int8.onnx.sig edgeface.onnx.sig edgeface.int8.onnx.sig haar.xml.sig; do
  edge-export sign "$MODELS/${signature%.sig}" --key "$1" --release "$2"
done
