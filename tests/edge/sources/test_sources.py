from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers.streams import write_video
from maskedge import SourceError, open_source
from maskedge.sources import SourceConfig
from maskedge.types import Image


@pytest.fixture
def pictures(tmp_path: Path, frames: list[Image]) -> Path:
    """Good pictures under odd names, and some damaged ones."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("b 10.jpg", "b 2.png", "[odd] (1).webp", "маска.jpeg"):
        cv2.imencode(Path(name).suffix, frames[0])[1].tofile(folder / name)
    shutil.copy(folder / "b 10.jpg", folder / "photo.jpg_1088wx1632h")
    shutil.copy(folder / "b 2.png", folder / "picture without suffix")
    (folder / "zero.jpg").write_bytes(b"")
    (folder / "cut.jpg").write_bytes((folder / "b 10.jpg").read_bytes()[:200])
    (folder / "labels.csv").write_text("not,a,picture")
    return folder


def test_folder_is_done_but_for_the_unreadable(pictures: Path) -> None:
    source = open_source(str(pictures))
    frames = list(source.frames())
    names = [Path(frame.source).name for frame in frames]
    assert len(names) == 6
    assert names.index("b 2.png") < names.index("b 10.jpg")
    assert {"[odd] (1).webp", "маска.jpeg", "photo.jpg_1088wx1632h", "picture without suffix"} <= set(names)
    assert all(frame.image.shape == (480, 640, 3) for frame in frames)
    assert not source.video
    assert source.skipped == 2
    assert any("zero.jpg" in warning and "empty" in warning for warning in source.warnings)
    assert any("cut.jpg" in warning for warning in source.warnings)


def test_glob_and_single_picture(pictures: Path) -> None:
    assert [Path(frame.source).name for frame in open_source(f"{pictures}/b*").frames()] == ["b 2.png", "b 10.jpg"]
    # An existing file with brackets in its name is no pattern.
    assert len(list(open_source(f"{pictures}/[odd] (1).webp").frames())) == 1


def test_links_that_lead_in_a_circle_repeat_no_picture(tmp_path: Path, frames: list[Image]) -> None:
    (tmp_path / "inner").mkdir()
    for name in ("a.png", "inner/b.png"):
        cv2.imwrite(str(tmp_path / name), frames[0])
    (tmp_path / "inner" / "up").symlink_to(tmp_path)
    found = [frame.source for frame in open_source(f"{tmp_path}/**/*.png").frames()]
    assert found == [f"{tmp_path}/a.png", f"{tmp_path}/inner/b.png"]
    # With a second link, the search would take longer than anybody lives.
    (tmp_path / "inner" / "again").symlink_to(tmp_path)
    with pytest.raises(SourceError, match="finds the same files again and again"):
        open_source(f"{tmp_path}/**/*.png")


def test_unreadable_pictures_do_not_delay_a_stop(tmp_path: Path) -> None:
    for name in range(5):
        (tmp_path / f"{name}.jpg").touch()
    source = open_source(str(tmp_path))
    source.stop()
    assert list(source.frames()) == []
    assert source.warnings == []


def test_exif_orientation_is_applied(tmp_path: Path, frames: list[Image]) -> None:
    plain = cv2.imencode(".jpg", frames[0])[1].tobytes()
    # A minimal EXIF segment with orientation 6: turn right to see it upright.
    tiff = b"MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00"
    body = b"Exif\x00\x00" + tiff
    (tmp_path / "turned.jpg").write_bytes(plain[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + plain[2:])
    (frame,) = open_source(str(tmp_path / "turned.jpg")).frames()
    assert frame.size == (480, 640)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda folder: folder / "nothing.mp4", "there is no file or folder"),
        (lambda folder: folder, "contains no picture"),
        (lambda folder: f"{folder}/*.jpg", "no picture matches"),
        (lambda folder: "/dev/null", "camera /dev/null could not be opened"),
        (lambda folder: "/dev/video99", "camera /dev/video99 could not be opened"),
        (lambda folder: "98", "--source demo"),
        (lambda folder: "-", "- is a pipe, which cannot be read: send the stream over UDP"),
        (lambda folder: os.mkfifo(folder / "fifo") or folder / "fifo", "fifo is a pipe"),
    ],
)
def test_what_cannot_be_opened_is_said(tmp_path: Path, make: object, sentence: str) -> None:
    with pytest.raises(SourceError) as failure:
        open_source(str(make(tmp_path)))  # type: ignore[operator]
    assert sentence in str(failure.value)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize("name", ["demo", "clip.mp4"])
def test_a_camera_is_a_number_or_a_device(name: str) -> None:
    with pytest.raises(SourceError, match=f"'{name}' is no camera: --camera takes a number or a device"):
        open_source(SourceConfig(camera=name))


def test_lone_unreadable_picture(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff rubbish")
    with pytest.raises(SourceError, match=r"a\.jpg"):
        list(open_source(str(tmp_path / "a.jpg")).frames())
    (tmp_path / "b.jpg").write_bytes(b"")
    with pytest.raises(SourceError, match="none of the 2 pictures"):
        list(open_source(str(tmp_path)).frames())


def test_video_gives_every_frame(tmp_path: Path) -> None:
    source = open_source(str(write_video(tmp_path / "clip.mp4")))
    assert source.video
    assert not source.live
    assert (source.length, source.fps) == (60, 25)
    frames = list(source.frames())
    assert [frame.index for frame in frames] == list(range(60))
    assert not source.incomplete
    source.close()


@pytest.mark.parametrize("content", [b"", b"plain text, no video" * 100, b"\x00\x00\x00\x20ftypisom" + b"\x00" * 400])
def test_file_that_is_no_video(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"clip\.mp4"):
        open_source(str(path))


def test_truncated_video_is_done_as_far_as_it_goes(tmp_path: Path) -> None:
    """The index is in front (as on the web), and the end of the data is missing."""
    path = truncate(write_video(tmp_path / "clip.mp4"), 0.6)
    source = open_source(str(path))
    count = len(list(source.frames()))
    assert 5 < count < 57
    assert source.incomplete
    assert f"ended after {count} frames, at " in source.warnings[0]
    source.close()


def truncate(path: Path, fraction: float) -> Path:
    """Move the index to the front and cut the file."""
    if not shutil.which("ffmpeg"):
        pytest.skip("ffmpeg is not installed")
    front = path.with_name("front.mp4")
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", path, "-c", "copy", "-movflags", "+faststart", front], check=True)
    content = front.read_bytes()
    path.write_bytes(content[: int(len(content) * fraction)])
    return path


def test_video_cut_before_its_index(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(SourceError, match="damaged"):
        open_source(str(path))


def test_picture_of_absurd_size_is_refused(tmp_path: Path) -> None:
    """A PNG header that claims 60,000 x 60,000 pixels."""
    import zlib

    header = (60_000).to_bytes(4, "big") * 2 + b"\x08\x02\x00\x00\x00"
    chunk = b"IHDR" + header
    (tmp_path / "huge.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    )
    with pytest.raises(SourceError, match=r"huge\.png"):
        list(open_source(str(tmp_path / "huge.png")).frames())


def test_grey_and_deep_pictures_come_as_bgr(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((40, 50), 90, np.uint8))
    cv2.imwrite(str(tmp_path / "deep.png"), np.full((40, 50, 3), 40_000, np.uint16))
    assert all(frame.image.shape == (40, 50, 3) and frame.image.dtype == np.uint8 for frame in open_source(str(tmp_path)).frames())


def test_a_path_that_cannot_be_looked_at_is_said(tmp_path: Path) -> None:
    for address in (f"{tmp_path}/{'a' * 300}.mp4", f"{tmp_path}/{'a' * 300}*.jpg"):
        with pytest.raises(SourceError, match=r"cannot be read.*too long"):
            open_source(address)
    (tmp_path / "turns").symlink_to(tmp_path / "turns")
    with pytest.raises(SourceError, match=r"cannot be read.*symbolic links"):
        open_source(str(tmp_path / "turns"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may enter every folder")
def test_a_folder_that_may_not_be_entered_is_said(tmp_path: Path, frames: list[Image]) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    cv2.imwrite(str(closed / "a.jpg"), frames[0])
    closed.chmod(0)
    try:
        for address in (closed, closed / "a.jpg", closed / "*.jpg"):
            with pytest.raises(SourceError, match=r"cannot be read.*Permission denied"):
                open_source(str(address))
    finally:
        closed.chmod(0o700)


def test_a_pattern_that_matches_videos_alone_says_so(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(b"\0\0\0\x18ftypisom")
    with pytest.raises(SourceError, match="matches 2 names, but no picture: give videos one by one"):
        open_source(f"{tmp_path}/*.mp4")


@pytest.mark.parametrize("uri", ["file:~no-such-user/clip.mp4", "file://~no-such-user/clip.mp4"])
def test_a_home_folder_that_does_not_exist_is_said(uri: str) -> None:
    with pytest.raises(SourceError, match=r"~no-such-user/clip\.mp4 names a home folder that does not exist"):
        open_source(uri)


def test_a_video_that_is_deleted_while_it_loops_is_said(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", 5)
    source = open_source(SourceConfig(uri=str(path), loop=True))
    frames = source.frames()
    assert [next(frames).index for _ in range(7)] == list(range(7))
    path.unlink()
    with pytest.raises(SourceError, match="cannot be read"):
        list(frames)
    source.close()
