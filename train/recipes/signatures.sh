#!/usr/bin/env bash
# The signatures of the bundled models. Run it last, with a release number that is higher than any
# before: KEY=/media/key/release.key RELEASE=2 train/recipes/signatures.sh (docs/release.md).
set -euo pipefail
source "$(dirname "$0")/common.sh"

: "${KEY:?the file of the private key}" "${RELEASE:?the number of the release}"
for model in "$MODELS"/*.onnx "$MODELS"/haar.xml; do
  edge-export sign "$model" --key "$KEY" --release "$RELEASE"
done
