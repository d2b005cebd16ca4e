# Settings that the recipes share. The recipes source this file.
#
# MASKEDGE_DATA  folder with faces/, scenes/, backgrounds/ and clips/. `faces` is the folder
#                `dataset` of github.com/chandrikadeb7/Face-Mask-Detection (MIT), with pictures over
#                320 px reduced to that size.
# RUNS           folder for trainings (default: runs). It must not contain them yet.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
PATH="$PWD/.venv/bin:$PATH"

: "${MASKEDGE_DATA:=../shared/data}"
RUNS="${RUNS:-runs}"
mkdir -p "$RUNS"
MODELS=edge/maskedge/models
RESULTS=benchmarks/results
SEEDS="0 1 2"

FACES="$MASKEDGE_DATA/faces"
TRAIN_SCENES="$MASKEDGE_DATA/scenes/train.csv"
# The boxes of train.csv begin at the eyebrows. train_refit.csv has the same faces with boxes from
# the forehead, as more.csv has them.
REFIT_SCENES="$MASKEDGE_DATA/scenes/train_refit.csv"
MORE_SCENES="$MASKEDGE_DATA/scenes/more.csv"
TRAIN_BACKGROUNDS="$MASKEDGE_DATA/backgrounds/train"
MORE_BACKGROUNDS="$MASKEDGE_DATA/backgrounds/more"
DEV_SCENES="$MASKEDGE_DATA/scenes/dev.csv"
DEV_FOREHEAD="$MASKEDGE_DATA/scenes/dev_refit.csv=forehead"
DEV_BACKGROUNDS="$MASKEDGE_DATA/backgrounds/dev"
CLIPS="$MASKEDGE_DATA/clips"
# Names of people, and the webcam pictures, which show few people, as one group.
PEOPLE='^(?:\d+_\d+_|(?=webcam_))(?P<person>[a-z]+)_\d+'

# Boxes and corrected labels, committed beside the reports.
FACE_BOXES="$RESULTS/face_boxes.csv"
FACE_LABELS="$RESULTS/face_labels.csv"
SCENE_LABELS="$RESULTS/scene_labels.csv"
UNLABELLED_FACES="$RESULTS/unlabelled_faces.csv"

# All scenes and backgrounds of the present models.
ALL_SCENES=(--scenes "$REFIT_SCENES=forehead" --scenes "$MORE_SCENES=forehead" --relabel-scenes "$SCENE_LABELS"
  --backgrounds "$TRAIN_BACKGROUNDS" --backgrounds "$MORE_BACKGROUNDS")
