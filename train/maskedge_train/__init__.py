"""Training of maskedge's models (workstation only).

The rooms, from low to high. A module imports from its own room and from rooms above its own in this
list, never from a room below it:

    shared      what every training needs: trainer, checkpoints, losses, layers, pixels, folder lock
    data        pictures and labels, audit, near-duplicates, split, crops, negatives, occlusions
    classifier  networks, augmentation, training, calibration, metrics, robustness, split leakage
    detector    network, samples, loss, training, hard examples, evaluation
    cascade     features, boosting, samples, training, OpenCV's file format
    reports     report pages, charts, previews, the table of runs
    cli         the commands of edge-train

`classifier`, `detector` and `cascade` import nothing from one another.
"""
