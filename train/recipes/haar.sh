#!/usr/bin/env bash
# edge/maskedge/models/haar.xml: the default detector, a cascade. It takes 5 minutes on one core.
#
# More stages cause fewer false positives but find fewer faces, and the classifier rejects false
# positives. Enter checksum, size and numbers of features and stages in MODELS.json by hand.
set -euo pipefail
source "$(dirname "$0")/common.sh"

edge-train cascade "${ALL_SCENES[@]}" --faces "$FACES" --face-boxes "$FACE_BOXES=eyebrows" \
  --stages 13 --positives 16000 --out "$RUNS/haar"
cp "$RUNS/haar/cascade.xml" "$MODELS/haar.xml"
