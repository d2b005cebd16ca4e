"""AVI files: OpenCV reports no error, so the file itself tells what is in it."""

from __future__ import annotations

import contextlib
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from maskedge import OutputError
from maskedge.sinks.recording.avi import count_frames, is_complete
from maskedge.sinks.recording.writer import ConstantRateFile
from maskedge.types import Image


def noise(index: int, size: tuple[int, int] = (240, 320)) -> Image:
    """A picture of 30 KB or more in an AVI file."""
    return np.random.default_rng(index).integers(0, 256, (*size, 3), np.uint8)


@contextlib.contextmanager
def size_limit(limit: int) -> Iterator[None]:
    """A limit of the size of files, as by `ulimit -f`."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def readable(path: Path) -> int:
    capture, count = cv2.VideoCapture(str(path)), 0
    while capture.read()[0]:
        count += 1
    return count


def test_file_that_is_cut_off_during_the_run_tells_how_many_frames_are_in_it(tmp_path: Path) -> None:
    path = tmp_path / "out.avi"
    video = ConstantRateFile(path, 25)
    with size_limit(1_000_000):
        with pytest.raises(OutputError, match=r"only \d+ of \d+ frames could be written to .*out.avi: raise the limit") as caught:
            for index in range(200):
                video.write(noise(index), index / 25)
        with pytest.raises(OutputError, match=r"only \d+ of \d+ frames"):
            video.close()
    video.close()
    assert f"only {video.kept} of" in str(caught.value)
    assert 10 < video.kept <= readable(path) <= video.kept + 1


@pytest.mark.parametrize("content", [b"", b"precious"])
def test_limit_below_the_first_frame_leaves_the_earlier_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "out.avi"
    path.write_bytes(content)
    video = ConstantRateFile(path, 25)
    with size_limit(4096):
        for index in range(3):
            video.write(noise(index, (48, 64)), index / 25)
        with pytest.raises(OutputError, match=r"no frame could be written to .*out.avi"):
            video.close()
    assert video.kept == 0
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_end_that_is_cut_off_only_when_the_file_is_completed_is_found(tmp_path: Path) -> None:
    path = tmp_path / "out.avi"
    video = ConstantRateFile(path, 25)
    for index in range(40):
        video.write(noise(index), index / 25)
    with size_limit(path.stat().st_size + 1000), pytest.raises(OutputError, match=r"only (\d+) of 40 frames"):
        video.close()
    assert 0 < video.kept < 40
    assert count_frames(path) == video.kept


def test_space_for_a_large_frame_is_demanded_before_each_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = ConstantRateFile(tmp_path / "out.avi", 25)
    large = np.zeros((2160, 3840, 3), np.uint8)
    for index in range(3):
        video.write(large, index / 25)
    monkeypatch.setattr("shutil.disk_usage", lambda path: shutil._ntuple_diskusage(100, 80, 20_000_000))  # type: ignore[attr-defined]
    with pytest.raises(OutputError, match=r"is full \(under \d+ MB are free\): free some space; the 3 frames before are kept"):
        video.write(large, 3 / 25)
    video.close()
    assert readable(tmp_path / "out.avi") == video.kept == 3


@pytest.mark.parametrize("backend", [cv2.CAP_FFMPEG, cv2.CAP_OPENCV_MJPEG])
def test_complete_file_is_told_from_a_shortened_one(tmp_path: Path, backend: int) -> None:
    path = tmp_path / "out.avi"
    writer = cv2.VideoWriter(str(path), backend, cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (64, 48))
    for index in range(20):
        writer.write(noise(index, (48, 64)))
    writer.release()
    assert is_complete(path, 20)
    assert not is_complete(path, 21)
    assert (count_frames(path), count_frames(path, 3)) == (20, 3)
    whole = path.read_bytes()
    for length in (0, 3, 300, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert not is_complete(path, 20)
        assert count_frames(path) == min(20, readable(path)) or length == len(whole) // 2


def test_picture_too_large_for_the_codec_is_refused_with_its_size(tmp_path: Path) -> None:
    video = ConstantRateFile(tmp_path / "out.avi", 25)
    video.write(np.zeros((2, 33000, 3), np.uint8), 0)
    with pytest.raises(OutputError, match=r"33000 x 2 pixels.* at most 32768 .*make the pictures of the source smaller"):
        video.close()
    video.close()
    assert not list(tmp_path.iterdir())
