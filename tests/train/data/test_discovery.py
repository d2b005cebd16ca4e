"""What folders of pictures contain, found out from names."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from maskedge import UsageError
from maskedge_train.data.discovery import find_data, find_people


def named(template: str, count: int = 60, people: int = 12) -> list[str]:
    names = ["anna", "bela", "carl", "dora", "egon", "fritz", "gina", "hans", "ida", "jan", "karl", "lena"]
    return [template.format(number=number, person=names[number % people]) for number in range(count)]


def test_names_of_people_are_found_in_file_names() -> None:
    found = find_people([*named("0_1_{person}_{number:04}.jpg"), "image 7.jpg"])
    assert found is not None
    assert (found.pattern, found.files, found.people) == (r"^\d+_\d+_(?P<person>[a-z]+)_\d+", 60, 12)
    found = find_people(named("{person}-{number}.png"))
    assert found is not None
    assert found.people == 12


@pytest.mark.parametrize(
    "names",
    [
        named("image_{number}.jpg"),
        named("{person}_image_{number}.jpg"),
        named("{person}_{number}.jpg", people=3),
        named("{person}_{number}.jpg", count=40),
        [f"{chr(97 + number // 26)}{chr(97 + number % 26)}x_{number}.jpg" for number in range(60)],
    ],
    ids=["one word", "two words", "few people", "few files", "no word recurs"],
)
def test_with_any_doubt_no_name_is_found(names: list[str]) -> None:
    assert find_people(names) is None


def test_each_folder_is_taken_for_what_it_contains(faces_folder: Path, scenes_folder: Path) -> None:
    found = find_data([faces_folder, scenes_folder])
    assert found.faces == faces_folder
    assert [file.path for file in found.scenes] == [scenes_folder / "boxes.csv"]
    assert found.backgrounds == (scenes_folder / "backgrounds",)
    assert found.people is None
    text = "\n".join(found.lines)
    assert "faces: 96 pictures" in text
    assert "48 with_mask, 48 without_mask" in text
    assert "backgrounds: 12 pictures without people" in text


def test_a_file_of_boxes_and_a_folder_inside_backgrounds_are_understood(scenes_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(scenes_folder / "backgrounds", tmp_path / "Backgrounds" / "kitchen")
    found = find_data([scenes_folder / "boxes.csv", tmp_path / "Backgrounds" / "kitchen"])
    assert [file.path for file in found.scenes] == [scenes_folder / "boxes.csv"]
    assert found.backgrounds == (tmp_path / "Backgrounds" / "kitchen",)


def test_a_file_of_boxes_from_a_spreadsheet_is_found(scenes_folder: Path, tmp_path: Path) -> None:
    text = (scenes_folder / "boxes.csv").read_text()
    (tmp_path / "boxes.csv").write_text(text.replace(",", ", "), encoding="utf-8-sig")
    # Only the start is read: another table beside it may be large.
    (tmp_path / "large.csv").write_text("a,b\n")
    os.truncate(tmp_path / "large.csv", 10**12)
    os.mkfifo(tmp_path / "pipe.csv")
    assert [file.path for file in find_data([tmp_path]).scenes] == [tmp_path / "boxes.csv"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        ("empty", "contains no pictures"),
        ("other names", "rename mask to with_mask, no_mask to without_mask"),
        ("one label", "holds the pictures of one label"),
        ("nested", "data sets in sub-folders: give those that belong together, such as: edge-train"),
        ("columns", "its header must have the columns image,xmin,ymin,xmax,ymax,label"),
        ("unlabelled", "without labels"),
        ("foreign names", "has the sub-folders con_mascarilla, sin_mascarilla: understood are with_mask"),
        ("two tables", "has 2 files of boxes (boxes.csv, more.csv)"),
        ("two sets", "are two data sets of faces"),
        ("semicolons", "the columns are separated by ';', save it with commas): its header must have the columns"),
        ("pipe", "is no folder and no file of labelled boxes (it cannot be read (it is not a regular file))"),
        ("text", "is no folder and no file of labelled boxes"),
    ],
)
def test_a_folder_that_is_not_understood_is_explained_in_a_sentence(
    faces_folder: Path, scenes_folder: Path, tmp_path: Path, make: str, words: str
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    given = [data]
    renamed = {"other names": ("mask", "no_mask"), "foreign names": ("con_mascarilla", "sin_mascarilla")}
    if make in renamed:
        for label, name in zip(("with_mask", "without_mask"), renamed[make], strict=True):
            shutil.copytree(faces_folder / label, data / name)
    elif make == "one label":
        given = [faces_folder / "with_mask"]
    elif make == "nested":
        shutil.copytree(faces_folder, data / "own faces")
    elif make == "columns":
        (data / "boxes.csv").write_text("file,x,y,w,h,class\na.jpg,1,2,3,4,mask\n")
    elif make == "semicolons":
        (data / "boxes.csv").write_text("image;xmin;ymin;xmax;ymax;label\na.jpg;1;2;3;4;with_mask\n")
    elif make == "pipe":
        os.mkfifo(data / "pipe.csv")
        given = [data / "pipe.csv"]
    elif make == "unlabelled":
        shutil.copy(faces_folder / "with_mask" / "face 1.jpg", data)
    elif make == "two tables":
        for name in ("boxes.csv", "more.csv"):
            shutil.copy(scenes_folder / "boxes.csv", data / name)
    elif make == "two sets":
        shutil.copytree(faces_folder, data, dirs_exist_ok=True)
        given = [faces_folder, data]
    elif make == "text":
        (data / "notes.txt").write_text("hello")
        given = [data / "notes.txt"]
    with pytest.raises(UsageError) as caught:
        find_data(given)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_boxes_of_faces_beside_their_folders_are_not_scenes(faces_folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(faces_folder, data)
    (data / "face_boxes.csv").write_text("image,xmin,ymin,xmax,ymax,label\nwith_mask/face 0.jpg,1,2,30,40,with_mask\n")
    found = find_data([data])
    assert found.scenes == ()
    assert found.face_boxes is not None
    assert found.face_boxes.path == data / "face_boxes.csv"
