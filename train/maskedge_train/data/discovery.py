"""Finds out what folders of pictures contain, from the names of their files and sub-folders."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from maskedge.errors import UsageError
from maskedge.labelled_boxes import COLUMNS, find_header_problem, read_boxes
from maskedge.support.pictures import list_pictures
from maskedge.support.text import counted, displayable
from maskedge_train.shared.box_file import BoxFile

from .dataset import FACE_LABELS

BACKGROUND_NAMES = ("background", "backgrounds", "empty", "no_faces", "no_people", "nobody", "rooms", "without_people")
"""Names of folders of pictures without people, or of their parents. Case, spaces and hyphens do not matter."""
_MEANT: Mapping[str, str] = {
    **dict.fromkeys(("mask", "masked", "masks", "mask_on", "withmask", "face_mask", "wearing_mask"), "with_mask"),
    **dict.fromkeys(("no_mask", "nomask", "unmasked", "mask_off", "withoutmask", "non_mask", "not_masked"), "without_mask"),
    **dict.fromkeys(("incorrect", "mask_incorrect", "mask_weared_incorrect", "improper", "wrong_mask"), "incorrect_mask"),
}
"""Names of folders that other data sets use, and the label that they probably mean.

They are suggested, not used: a wrong guess would swap the labels of a model.
"""
_SHOWN = 4

_MIN_FILES, _MIN_PEOPLE, _MIN_EACH = 50, 10, 3
"""Files of one naming scheme, people among them, and median files per person."""
_MAX_SHARE = 0.3
"""Share of the files of a scheme that one person may have. A more frequent word is not a name."""
_NO_NAMES = re.compile(r"aug(mented)?|copy|crop(ped)?|faces?|frame|images?|img|mask(ed)?|photo|pic(ture)?|screenshot|video|webcam")


@dataclass(frozen=True)
class FoundData:
    """Data found in folders.

    Attributes:
        faces: Folder with one sub-folder of pictures per label.
        face_boxes: File with the boxes of `faces`, as `edge-train localise` and trainings write it.
        scenes: Files of labelled boxes.
        backgrounds: Folders of pictures without people.
        people: Pattern that finds a person's name in a file name.
        lines: A line for each finding, to print.
    """

    faces: Path | None = None
    face_boxes: BoxFile | None = None
    scenes: tuple[BoxFile, ...] = ()
    backgrounds: tuple[Path, ...] = ()
    people: str | None = None
    lines: tuple[str, ...] = ()


@dataclass
class _Finding:
    faces: list[Path] = field(default_factory=list)
    face_boxes: list[Path] = field(default_factory=list)
    scenes: list[Path] = field(default_factory=list)
    backgrounds: list[Path] = field(default_factory=list)


def find_data(paths: Iterable[Path]) -> FoundData:
    """Find out what each folder or file contains.

    - A folder with the sub-folders `with_mask` and `without_mask` (optionally `incorrect_mask`) is
      a data set of faces.
    - A CSV file with the columns of labelled boxes, or a folder that contains one, is scenes. If its
      pictures are those of the data set of faces in the same folder, it has the boxes of these faces.
    - A folder of pictures with a name of `BACKGROUND_NAMES` is backgrounds, also inside one of the
      folders above.

    Raises:
        UsageError: A folder is nothing of this, or is ambiguous. The message is one sentence.
    """
    found = _Finding()
    for path in paths:
        if path.is_dir():
            _look_into(path, found)
        else:
            _check_boxes(path)
            found.scenes.append(path)
    if len(found.faces) > 1:
        names = " and ".join(displayable(path) for path in found.faces)
        raise UsageError(f"{names} are two data sets of faces: put the pictures of each label into one folder.")
    faces = found.faces[0] if found.faces else None
    people = find_people([path.name for path in _pictures_of(faces)]) if faces else None
    lines = [
        *([_describe_faces(faces)] if faces else []),
        *(f"scenes: whole pictures with the boxes of {displayable(path)}" for path in found.scenes),
        *(
            f"backgrounds: {counted(len(list_pictures(path)), 'picture')} without people: {displayable(path)}"
            for path in found.backgrounds
        ),
    ]
    if people:
        lines.append(f"people: names in {people.files:,} file names, {people.people} people; the pictures of one stay together")
    scenes = tuple(BoxFile(path) for path in found.scenes)
    face_boxes = BoxFile(found.face_boxes[0]) if found.face_boxes else None
    return FoundData(faces, face_boxes, scenes, tuple(found.backgrounds), people.pattern if people else None, tuple(lines))


def _look_into(folder: Path, found: _Finding) -> None:
    inside = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    labels = [path for path in inside if path.name in FACE_LABELS]
    boxes = [path for path in sorted(folder.glob("*.csv")) if _has_boxes(path)]
    pictures = list_pictures(folder)
    empty = bool(pictures) and not labels and not boxes and _shows_no_people(folder)
    if len(boxes) > 1:
        raise UsageError(
            f"{displayable(folder)} has {len(boxes)} files of boxes ({_names(boxes)}): give the files to train on instead of the "
            f"folder, such as {displayable(boxes[0])}."
        )
    if labels:
        found.faces.append(folder)
    if boxes:
        (found.face_boxes if labels and _are_of_faces(boxes[0]) else found.scenes).append(boxes[0])
    if empty:
        found.backgrounds.append(folder)
    if not (labels or boxes or empty):
        raise UsageError(_explain(folder, inside, pictures))
    found.backgrounds += [path for path in inside if _plain(path.name) in BACKGROUND_NAMES and list_pictures(path)]


def _explain(folder: Path, inside: Sequence[Path], pictures: Sequence[Path]) -> str:
    """Return the sentence for a folder that cannot be used as it is."""
    shown = displayable(folder)
    if known := [(path.name, label) for path in inside if (label := _MEANT.get(_plain(path.name)))]:
        renames = ", ".join(f"{displayable(name)} to {label}" for name, label in known)
        return f"{shown} has folders of labels under other names: rename {renames}; understood are {', '.join(FACE_LABELS)}."
    if folder.name in FACE_LABELS or _plain(folder.name) in _MEANT:
        return f"{shown} holds the pictures of one label: give the folder that contains it and the folder of the other label."
    if nested := [path for path in inside if _is_data(path)]:
        given = " ".join(displayable(path) for path in nested)
        return f"{shown} holds {len(nested)} data sets in sub-folders: give those that belong together, such as: edge-train {given}"
    if tables := sorted(folder.glob("*.csv")):
        return (
            f"{displayable(tables[0])} is no file of labelled boxes (it {find_header_problem(tables[0], COLUMNS)}): its header "
            f"must have the columns {','.join(COLUMNS)}, one row per face."
        )
    if pictures:
        return (
            f"{shown} has {counted(len(pictures), 'picture')} without labels: sort them into sub-folders "
            f"{' and '.join(FACE_LABELS[:2])}, "
            "add a CSV file of boxes, or give the folder as --backgrounds if they show no people."
        )
    if inside:
        return (
            f"{shown} has the sub-folders {_names(inside)}: understood are {', '.join(FACE_LABELS)} (one per label), and "
            f"{', '.join(BACKGROUND_NAMES)} (pictures without people)."
        )
    wanted = " and ".join(FACE_LABELS[:2])
    return f"{shown} contains no pictures: give a folder with the sub-folders {wanted}, or with a CSV file of boxes."


def _is_data(folder: Path) -> bool:
    has_label = any((folder / label).is_dir() for label in FACE_LABELS)
    return has_label or any(map(_has_boxes, folder.glob("*.csv"))) or (_shows_no_people(folder) and bool(list_pictures(folder)))


def _shows_no_people(folder: Path) -> bool:
    own = folder.resolve()
    return _plain(own.name) in BACKGROUND_NAMES or _plain(own.parent.name) in BACKGROUND_NAMES


def _plain(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def _names(paths: Sequence[Path]) -> str:
    names = [displayable(path.name) for path in paths]
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _has_boxes(path: Path) -> bool:
    return find_header_problem(path, COLUMNS) is None


def _are_of_faces(boxes: Path) -> bool:
    """Return True if the pictures of a file of boxes lie in the folders of labels beside it."""
    return all(image.partition("/")[0] in FACE_LABELS for image in read_boxes(boxes))


def _check_boxes(path: Path) -> None:
    if problem := find_header_problem(path, COLUMNS):
        raise UsageError(
            f"{displayable(path)} is no folder and no file of labelled boxes (it {problem}): such a file has the columns "
            f"{','.join(COLUMNS)}."
        )


def _pictures_of(faces: Path) -> list[Path]:
    return [path for label in FACE_LABELS if (faces / label).is_dir() for path in list_pictures(faces / label)]


def _describe_faces(faces: Path) -> str:
    counts = {label: len(list_pictures(faces / label)) for label in FACE_LABELS if (faces / label).is_dir()}
    parts = ", ".join(f"{count:,} {label}" for label, count in counts.items())
    return f"faces: {counted(sum(counts.values()), 'picture')} in {displayable(faces)}: {parts}"


@dataclass(frozen=True)
class People:
    """Names of people in file names.

    Attributes:
        pattern: Pattern with the group `person`.
        files: File names that match it.
        people: Different names.
    """

    pattern: str
    files: int
    people: int


def find_people(names: Iterable[str]) -> People | None:
    """Find the naming scheme whose one word is probably a person's name, as in `0_1_anna_0014.jpg`.

    The scheme consists of numbers and one word, and of separators. Each word must recur, none may
    dominate, and the words must not be common ones such as `image`. With any doubt the result is
    None: a wrong pattern would tie unrelated pictures together.
    """
    schemes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for name in names:
        stem = name.rpartition(".")[0]
        parts = re.split(r"(\d+|[^\W\d_]+)", stem)
        words = [part for part in parts[1::2] if not part.isdecimal()]
        if len(words) != 1 or len(parts) < 5 or _NO_NAMES.fullmatch(words[0].lower()) or len(words[0]) < 3:
            continue
        letters = "[a-z]+" if re.fullmatch("[a-z]+", words[0]) else r"[^\W\d_]+"
        pieces = [
            re.escape(part) if number % 2 == 0 else r"\d+" if part.isdecimal() else f"(?P<person>{letters})"
            for number, part in enumerate(parts)
        ]
        schemes["^" + "".join(pieces)][words[0]] += 1
    likely = [
        People(pattern, words.total(), len(words))
        for pattern, words in schemes.items()
        if words.total() >= _MIN_FILES
        and len(words) >= _MIN_PEOPLE
        and median(words.values()) >= _MIN_EACH
        and max(words.values()) <= _MAX_SHARE * words.total()
    ]
    return max(likely, key=lambda people: people.files, default=None)
