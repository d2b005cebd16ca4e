"""Atomic writes, file modes, names for native code, and text for other programs."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from maskedge import Face, OutputError, UsageError, open_source
from maskedge.rendering.draw import Overlay, draw_faces
from maskedge.rendering.jpeg import encode_jpeg
from maskedge.sinks.clips import _Shot, write_video
from maskedge.sinks.events import EventSink
from maskedge.sinks.images import ImageSink
from maskedge.sinks.mqtt.spool import Spool
from maskedge.sinks.retention import MediaFolder, Retention
from maskedge.support.files import make_folder, native_path, open_regular, read_regular, read_text, short_name, write_file
from maskedge.support.text import displayable, to_bytes, to_json

BAD_NAME = os.fsdecode(b"caf\xe9")


@pytest.fixture
def open_umask() -> Iterator[None]:
    """A umask that restricts nothing."""
    before = os.umask(0o000)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_what_may_show_people_is_private_whatever_the_umask(tmp_path: Path, open_umask: None, frames) -> None:  # type: ignore[no-untyped-def]
    MediaFolder(tmp_path / "deep" / "media", ".jpg", Retention())
    EventSink(str(tmp_path / "events.jsonl")).close()
    Spool(tmp_path / "spool", 1000).close()
    write_file(tmp_path / "snapshot.jpg", b"x", private=True)
    jpeg = encode_jpeg(frames[0], 80)
    write_video(tmp_path / "clip.mp4", [_Shot(number / 10, jpeg) for number in range(3)])
    assert [mode(tmp_path / name) for name in ("deep", "deep/media", "spool")] == 3 * [0o700]
    for name in ("events.jsonl", "spool/spool.sqlite3", "snapshot.jpg", "clip.mp4"):
        assert mode(tmp_path / name) == 0o600, name
    # Existing files and folders keep their modes.
    (tmp_path / "shared").mkdir(mode=0o775)
    MediaFolder(tmp_path / "shared", ".jpg", Retention())
    make_folder(tmp_path / "shared", private=True)
    assert mode(tmp_path / "shared") == 0o775
    (tmp_path / "read.jsonl").touch(mode=0o644)
    EventSink(str(tmp_path / "read.jsonl")).close()
    assert mode(tmp_path / "read.jsonl") == 0o644


def test_a_file_in_the_way_of_a_folder_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "media").touch()
    for path in (tmp_path / "media", tmp_path / "media" / "today"):
        with pytest.raises(OutputError, match=r"cannot be created .*: a file is in the way: remove it"):
            make_folder(path)


def test_writing_keeps_links_modes_pipes_and_neighbours(tmp_path: Path) -> None:
    target, link = tmp_path / "report.json", tmp_path / "link.json"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    (tmp_path / "report.json.tmp").write_text("mine")
    write_file(link, "new é")
    assert link.is_symlink()
    assert target.read_text(encoding="utf-8") == "new é"
    assert mode(target) == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.json", "report.json", "report.json.tmp"]
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_file(tmp_path / "pipe", "through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo()


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"\xef\xbb\xbf" + 100_000 * b"a")
    assert read_text(path, 200_000) == 100_000 * "a"
    assert len(read_regular(path, 100_003)) == 100_003
    with pytest.raises(OSError, match=r"it is larger than 0\.100002 MB"):
        read_regular(path, 100_002)
    with open_regular(path) as file:
        assert file.read(4) == b"\xef\xbb\xbfa"
    # The kernel reports a size of 0.
    assert b"processor" in read_regular(Path("/proc/cpuinfo"), 10_000_000)
    os.mkfifo(tmp_path / "pipe")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for refused, words in (
        (tmp_path / "pipe", "not a regular file"),
        (tmp_path, "Is a directory"),
        (Path("/dev/zero"), "not a reg"),
    ):
        with pytest.raises(OSError, match=words):
            open_regular(refused)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_full_disk_and_a_folder_without_permission_have_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, words in (
        (errno.ENOSPC, "free some space"),
        (errno.EACCES, "check the permissions"),
        (errno.EROFS, "choose a folder"),
    ):

        def refuse(path: Path, target: Path, number: int = number) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(Path, "replace", refuse)
        with pytest.raises(OutputError, match=rf"cannot be written \({os.strerror(number)}\): {words}"):
            write_file(tmp_path / "report.json", "{}")
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    with pytest.raises(OutputError, match="make its folder first"):
        write_file(tmp_path / "missing" / "report.json", "{}")


def test_longest_names(tmp_path: Path) -> None:
    for name in ("x" * 255, "é" * 127 + "y", "\U0001f600" * 63 + "abc"):
        write_file(tmp_path / name, "whole")
        assert (tmp_path / name).read_text() == "whole"
    assert len(os.fsencode(short_name("é" * 200, ".jpg"))) <= 255
    assert short_name("a" * 300, ".jpg") != short_name("a" * 301, ".jpg")
    with pytest.raises(OutputError, match="cannot be written"):
        write_file(tmp_path / ("x" * 256), "too long")


@pytest.mark.parametrize("name", [BAD_NAME + ".mp4", "12:30.mp4", "http:a%03d.mp4", "-dash.mp4", "new\nline.mp4", "\U0001f600.avi"])
def test_native_code_opens_any_name(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path(name)
    with native_path(path) as own:
        writer = cv2.VideoWriter(own, cv2.VideoWriter.fourcc(*("MJPG" if path.suffix == ".avi" else "mp4v")), 25, (64, 48))
    for _ in range(3):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    assert [other.name for other in tmp_path.iterdir()] == [name]
    with native_path(path) as own:
        assert cv2.VideoCapture(own, cv2.CAP_FFMPEG).read()[0]


def test_annotated_names_differ(tmp_path: Path) -> None:
    long = "x" * 251
    sources = [Path("a/A.png"), Path("a/a.jpg"), Path("b/a.jpg"), Path(f"{long}.jpg"), Path(f"{long}.png"), Path(BAD_NAME + ".png")]
    sink = ImageSink(tmp_path, single=False, sources=sources)
    names = list(sink._names.values())
    assert names[:3] == ["A.jpg", "a.jpg.jpg", "a_2.jpg"]
    assert len({name.casefold() for name in names}) == len(sources)
    assert all(len(os.fsencode(name)) <= 255 for name in names)


def test_text_for_other_programs() -> None:
    line = to_bytes(to_json({"source": BAD_NAME, "score": float("nan"), "box": (1.0, float("-inf")), "name": "é\n"}))
    assert b"\n" not in line
    event = json.loads(line.decode())
    assert os.fsencode(event["source"]) == b"caf\xe9"
    assert event == {"source": BAD_NAME, "score": None, "box": [1.0, None], "name": "é\n"}
    # As Python represents a UTF-8 name where the locale is ASCII.
    assert to_bytes("é".encode().decode("ascii", "surrogateescape")) == "é".encode()
    assert displayable(f"{BAD_NAME}\x1b[31m\n é") == r"caf\udce9\x1b[31m\n é"


def test_texts_that_are_no_unicode_can_be_drawn(frames) -> None:  # type: ignore[no-untyped-def]
    face = Face((10.0, 60.0, 90.0, 160.0), BAD_NAME, 0.5, BAD_NAME, 0.5)
    overlay = Overlay(zones=[(BAD_NAME, [(0, 0), (50, 0), (50, 50)])], banner=BAD_NAME)
    assert (draw_faces(frames[0], [face], BAD_NAME, overlay) != frames[0]).any()


@pytest.mark.parametrize("address", ["rtsp://camera/" + BAD_NAME, "/dev/video" + BAD_NAME])
def test_addresses_that_are_no_unicode_are_refused(address: str) -> None:
    with pytest.raises(UsageError, match="is not valid UTF-8"):
        open_source(address)


def test_letters_that_the_font_lacks_are_written_without_accents(frames) -> None:  # type: ignore[no-untyped-def]
    def drawn(text: str):  # type: ignore[no-untyped-def]
        return draw_faces(frames[0], [Face((10.0, 60.0, 90.0, 160.0), text, 0.5, text, 0.5)], overlay=Overlay(banner=text))

    assert (drawn("Tür") == drawn("Tur")).all()
