"""CSV files of boxes: what spreadsheets write, and rows that are refused with their line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from maskedge import UsageError
from maskedge.labelled_boxes import (
    COLUMNS,
    LabelledBox,
    find_header_problem,
    is_held_out_name,
    read_boxes,
    read_labels,
    write_boxes,
)

HEADER = "image,xmin,ymin,xmax,ymax,label\n"
ROW = "a.jpg,1.5,2,30,40,with_mask\n"
BOXES = {"a.jpg": [LabelledBox((1.5, 2, 30, 40), "with_mask")]}


@pytest.mark.parametrize(
    "content",
    [
        (HEADER + ROW).encode(),
        b"\xef\xbb\xbf" + (HEADER + ROW).encode(),
        (HEADER + ROW).replace(",", ", ").encode(),
        (HEADER + ROW).replace("\n", "\r\n").encode(),
        (HEADER + ROW).replace("\n", "\r").encode(),
        (HEADER + "\n,,,,,\n" + ROW + "\n").encode(),
        (HEADER + '"a.jpg","1.5","2","30","40","with_mask",\n').encode(),
        b'note,image,xmin,ymin,xmax,ymax,label\n"caf\xe9, at noon",a.jpg,1.5,2,30,40,with_mask',
    ],
    ids=["plain", "byte order mark", "blanks", "Windows", "old Mac", "empty rows", "quotes", "other column"],
)
def test_what_spreadsheets_write_is_read(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "boxes.csv"
    path.write_bytes(content)
    assert read_boxes(path) == BOXES
    assert read_labels(path) == {"a.jpg": "with_mask"}
    assert find_header_problem(path, COLUMNS) is None


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("a.jpg,1,2,inf,4,with_mask", "xmax is inf: enter pixels, a finite number"),
        ("a.jpg,nan,2,3,4,with_mask", "xmin is nan: enter pixels"),
        ("a.jpg,1,-1e308,3,4,with_mask", "ymin is -1e308: enter pixels"),
        ("a.jpg,1,2,1000001,4,with_mask", "xmax is 1000001: enter pixels"),
        (f"a.jpg,1,2,3,{'9' * 5000},with_mask", "(5,000 characters): enter pixels"),
        ("a.jpg,1,2,three,4,with_mask", "xmax is three, which is not a number: enter pixels, such as 10.5"),
        ('a.jpg,1,2,"3,5",4,with_mask', "xmax is 3,5, which is not a number: write it with a decimal point"),
        ("a.jpg,1,5,2,3,5,4,with_mask", "it has 8 cells, and the header has 6: write numbers with a decimal point"),
        ("a.jpg,1,,3,4,with_mask", "ymin is empty"),
        ("a.jpg,100,2,10,4,with_mask", "xmin is 100, and xmax is 10: xmax must be greater"),
        ("a.jpg,1,2,3,2,with_mask", "ymin is 2, and ymax is 2: ymax must be greater"),
        ("a.jpg,1,2,3,4, ", "label is empty"),
        (",1,2,3,4,with_mask", "image is empty: fill it in, or delete the line"),
        ("a.jpg,1,2", "it has no xmax, ymax, label (3 of 6 cells): complete or delete it"),
        ('"a.jpg,1,2,3,4,with_mask', "a quote is not closed"),
        ('a.jpg,1,2,3,4,"with_mask', "a quote is not closed"),
        (f'"{200_000 * "a"}', "it is not CSV (field larger than field limit (131072)): check its quotes"),
    ],
)
def test_a_row_that_is_not_valid_is_named_with_its_line(tmp_path: Path, row: str, words: str) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text(f'{HEADER}{ROW}"b\nb.jpg",1,2,3,4,with_mask\n\n{row}\n{ROW}')
    with pytest.raises(UsageError) as refused:
        read_boxes(path)
    assert str(refused.value).startswith(f"{path}, line 6: ")
    assert words in str(refused.value)
    assert len(str(refused.value)) < len(str(path)) + 200
    assert "\n" not in str(refused.value)


def test_boxes_outside_of_the_picture_and_any_label_are_read(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    rows = [("a.jpg", LabelledBox((-1e6, -3.5, 1e6, 0.0), "unlabelled")), (" b, c.jpg", LabelledBox((0, 0, 0.1, 0.1), "-"))]
    write_boxes(path, rows)
    assert read_boxes(path) == {image: [box] for image, box in rows}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ((HEADER + ROW).replace(",", ";").encode(), "the columns are separated by ';', save it with commas."),
        ((HEADER + ROW).replace(",", "\t").encode(), "the columns are separated by tabs, save it with commas."),
        ((HEADER + ROW).encode("utf-16"), " is UTF-16: save it as CSV UTF-8."),
        ((HEADER + ROW).encode("utf-16-le"), " is not text: save it as CSV UTF-8."),
        (HEADER.encode() + 20_000 * ROW.encode() + b"\0", " is not text: save it as CSV UTF-8."),
        (b"fa\xe7ade,xmin,ymin,xmax,ymax,label\n", " has no column image: it is not UTF-8, save it as CSV UTF-8."),
        (b"image,label\n", " has no column xmax, xmin, ymax, ymin: its header must have image,xmin,ymin,xmax,ymax,label."),
        (b"\xef\xbb\xbf", " is empty: it needs the columns image,xmin,ymin,xmax,ymax,label."),
        (b"\n", " is empty: it needs the columns image,xmin,ymin,xmax,ymax,label."),
        (HEADER.encode(), " has no labelled box."),
        (HEADER[:-1].encode() + b',"note\n' + ROW.encode(), ", line 1: a quote is not closed: close or remove it."),
        (b'"' + 60_000 * b"a\n", " has no column image, label, xmax, xmin, ymax, ymin: its header must have"),
    ],
)
def test_another_kind_of_file_is_explained(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "boxes.csv"
    path.write_bytes(content)
    with pytest.raises(UsageError) as refused:
        read_boxes(path)
    assert str(refused.value).startswith(str(path))
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_names_that_are_not_utf8_keep_their_bytes(tmp_path: Path) -> None:
    """A name of other bytes exists on Linux. A spreadsheet in another encoding writes a name that does not."""
    path, name = tmp_path / "boxes.csv", os.fsdecode(b"caf\xe9.jpg")
    write_boxes(tmp_path / "written.csv", [("a.jpg", BOXES["a.jpg"][0])])
    path.write_bytes(HEADER.encode() + ROW.encode().replace(b"a.jpg", b"caf\xe9.jpg"))
    assert list(read_boxes(path)) == [name]
    (tmp_path / "café.jpg").touch()
    with pytest.raises(
        UsageError, match=r"line 2: image is café\.jpg in an encoding that is not UTF-8: save the file as CSV UTF-8"
    ):
        read_boxes(path)
    (tmp_path / name).touch()
    assert list(read_boxes(path)) == [name]
    assert isinstance(is_held_out_name(f"scenes/{name}"), bool)


def test_pipes_and_folders_are_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    for name, words in (("pipe.csv", "it is not a regular file"), ("", "Is a directory"), ("none.csv", "No such file")):
        with pytest.raises(UsageError, match=rf"cannot be read \({words}.*\): give a CSV file"):
            read_boxes(tmp_path / name)
        assert words in str(find_header_problem(tmp_path / name, COLUMNS))
