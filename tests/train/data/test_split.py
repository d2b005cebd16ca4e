from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from maskedge import UsageError
from maskedge_train.data.dataset import DataSet, load_dataset
from maskedge_train.data.near_duplicates import find_near_duplicates, find_seen, people_pattern
from maskedge_train.data.split import PARTS, Split, is_held_out, split_dataset, split_held_out
from maskedge_train.shared.box_file import BoxFile
from maskedge_train.shared.hashing import near_pairs, perceptual_hashes

LABELS = ("with_mask", "without_mask")
PEOPLE = people_pattern(r"^\d+_\d+_(?P<person>[a-z]+)_\d+")


@pytest.fixture(scope="module")
def copied(faces_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    """Return the small data set with added copies, a person and damaged files."""
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
        turn = cv2.getRotationMatrix2D((80, 80), 20, 1.0)
        cv2.imwrite(str(root / label / "turned.png"), cv2.warpAffine(picture, turn, (160, 160)))
    for number in (4, 5, 6):
        (root / "without_mask" / f"face {number}.jpg").rename(root / "without_mask" / f"{number}_0_aidai_0014.jpg")
    (root / LABELS[0] / "broken.jpg").write_bytes(b"rubbish")
    return load_dataset(root)


def test_related_pictures_stay_together(copied: DataSet) -> None:
    assert copied.refused[0][0] == "faces/with_mask/broken.jpg"
    assert len(copied.pictures) == 2 * (48 + 5)
    names = [picture.name for picture in copied.pictures]
    numbers = find_near_duplicates(copied.pictures, PEOPLE).groups(len(names)).tolist()
    group = dict(zip(names, numbers, strict=True))
    for label in LABELS:
        files = ("face 0.jpg", "face 0 copy.jpg", "small.png", "rough.jpg", "mirror.webp", "turned.png")
        assert len({group[f"faces/{label}/{name}"] for name in files}) == 1
    assert len({group[f"faces/without_mask/{number}_0_aidai_0014.jpg"] for number in (4, 5, 6)}) == 1
    for seed in range(5):
        split = split_dataset(copied, seed, people=PEOPLE)
        assert split.separated == 0
        parts_of: dict[int, set[str]] = {}
        for part, members in split.parts.items():
            for name in members:
                parts_of.setdefault(group[name], set()).add(part)
        assert sum(map(len, split.parts.values())) == len(names)
        assert all(len(parts) == 1 for parts in parts_of.values())


def test_sources_are_held_out_with_related_pictures(scenes_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(scenes_folder, tmp_path, dirs_exist_ok=True)
    dataset = load_dataset(scenes=[BoxFile(tmp_path / "boxes.csv")], backgrounds=[tmp_path / "backgrounds"])
    tenth = {picture.name for picture in dataset.pictures if is_held_out(picture)}
    pattern = re.compile(r"^1\d?\.")
    source = {picture.name for picture in dataset.pictures if pattern.search(picture.path.name)}
    assert tenth - source
    learned, held, of_source = ({picture.name for picture in part} for part in split_held_out(dataset.pictures, hold_out=pattern))
    assert (held, of_source) == (tenth - source, source)
    assert learned == {picture.name for picture in dataset.pictures} - held - of_source
    split = split_dataset(dataset, 0, hold_out=pattern)
    assert (set(split.parts["test"]), set(split.parts["val"])) == (of_source, held)
    # A copy of a held-out picture is not used for training.
    free = next(name for name in sorted(learned) if name.startswith("backgrounds/"))
    kept = next(name for name in sorted(source) if name.startswith("backgrounds/"))
    shutil.copy(tmp_path / kept, tmp_path / free)
    dataset = load_dataset(scenes=[BoxFile(tmp_path / "boxes.csv")], backgrounds=[tmp_path / "backgrounds"])
    assert {picture.name for picture in split_held_out(dataset.pictures, hold_out=pattern)[0]} == learned - {free}
    assert free in split_dataset(dataset, 0, hold_out=pattern).parts["test"]
    with pytest.raises(UsageError, match="no picture of the scenes and backgrounds has a file name that matches"):
        split_dataset(dataset, 0, hold_out=re.compile("^webcam_"))


def test_random_split_separates_them(copied: DataSet) -> None:
    assert any(split_dataset(copied, seed, by="random").separated > 0 for seed in range(5))


def test_split_is_seeded_stratified_and_survives_a_file(copied: DataSet, tmp_path: Path) -> None:
    split = split_dataset(copied, 1)
    assert split == split_dataset(copied, 1)
    assert split.digest == split_dataset(copied, 1).digest != split_dataset(copied, 2).digest
    parts = split.part_of(copied)
    for index in range(len(PARTS)):
        assert {copied.pictures[row].faces[0].label for row in np.flatnonzero(parts == index)} == set(LABELS)
    split.save(tmp_path / "split.json")
    assert Split.load(tmp_path / "split.json") == split


def test_split_of_other_data_is_refused(copied: DataSet, faces_folder: Path) -> None:
    with pytest.raises(UsageError, match="other data"):
        split_dataset(copied, 0).part_of(load_dataset(faces_folder))


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps({"by": "group"}), "\x00rubbish"])
def test_rubbish_is_no_split(tmp_path: Path, content: str) -> None:
    (tmp_path / "split.json").write_text(content)
    with pytest.raises(UsageError, match="not a split file"):
        Split.load(tmp_path / "split.json")


