from __future__ import annotations

import json
import os
import re
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from maskedge.support.text import displayable
from maskedge.types import Image
from maskedge_train.cli.audit import audit
from maskedge_train.data.audit import content_format, expected_seen, find_damage, suffix_format

PEOPLE = r"^\d+_\d+_(?P<person>[a-z]+)_\d+"
ODD = "<b>odd & [1] é.jpg_1088wx1632h"
NO_UTF8 = os.fsdecode(b"caf\xe9.jpg")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(audit, [str(argument) for argument in arguments])


def made_up(seed: int, side: int = 160) -> Image:
    blocks = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return np.asarray(cv2.resize(blocks, (side, side), interpolation=cv2.INTER_CUBIC), np.uint8)


def encoded(picture: Image, suffix: str = ".jpg") -> bytes:
    return cv2.imencode(suffix, picture)[1].tobytes()


def png_of_claimed_size(width: int, height: int) -> bytes:
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(1000))),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


@pytest.fixture(scope="module")
def damaged(faces_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write three unrelated faces per label, copies of all kinds, and damaged files."""
    root = tmp_path_factory.mktemp("audit") / "data [1] é"
    masked, bare = root / "with_mask", root / "without_mask"
    for folder in (masked, bare):
        folder.mkdir(parents=True)
        for number in range(3):
            shutil.copy(faces_folder / folder.name / f"face {number}.jpg", folder)
    faces = [np.asarray(cv2.imread(str(masked / f"face {number}.jpg")), np.uint8) for number in range(3)]
    whole = (masked / "face 0.jpg").read_bytes()
    turned = cv2.warpAffine(faces[2], cv2.getRotationMatrix2D((79.5, 79.5), 20, 1), (160, 160))
    contents: dict[Path, bytes] = {
        masked / "face 0 copy.jpg": whole,
        bare / "same.jpg": whole,
        masked / "small.png": encoded(np.asarray(cv2.resize(faces[1], (90, 90), interpolation=cv2.INTER_AREA), np.uint8), ".png"),
        masked / "mirror.webp": encoded(faces[1][:, ::-1], ".webp"),
        masked / "augmented_1.jpg": encoded(np.asarray(turned, np.uint8)),
        masked / "Augmented lonely.jpg": encoded(made_up(1)),
        masked / ODD: encoded(made_up(2)),
        masked / NO_UTF8: encoded(made_up(3)),
        masked / "wrong.png": encoded(made_up(4)),
        masked / "tiny.png": encoded(made_up(5, side=40), ".png"),
        masked / "no suffix": encoded(made_up(6), ".png"),
        masked / "0_0_anna_0001.jpg": encoded(made_up(7)),
        bare / "0_0_anna_0002.jpg": encoded(made_up(8)),
        bare / "0_0_bert_0001.jpg": encoded(made_up(9)),
        masked / "empty.jpg": b"",
        masked / "cut.jpg": whole[: len(whole) // 2],
        masked / "huge.png": png_of_claimed_size(60000, 60000),
        masked / "text.jpg": b"no picture at all",
        masked / os.fsdecode(b"\xe9 notes.txt"): b"of no interest",
        root / "readme.txt": b"of no interest",
    }
    for path, content in contents.items():
        path.write_bytes(content)
    for folder in ("others", "with_mask/nested", ".hidden"):
        (root / folder).mkdir()
    return root


@pytest.fixture(scope="module")
def outputs(damaged: Path) -> tuple[Result, dict[str, Any], str]:
    json_file, html_file = damaged.parent / "audit.json", damaged.parent / "audit.html"
    result = run(damaged, "--people", PEOPLE, "--json", json_file, "--html", html_file)
    assert result.exit_code == 0, result.output
    return result, json.loads(json_file.read_text("utf-8")), html_file.read_text("utf-8")


@pytest.fixture(scope="module")
def report(outputs: tuple[Result, dict[str, Any], str]) -> dict[str, Any]:
    return outputs[1]


def groups(part: dict[str, Any]) -> list[set[str]]:
    return [set(group) for group in part["groups"]]


def test_counts_and_classes(report: dict[str, Any]) -> None:
    assert report["classes"] == {
        "others": {"files": 0, "readable": 0},
        "with_mask": {"files": 18, "readable": 14},
        "without_mask": {"files": 6, "readable": 6},
    }
    assert report["pictures"] == 20
    assert report["findings"] == [
        "others has no pictures.",
        "others is not a label of the training (with_mask, without_mask, incorrect_mask).",
    ]
    assert set(report["ignored"]) == {"readme.txt", ".hidden/", "with_mask/nested/", r"with_mask/\udce9 notes.txt"}


def test_unreadable_files_have_a_reason(report: dict[str, Any]) -> None:
    assert {item["name"]: item["reason"] for item in report["unreadable"]} == {
        "with_mask/empty.jpg": "is empty (0 bytes)",
        "with_mask/cut.jpg": "is cut short: its end is missing",
        "with_mask/huge.png": "has a header that claims 60,000 x 60,000 pixels",
        "with_mask/text.jpg": "is not a picture",
    }


def test_copies(report: dict[str, Any]) -> None:
    same = {"with_mask/face 0.jpg", "with_mask/face 0 copy.jpg", "without_mask/same.jpg"}
    assert groups(report["identical"]) == [same]
    assert report["identical"]["copies"] == 2
    assert groups(report["near"]) == [{"with_mask/face 1.jpg", "with_mask/small.png", "with_mask/mirror.webp"}]
    assert groups(report["rotated"]) == [{"with_mask/face 2.jpg", "with_mask/augmented_1.jpg"}]
    assert [(item["kind"], set(item["names"])) for item in report["conflicts"]] == [("identical", same)]


def test_augmented_by_name(report: dict[str, Any]) -> None:
    assert report["augmented"] == {
        "pattern": "(?i)^augmented",
        "pictures": 2,
        "with_original": 1,
        "names": ["with_mask/Augmented lonely.jpg", "with_mask/augmented_1.jpg"],
        "without_original": ["with_mask/Augmented lonely.jpg"],
    }


def test_people(report: dict[str, Any]) -> None:
    assert report["people"] == {
        "people": 2,
        "pictures": 3,
        "in_several_classes": 1,
        "names": {
            "anna": ["with_mask/0_0_anna_0001.jpg", "without_mask/0_0_anna_0002.jpg"],
            "bert": ["without_mask/0_0_bert_0001.jpg"],
        },
    }


def test_sizes_and_suffixes(report: dict[str, Any]) -> None:
    sizes = report["sizes"]
    assert sizes["width"] == {"least": 40, "q1": 160, "median": 160, "q3": 160, "greatest": 160}
    assert sizes["smallest"] == {"name": "with_mask/tiny.png", "size": [40, 40]}
    assert sizes["under_64"] == 1
    assert sorted((item["name"], item["named"], item["content"]) for item in report["mismatches"]) == [
        ("with_mask/no suffix", None, "png"),
        ("with_mask/wrong.png", "png", "jpeg"),
    ]


def test_share_seen_in_training(report: dict[str, Any]) -> None:
    # 4 of 20 pictures are drawn. Two have one related picture, six have two; the two of anna are
    # another pair.
    pair, three = 1 - 3 / 19, 1 - 3 / 19 * 2 / 18
    assert report["random_split"] == {
        "test_share": 0.2,
        "seen": pytest.approx((2 * pair + 6 * three) / 20, abs=1e-4),
        "seen_with_people": pytest.approx((4 * pair + 6 * three) / 20, abs=1e-4),
    }


@pytest.mark.parametrize(
    ("numbers", "share", "expected"),
    [([], 0.2, 0), ([0, 0], 0.2, 0), ([0, 1, 2], 0.5, 0), ([0, 0, 1, 2, 3], 0.4, 0.3), ([7, 7, 7], 1, 0), ([7, 7, 7], 0.34, 1)],
)
def test_expected_seen(numbers: list[int], share: float, expected: float) -> None:
    assert expected_seen(np.array(numbers, np.int64), share) == pytest.approx(expected)


def test_terminal(outputs: tuple[Result, dict[str, Any], str]) -> None:
    text = outputs[0].stdout
    for line in (
        r"data \[1\] é: 20 pictures, 3 labels",
        r"with_mask +18 +14",
        r"Unreadable files +4",
        r"Byte-identical +3 pictures in 1 group, 2 of them copies",
        r"Augmented by name +2, of which 1 have their original in the data",
        r"People by name +2 with 3 pictures, 1 with several labels",
        r"others has no pictures\.",
    ):
        assert re.search(line, text), line
    assert "empty.jpg: is empty (0 bytes)" in text
    assert not outputs[0].stderr


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.titles: list[str] = []
        self.words: list[str] = []
        self.images = 0
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.images += tag == "img"
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self.tags and self.tags[-1] == "h2":
            self.titles.append(data)
            self.tags.append("")


def test_page(outputs: tuple[Result, dict[str, Any], str]) -> None:
    page = Page()
    page.feed(outputs[2])
    assert page.titles == [
        "Summary",
        "Label conflicts: 1",
        "Unreadable files: 4",
        "Byte-identical: 1",
        "Near-identical or mirrored: 1",
        "Rotated copies: 1",
        "Augmented by name, original not found: 1",
        "People: 2",
        "Small pictures: 1",
        "Suffix and content differ: 2",
        "Ignored: 4",
    ]
    assert page.images == 3 + 3 + 3 + 2 + 1 + 3 + 1
    assert "b" not in page.tags


def test_odd_names_everywhere(tmp_path: Path, damaged: Path) -> None:
    for label in ("label 0", os.fsdecode(b"label \xe9")):
        (tmp_path / label).mkdir()
        for name in (ODD, NO_UTF8):
            shutil.copy(damaged / "with_mask" / name, tmp_path / label)
    json_file, html_file = tmp_path / "a b.json", tmp_path / "ä.html"
    result = run(tmp_path, "--json", json_file, "--html", html_file)
    assert result.exit_code == 0, result.output
    assert "with_mask" in result.stdout
    assert r"label \udce9/caf\udce9.jpg" in result.stdout
    content = html_file.read_text("utf-8")
    assert "<b>" not in content
    assert "&lt;b&gt;odd &amp; [1] é.jpg_1088wx1632h" in content
    assert r"label \udce9/caf\udce9.jpg" in content
    assert {r"label \udce9/" + ODD, "label 0/" + ODD} in groups(json.loads(json_file.read_text("utf-8"))["identical"])


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert displayable("a\x1b[31m\nb é") == r"a\x1b[31m\nb é"


def test_many_groups_are_cut(tmp_path: Path) -> None:
    for label in ("with_mask", "without_mask"):
        (tmp_path / label).mkdir()
    for number in range(43):
        content = encoded(made_up(100 + number, side=70))
        for copy in range(2 if number else 12):
            (tmp_path / "with_mask" / f"{number} {copy}.jpg").write_bytes(content)
    html_file = tmp_path / "audit.html"
    assert run(tmp_path, "--html", html_file).exit_code == 0
    page = Page()
    page.feed(html_file.read_text("utf-8"))
    assert "Byte-identical: 43" in page.titles
    assert "And 3 more groups." in page.words
    assert "And 4 more pictures" in page.words
    assert page.images == 8 + 39 * 2


def test_one_empty_class_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "with_mask").mkdir()
    json_file, html_file = tmp_path / "audit.json", tmp_path / "audit.html"
    result = run(tmp_path, "--json", json_file, "--html", html_file, "--people", PEOPLE)
    assert result.exit_code == 0, result.output
    report = json.loads(json_file.read_text("utf-8"))
    assert report["pictures"] == 0
    assert report["findings"] == [
        "with_mask has no pictures.",
        "There is only one class: training needs two.",
        "The folder without_mask is missing: training needs it.",
    ]


def test_unreadable_class_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "with_mask").mkdir()
    (tmp_path / "with_mask" / "a.jpg").write_bytes(b"")
    result = run(tmp_path)
    assert result.exit_code == 0, result.output
    assert "with_mask has no readable pictures." in result.stdout


def test_picture_of_one_row_does_not_stop_the_audit(tmp_path: Path) -> None:
    (tmp_path / "with_mask").mkdir()
    (tmp_path / "with_mask" / "thin.png").write_bytes(encoded(np.tile(made_up(0)[:1], (1, 3, 1)), ".png"))
    assert run(tmp_path).exit_code == 0


def missing(folder: Path) -> list[str | Path]:
    return [folder / "nowhere"]


def no_folder(folder: Path) -> list[str | Path]:
    (folder / "file").write_bytes(b"")
    return [folder / "file"]


def no_sub_folder(folder: Path) -> list[str | Path]:
    (folder / "a.jpg").write_bytes(b"")
    return [folder]


def bad_augmented(folder: Path) -> list[str | Path]:
    (folder / "with_mask").mkdir()
    return [folder, "--augmented", "("]


def people_without_group(folder: Path) -> list[str | Path]:
    (folder / "with_mask").mkdir()
    return [folder, "--people", "[a-z]+"]


def no_place_for_output(folder: Path) -> list[str | Path]:
    (folder / "with_mask").mkdir()
    return [folder, "--json", folder / "nowhere" / "audit.json"]


@pytest.mark.parametrize(
    ("make", "code", "words"),
    [
        (missing, 2, "cannot be read as a folder"),
        (no_folder, 2, "cannot be read as a folder"),
        (no_sub_folder, 2, "has no sub-folder"),
        (bad_augmented, 2, "is not a regular expression"),
        (people_without_group, 2, "has no group for the person"),
        (no_place_for_output, 5, "cannot be written"),
    ],
)
def test_failures_end_in_a_message_and_an_exit_code(
    tmp_path: Path, make: Callable[[Path], list[str | Path]], code: int, words: str
) -> None:
    result = run(*make(tmp_path))
    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1


def test_command_is_installed(command: Callable[..., subprocess.CompletedProcess[str]], damaged: Path) -> None:
    result = command("edge-train", "audit", damaged, "--quiet", env={"PYTHONIOENCODING": "ascii"})
    assert result.returncode == 0, result.stderr
    assert "people by name" not in result.stdout
    assert r"data [1] \xe9: 20 pictures" in result.stdout


def test_needs_no_torch() -> None:
    code = "import sys, maskedge_train.data.audit, maskedge_train.cli.audit; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".gif", ".bmp", ".tiff"])
def test_content_is_known_and_whole(suffix: str) -> None:
    data = encoded(made_up(0), suffix)
    assert content_format(data[:32]) == suffix_format(Path("a" + suffix))
    assert find_damage(data) is None
    if suffix in (".jpg", ".png", ".webp"):
        assert "cut short" in str(find_damage(data[: len(data) // 2]))
        assert "cut short" in str(find_damage(data[:20]))


def test_end_of_a_thumbnail_is_not_the_end_of_the_picture() -> None:
    data = encoded(made_up(0))
    thumbnail = b"\xff\xe1" + struct.pack(">H", 2 + len(data)) + data
    assert find_damage(data[:2] + thumbnail + data[2:]) is None
    assert find_damage(data[:2] + thumbnail + data[2:-10]) == "is cut short: its end is missing"


def test_jpeg_may_claim_too_much() -> None:
    data = bytearray(encoded(made_up(0)))
    frame = data.find(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 50000, 60000)
    assert find_damage(bytes(data)) == "has a header that claims 60,000 x 50,000 pixels"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.jpg_1088wx1632h", "jpeg"), ("a.JPEG", "jpeg"), ("a.b.WebP", "webp"), ("a.tif", "tiff"), ("a.txt", None), ("jpg", None)],
)
def test_named_format(name: str, expected: str | None) -> None:
    assert suffix_format(Path(name)) == expected


@pytest.mark.slow
def test_real_data(data_dir: Path, tmp_path: Path) -> None:
    json_file, html_file = tmp_path / "audit.json", tmp_path / "audit.html"
    result = run(data_dir / "faces", "--people", PEOPLE, "--json", json_file, "--html", html_file)
    assert result.exit_code == 0, result.output
    report = json.loads(json_file.read_text("utf-8"))
    assert report["pictures"] == 4094
    assert report["unreadable"] == report["ignored"] == report["findings"] == []
    assert report["identical"]["copies"] == 104
    assert (report["people"]["people"], report["people"]["pictures"]) == (99, 1250)
    assert report["augmented"]["pictures"] == 268
    assert report["augmented"]["with_original"] == pytest.approx(260, abs=8)
    assert report["random_split"]["seen"] == pytest.approx(0.14, abs=0.03)
    assert html_file.stat().st_size < 15e6
