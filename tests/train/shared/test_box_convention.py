from __future__ import annotations

import os
from pathlib import Path

import pytest

from maskedge import UsageError
from maskedge.labelled_boxes import UNLABELLED, LabelledBox, read_boxes, write_boxes
from maskedge_train.shared.box_convention import (
    common_convention,
    correct_labels,
    count_moved,
    move_box,
    read_moved_boxes,
    write_stated_boxes,
)
from maskedge_train.shared.box_file import EYEBROWS, FOREHEAD, BoxFile, parse_box_file

ROWS = [("a.jpg", LabelledBox((10.0, 22.0, 90.0, 122.0), "with_mask"))]
SCENE_LABELS = Path(__file__).parents[3] / "benchmarks" / "results" / "scene_labels.csv"


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("boxes.csv", BoxFile(Path("boxes.csv"))),
        ("boxes.csv=forehead", BoxFile(Path("boxes.csv"), FOREHEAD)),
        ("run=3/boxes.csv=eyebrows", BoxFile(Path("run=3/boxes.csv"), EYEBROWS)),
        ("run=3/boxes.csv", BoxFile(Path("run=3/boxes.csv"))),
        ("=forehead", BoxFile(Path("=forehead"))),
    ],
)
def test_option_states_the_convention(text: str, file: BoxFile) -> None:
    assert parse_box_file(text) == file


def test_file_states_its_convention(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    write_stated_boxes(path, ROWS, None)
    assert BoxFile(path).find_convention() is None
    write_stated_boxes(path, ROWS, FOREHEAD)
    assert BoxFile(path).find_convention() == FOREHEAD
    assert read_boxes(path) == {"a.jpg": [ROWS[0][1]]}
    names = [" blank.jpg", os.fsdecode(b"\xff.jpg"), "口罩.jpg"]
    for convention in (None, FOREHEAD):
        write_stated_boxes(path, [(name, ROWS[0][1]) for name in names], convention)
        assert list(read_boxes(path)) == names
    with pytest.raises(UsageError, match="begin at the forehead, as the file states, not at the eyebrows"):
        BoxFile(path, EYEBROWS).find_convention()


@pytest.mark.parametrize("values", [("forehead", "eyebrows"), ("hair", "hair"), ("forehead", "")])
def test_unclear_column_is_refused(tmp_path: Path, values: tuple[str, str]) -> None:
    path = tmp_path / "boxes.csv"
    rows = "".join(f"a.jpg,1,2,30,40,with_mask,{value}\n" for value in values)
    path.write_text(f"image,xmin,ymin,xmax,ymax,label,convention\n{rows}")
    with pytest.raises(UsageError, match="the same in every row"):
        BoxFile(path).find_convention()


def test_convention_of_a_spreadsheet_and_of_what_is_none(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    text = "image, xmin, ymin, xmax, ymax, label, convention\na.jpg, 1, 2, 30, 40, with_mask, forehead\n"
    path.write_text(text, encoding="utf-8-sig")
    assert BoxFile(path).find_convention() == FOREHEAD
    assert read_moved_boxes(BoxFile(path), FOREHEAD) == {"a.jpg": [LabelledBox((1, 2, 30, 40), "with_mask")]}
    path.write_text(text.replace(", forehead", ""))
    with pytest.raises(UsageError, match="has an empty cell: it must be eyebrows or forehead"):
        BoxFile(path).find_convention()
    path.write_text(text.replace(",", ";"))
    with pytest.raises(UsageError, match="the columns are separated by ';'"):
        BoxFile(path).find_convention()
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UsageError, match=r"boxes\.csv cannot be read \(it is not a regular file\)"):
        BoxFile(path).find_convention()


def test_mixed_conventions_must_be_stated(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.csv" for name in "ab"]
    for path in paths:
        write_boxes(path, ROWS)
    silent = [BoxFile(path) for path in paths]
    brows, head = BoxFile(paths[0], EYEBROWS), BoxFile(paths[1], FOREHEAD)
    assert common_convention(silent) is None
    assert common_convention([brows]) == EYEBROWS
    assert common_convention([brows, head]) == FOREHEAD
    assert common_convention([brows, head], EYEBROWS) == EYEBROWS
    with pytest.raises(UsageError, match=r"b\.csv does not state where its boxes begin.* give b\.csv=eyebrows or b\.csv=forehead"):
        common_convention([brows, silent[1]])
    with pytest.raises(UsageError, match="the model's boxes begin at the forehead"):
        common_convention(silent, FOREHEAD)
    assert count_moved([brows, head], FOREHEAD) == {paths[0]: EYEBROWS}
    assert not count_moved(silent, None)


def test_boxes_move_there_and_back(tmp_path: Path) -> None:
    box = ROWS[0][1].box
    moved = move_box(box, EYEBROWS, FOREHEAD)
    assert moved == (10.0, 10.0, 90.0, 122.0)
    assert move_box(moved, FOREHEAD, EYEBROWS) == box
    assert all(move_box(box, *pair) == box for pair in ((None, FOREHEAD), (FOREHEAD, None), (FOREHEAD, FOREHEAD)))
    write_boxes(tmp_path / "boxes.csv", ROWS)
    assert read_moved_boxes(BoxFile(tmp_path / "boxes.csv", EYEBROWS), FOREHEAD)["a.jpg"][0].box == moved
    assert read_moved_boxes(BoxFile(tmp_path / "boxes.csv"), None)["a.jpg"][0].box == box


def test_labels_of_boxes_drawn_otherwise_are_put_right() -> None:
    left, right = LabelledBox((0, 0, 40, 50), "with_mask"), LabelledBox((35, 0, 75, 50), "with_mask")
    reviewed = [
        LabelledBox((3, 4, 45, 52), "incorrect_mask"),
        LabelledBox((30, 10, 70, 55), UNLABELLED),
        LabelledBox((200, 0, 240, 50), UNLABELLED),
    ]
    assert correct_labels([left, right], reviewed, same_boxes=False) == (
        LabelledBox(left.box, "incorrect_mask"),
        LabelledBox(right.box, UNLABELLED),
        reviewed[2],
    )
    assert correct_labels([left, right], reviewed, same_boxes=True) == (left, right, *reviewed)


def test_committed_corrections_replace_labels_of_the_refitted_boxes(data_dir: Path) -> None:
    """The file states its convention. Faces of the scenes keep their box or get that of the correction."""
    scenes = data_dir / "scenes"
    assert BoxFile(SCENE_LABELS).find_convention() == FOREHEAD
    refitted = read_boxes(scenes / "train_refit.csv") | read_boxes(scenes / "more.csv")
    replaced = 0
    for image, right in read_moved_boxes(BoxFile(SCENE_LABELS), FOREHEAD).items():
        corrected = correct_labels(refitted[image], right, same_boxes=True)
        assert set(right) <= set(corrected)
        assert len(corrected) <= len(refitted[image]) + len(right)
        replaced += len(refitted[image]) + len(right) - len(corrected)
    assert replaced > 50