@pytest.mark.parametrize(
    ("part", "words"),
    [("train", "lacks 1 picture of the data, such as faces/"), ("test", "twice: leave it in one of train, val, test")],
)
def test_a_split_that_was_edited_wrongly_is_refused(copied: DataSet, tmp_path: Path, part: str, words: str) -> None:
    split = split_dataset(copied, 1)
    moved = split.parts["train"][0]
    parts = (
        split.parts | {"train": split.parts["train"][1:]} if part == "train" else split.parts | {part: [moved, *split.parts[part]]}
    )
    replace(split, parts=parts).save(tmp_path / "split.json")
    with pytest.raises(UsageError, match=words):
        Split.load(tmp_path / "split.json").part_of(copied)
    replace(split, grouped="two").save(tmp_path / "split.json")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="whole numbers"):
        Split.load(tmp_path / "split.json")


def test_hash_knows_a_picture_again_and_others_not() -> None:
    random = np.random.default_rng(0)
    pictures = [
        cv2.resize(random.integers(0, 256, (6, 6, 3), np.uint8), (200, 150), interpolation=cv2.INTER_CUBIC) for _ in range(20)
    ]
    dark = cv2.convertScaleAbs(pictures[3], alpha=0.6)
    hashes = np.stack([perceptual_hashes(np.asarray(picture, np.uint8)) for picture in [*pictures, dark, pictures[5][:, ::-1]]])
    assert near_pairs(hashes).tolist() == [[3, 20], [5, 21]]


@pytest.mark.parametrize("pattern", ["(", "^[a-z]+"])
def test_unusable_person_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError, match=r"regular expression|no group"):
        people_pattern(pattern)


@pytest.mark.slow
def test_real_data_has_the_known_duplicates(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = load_dataset(data_dir / "faces")
    duplicates = find_near_duplicates(dataset.pictures, PEOPLE)
    assert len(dataset.pictures) == 4094
    assert sum(map(len, duplicates.people.values())) == pytest.approx(1250, abs=5)
    copies = {index for pair in duplicates.near.tolist() for index in pair}
    assert len(copies) == pytest.approx(548, abs=40)
    # The search takes seconds, so both splits use what it has found.
    monkeypatch.setattr("maskedge_train.data.split.find_near_duplicates", lambda pictures, people: duplicates)
    assert split_dataset(dataset, 0, people=PEOPLE).separated == 0
    assert split_dataset(dataset, 0, by="random", people=PEOPLE).separated > 0.3


def test_pictures_that_the_initial_weights_saw_are_not_in_the_test(copied: DataSet) -> None:
    names = [picture.name for picture in copied.pictures]
    related = find_near_duplicates(copied.pictures, PEOPLE).groups(len(names))
    seen = np.arange(len(names)) % 3 > 0
    hashes = np.array([picture.hashes[0] for picture, known in zip(copied.pictures, seen, strict=True) if known])
    learned = {names[row] for row in np.flatnonzero(np.isin(related, related[seen]))}
    split = split_dataset(copied, 0, people=PEOPLE, seen=hashes)
    assert not learned & set(split.parts["test"])
    assert split.sizes()["test"] > 10
    assert all(split.sizes()[part] for part in PARTS)
    assert learned & set(split_dataset(copied, 0, people=PEOPLE).parts["test"])


def test_a_mirrored_picture_was_seen_too(copied: DataSet) -> None:
    pictures = {picture.name: picture for picture in copied.pictures}
    hashes = pictures["faces/with_mask/face 0.jpg"].hashes[:1]
    mirrored, other = pictures["faces/with_mask/mirror.webp"], pictures["faces/with_mask/face 9.jpg"]
    assert find_seen([mirrored, other], hashes).tolist() == [True, False]
