#!/usr/bin/env bash
# edge/maskedge/sources/demo_faces.jpg: the composite faces of the built-in clip. Frame 230 of the
# clip, as `make run` writes it to out/demo.mp4, is docs/demo.jpg.
set -euo pipefail
source "$(dirname "$0")/common.sh"

edge-train composites --data "$FACES" -o edge/maskedge/sources/demo_faces.jpg --overwrite
make run
