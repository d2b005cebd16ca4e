#!/usr/bin/env bash
# edge/maskedge/models/haar.xml: the default detector, a cascade. It takes 10 minutes on one core.
#
# Enter its checksum, size and numbers of features and stages in MODELS.json by hand.
set -euo pipefail
source "$(dirname "$0")/common.sh"

edge-train cascade --scenes "$TRAIN_SCENES" --faces "$FACES" --face-boxes "$FACE_BOXES" \
  --backgrounds "$TRAIN_BACKGROUNDS" --stages 16 --out "$RUNS/haar"
cp "$RUNS/haar/cascade.xml" "$MODELS/haar.xml"
