"""A picture of training crops, before and after augmentation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

from maskedge.errors import UsageError
from maskedge.support.files import write_file
from maskedge.support.text import displayable
from maskedge.types import Image
from maskedge_train.classifier.augment import training_augmentation
from maskedge_train.data.crops import cut_crops
from maskedge_train.data.dataset import DataSet, labels_to_learn
from maskedge_train.shared.face_crop import INPUT_SIZE
from maskedge_train.shared.pixels import to_tensor

_BAR = 18
"""Height in pixels of a row's title."""

_GENERATED = 10
"""Number of generated pictures in the preview."""


def draw_preview(
    dataset: DataSet,
    output: Path,
    augmentation: str,
    *,
    columns: int = 16,
    pictures: int = 300,
    seed: int = 0,
    progress: Callable[[], None] = lambda: None,
) -> list[str]:
    """Draw two rows for each label and origin: crops as on the device, and augmented crops.

    Args:
        dataset: Pictures to draw from.
        output: Picture file to write.
        augmentation: `camera` or `light` (`augment.training_augmentation`).
        columns: Crops per row.
        pictures: Maximum number of pictures to cut.
        seed: Seed of the choice and of the augmentation.
        progress: Called after each picture.

    Returns:
        The names of the rows.

    Raises:
        UsageError: The suffix of `output` is not a picture format.
        OutputError: The file cannot be written.
    """
    random = np.random.default_rng(seed)
    chosen = dataset.take(random.permutation(len(dataset.pictures))[:pictures].tolist())
    parts = np.zeros(len(chosen.pictures), np.int64)
    labels = labels_to_learn(dataset, "auto")
    crops = cut_crops(
        chosen, parts, negatives=True, painted=True, negatives_from_faces=True, generated_backgrounds=_GENERATED, progress=progress
    ).with_labels(labels)
    torch.manual_seed(seed)
    augment = training_augmentation(augmentation)
    rows: dict[str, list[Image]] = {}
    kinds = sorted(
        set(zip(crops.labels.tolist(), crops.origins.tolist(), strict=True)),
        key=lambda kind: (labels.index(kind[0]), kind[1]),
    )
    for label, origin in kinds:
        own = np.flatnonzero((crops.labels == label) & (crops.origins == origin))
        own = random.permutation(own)[:columns]
        changed, _ = augment(to_tensor(crops.patches[own]).float() / 255, torch.from_numpy(crops.places[own]))
        augmented = np.asarray((changed.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy(), np.uint8)
        rows[f"{label}: {origin}"] = [_row(crops.exact[own], columns), _row(augmented, columns)]
    grid = np.concatenate([part for name, pair in rows.items() for part in (_title(name, columns), *pair)])
    try:
        _, content = cv2.imencode(output.suffix, grid)
    except cv2.error as error:
        raise UsageError(f"{output} has no suffix of a picture format: use .png or .jpg.") from error
    write_file(output, content.tobytes())
    return list(rows)


def _row(crops: Image, columns: int) -> Image:
    row = np.full((INPUT_SIZE, columns * INPUT_SIZE, 3), 255, np.uint8)
    for index, crop in enumerate(crops):
        row[:, index * INPUT_SIZE : (index + 1) * INPUT_SIZE] = crop
    return row


def _title(name: str, columns: int) -> Image:
    bar = np.full((_BAR, columns * INPUT_SIZE, 3), 255, np.uint8)
    cv2.putText(bar, displayable(name), (4, _BAR - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (30, 30, 30), 1, cv2.LINE_AA)
    return bar
