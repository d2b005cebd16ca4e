"""A labelled folder of pictures, read once into memory at the size that training needs."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from maskedge.errors import UsageError
from maskedge.pictures import list_pictures, read_picture
from maskedge.types import Image

from .hashing import perceptual_hashes

LABELS = ("with_mask", "without_mask")
"""The labels of a folder data set, in the order of the model's output. Each is the name of a sub-folder."""


@dataclass(frozen=True)
class LabelledPictures:
    """The readable pictures of a data set.

    Attributes:
        root: Folder of the data set.
        names: Path of each of the N pictures, relative to `root`.
        targets: int64 `[N]`, indices into `LABELS`.
        images: uint8 `[N, R, R, 3]`, BGR, whole pictures squeezed to a square.
        sha256: Digest of each file's bytes.
        hashes: uint64 `[N, 2]`, perceptual hash of each picture and of its mirror image.
        unreadable: Name and reason for each file that could not be read.
    """

    root: Path
    names: list[str]
    targets: npt.NDArray[np.int64]
    images: Image
    sha256: list[str]
    hashes: npt.NDArray[np.uint64]
    unreadable: list[tuple[str, str]] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """SHA-256 over the names and the bytes of all files: the same data gives the same digest."""
        lines = sorted(f"{sha}  {name}" for sha, name in zip(self.sha256, self.names, strict=True))
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def load_pictures(root: Path, resolution: int) -> LabelledPictures:
    """Read the data set `root/<label>/*`, squeezing each picture to `resolution` x `resolution`.

    Raises:
        UsageError: A class folder is missing or holds no readable picture.
    """
    files: list[tuple[Path, int]] = []
    for target, label in enumerate(LABELS):
        folder = root / label
        if not folder.is_dir():
            raise UsageError(
                f"{root} has no folder {label!r}: a data set is a folder with one sub-folder a label ({', '.join(LABELS)})."
            )
        files += [(path, target) for path in list_pictures(folder)]

    def read(path: Path) -> tuple[Image, str, npt.NDArray[np.uint64]] | str:
        try:
            picture = read_picture(path)
        except ValueError as error:
            return str(error)
        small = cv2.resize(picture, (resolution, resolution), interpolation=cv2.INTER_AREA)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return np.asarray(small, np.uint8), digest, perceptual_hashes(picture)

    with ThreadPoolExecutor() as pool:
        results = list(pool.map(read, [path for path, _ in files]))
    read_ok = [(path, target, result) for (path, target), result in zip(files, results, strict=True) if not isinstance(result, str)]
    unreadable = [
        (str(path.relative_to(root)), result) for (path, _), result in zip(files, results, strict=True) if isinstance(result, str)
    ]
    targets = np.array([target for _, target, _ in read_ok], np.int64)
    for target, label in enumerate(LABELS):
        if not (targets == target).any():
            raise UsageError(f"{root / label} holds no readable picture: both classes are needed to train.")
    return LabelledPictures(
        root=root,
        names=[path.relative_to(root).as_posix() for path, _, _ in read_ok],
        targets=targets,
        images=np.stack([result[0] for _, _, result in read_ok]),
        sha256=[result[1] for _, _, result in read_ok],
        hashes=np.stack([result[2] for _, _, result in read_ok]),
        unreadable=unreadable,
    )
