"""Training of maskedge's models (workstation only).

The packages, from low to high. A module imports only from its own package and from packages above
it in this list:

    shared      trainer, checkpoints, losses, layers, pixels and folder lock of all trainings
    data        pictures and labels, audit, near-duplicates, split, crops, negatives, occlusions
    classifier  networks, augmentation, training, calibration, metrics, robustness, split leakage
    detector    network, samples, loss, training, hard examples, evaluation
    cascade     features, boosting, samples, training, OpenCV's file format
    reports     report pages, charts, previews, the table of runs
    cli         the commands of edge-train

`classifier`, `detector` and `cascade` do not import one another.
"""
