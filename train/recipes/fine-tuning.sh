#!/usr/bin/env bash
# The journey of an owner of data: the original data set alone, and 50 pictures of one's own room.
#
# The room is a source that the networks have not seen: smokers with hands at the mouth. Today's bundled
# files have learned from that source, so detector and classifier are those of before. Three seeds draw 50
# pictures each and leave 250 others for the measurement.
set -euo pipefail
source "$(dirname "$0")/common.sh"

mkdir -p "$RESULTS/fine-tuning"
edge-train classifier "$FACES" --out "$RUNS/own-data"
edge-export "$RUNS/own-data/best.ckpt" -o "$RUNS/own-data.onnx"
edge-bench accuracy --scenes "${DEV_FOREHEAD%=*}" --detector haar --detector cnn \
  --model "$MODELS/edgenet.onnx" --model "$RUNS/own-data.onnx"

mkdir -p "$RUNS/room"
ln -sfn "$(realpath "$MASKEDGE_DATA")/scenes/more" "$RUNS/room/more"
python - "$MASKEDGE_DATA/scenes/more.csv" "$RUNS/room" <<'PYTHON'
import csv, random, re, sys
from pathlib import Path

source, out = Path(sys.argv[1]), Path(sys.argv[2])
rows = list(csv.reader(source.open(newline="")))
names = sorted({row[0] for row in rows[1:] if re.match(r"more/smoke2?_", row[0])})
random.Random(0).shuffle(names)
draws = {"test": names[:250]} | {str(seed): random.Random(seed).sample(names[250:], 50) for seed in range(3)}
for name, chosen in draws.items():
    with (out / f"{name}.csv").open("w", newline="") as file:
        csv.writer(file).writerows([rows[0], *(row for row in rows[1:] if row[0] in chosen)])
PYTHON
mkdir -p "$RUNS/before"
for name in edgeface.onnx edgenet.onnx; do
  git show "7243467:$MODELS/$name" > "$RUNS/before/$name"
done
TUNED=(--model "$RUNS/before/edgenet.onnx" --detector "$RUNS/before/edgeface.onnx")
for seed in $SEEDS; do
  edge-train detector "$RUNS/room/$seed.csv" --fine-tune --init "$RUNS/before/edgeface.onnx" --seed "$seed" --out "$RUNS/room-$seed"
  edge-export "$RUNS/room-$seed/detector.ckpt" -o "$RUNS/room-$seed.onnx"
  TUNED+=(--detector "$RUNS/room-$seed.onnx")
done
edge-bench accuracy --scenes "$RUNS/room/test.csv" "${TUNED[@]}" \
  --json "$RESULTS/fine-tuning/room.json" --overwrite
edge-bench accuracy --scenes "$MASKEDGE_DATA/scenes/dev_refit.csv" "${TUNED[@]}" \
  --json "$RESULTS/fine-tuning/elsewhere.json" --overwrite
edge-bench tables
