from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from maskedge import UsageError
from maskedge_train.dataset import LABELS, load_pictures
from maskedge_train.hashing import near_pairs, perceptual_hashes
from maskedge_train.split import PARTS, group_copies, split_by_group


@pytest.fixture(scope="module")
def copied(faces_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small data set with copies in it: bytes, another size, another quality, a mirror image; and a file that is none."""
    root = tmp_path_factory.mktemp("copied")
    shutil.copytree(faces_folder, root, dirs_exist_ok=True)
    for label in LABELS:
        original = root / label / "face 0.jpg"
        picture = cv2.imread(str(original))
        assert picture is not None
        shutil.copy(original, root / label / "face 0 copy.jpg")
        cv2.imwrite(str(root / label / "small.png"), cv2.resize(picture, (90, 90), interpolation=cv2.INTER_AREA))
        cv2.imwrite(str(root / label / "rough.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 30])
        cv2.imwrite(str(root / label / "mirror.webp"), picture[:, ::-1])
    (root / LABELS[0] / "broken.jpg").write_bytes(b"rubbish")
    return root


def test_copies_stay_together(copied: Path) -> None:
    pictures = load_pictures(copied, 32)
    assert pictures.unreadable[0][0] == "with_mask/broken.jpg"
    assert len(pictures.names) == 2 * (48 + 4)
    group = dict(zip(pictures.names, group_copies(pictures).tolist(), strict=True))
    for label in LABELS:
        own = {group[f"{label}/{name}"] for name in ("face 0.jpg", "face 0 copy.jpg", "small.png", "rough.jpg", "mirror.webp")}
        assert len(own) == 1
    for seed in range(5):
        split = split_by_group(pictures, seed)
        part_of = {name: part for part, names in split.parts.items() for name in names}
        assert len(part_of) == len(pictures.names)
        parts_of_group: dict[int, set[str]] = {}
        for name, number in group.items():
            parts_of_group.setdefault(number, set()).add(part_of[name])
        assert all(len(parts) == 1 for parts in parts_of_group.values())


def test_split_is_seeded_stratified_and_complete(copied: Path) -> None:
    pictures = load_pictures(copied, 32)
    split = split_by_group(pictures, 1)
    assert split == split_by_group(pictures, 1)
    assert split.digest == split_by_group(pictures, 1).digest != split_by_group(pictures, 2).digest
    rows = split.indices(pictures)
    assert sorted(np.concatenate([rows[part] for part in PARTS]).tolist()) == list(range(len(pictures.names)))
    for part in PARTS:
        assert set(pictures.targets[rows[part]].tolist()) == {0, 1}


def test_split_of_other_data_is_refused(copied: Path, faces_folder: Path) -> None:
    split = split_by_group(load_pictures(copied, 32), 0)
    with pytest.raises(UsageError, match="other data"):
        split.indices(load_pictures(faces_folder, 32))


def test_hash_knows_a_picture_again_and_others_not() -> None:
    random = np.random.default_rng(0)
    pictures = [
        cv2.resize(random.integers(0, 256, (6, 6, 3), np.uint8), (200, 150), interpolation=cv2.INTER_CUBIC) for _ in range(20)
    ]
    dark = cv2.convertScaleAbs(pictures[3], alpha=0.6)
    hashes = np.stack([perceptual_hashes(np.asarray(picture, np.uint8)) for picture in [*pictures, dark, pictures[5][:, ::-1]]])
    assert near_pairs(hashes).tolist() == [[3, 20], [5, 21]]


@pytest.mark.parametrize("make", ["missing", "empty", "unreadable"])
def test_unusable_data_is_said(tmp_path: Path, faces_folder: Path, make: str) -> None:
    shutil.copytree(faces_folder / LABELS[0], tmp_path / LABELS[0])
    if make != "missing":
        (tmp_path / LABELS[1]).mkdir()
    if make == "unreadable":
        (tmp_path / LABELS[1] / "a.jpg").write_bytes(b"")
    with pytest.raises(UsageError, match="without_mask"):
        load_pictures(tmp_path, 32)


def test_real_data_has_the_known_copies(data_dir: Path) -> None:
    pictures = load_pictures(data_dir / "faces", 16)
    split = split_by_group(pictures, 0)
    assert len(pictures.names) == 4094
    assert split.grouped == pytest.approx(548, abs=40)
