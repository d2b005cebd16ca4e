"""What happens to a file of the user with the name of a new video."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskedge import OutputError
from maskedge.sinks.base import check_writable
from maskedge.sinks.recording.beside import Beside
from maskedge.sinks.recording.writer import open_video_file
from maskedge.types import Image

SUFFIXES = (".mp4", ".mkv", ".avi")


def picture(index: int) -> Image:
    return np.full((48, 64, 3), index % 200, np.uint8)


def write(path: Path, count: int = 30) -> None:
    video = open_video_file(path, 25)
    for index in range(count):
        video.write(picture(index), index / 25)
    video.close()


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_pictures_that_the_encoder_refuses_leave_the_earlier_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"keep{suffix}"
    path.write_text("precious")
    video = open_video_file(path, 25)
    with pytest.raises(OutputError, match=r"16384 x 2 pixels.* at most 8190 .*name an .avi file"):
        video.write(np.zeros((2, 16384, 3), np.uint8), 0)
    video.close()
    assert (path.read_text(), video.kept) == ("precious", 0)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_disk_that_takes_not_even_the_first_frames_leaves_the_earlier_file(tmp_path: Path, suffix: str) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if os.getuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here (needs root)")
    try:
        path = disk / f"keep{suffix}"
        path.write_text("precious")
        video = open_video_file(path, 25)
        random = np.random.default_rng(1)
        pictures = [random.integers(0, 256, (240, 320, 3), np.uint8) for _ in range(13)]
        with pytest.raises(OutputError, match=r"No space left on device\): free some space, or choose another output\."):
            for index in range(13):
                video.write(pictures[index], index / 25)
        assert path.read_text() == "precious"
        assert list(disk.iterdir()) == [path]
        subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)
        # There is room again: no frame that was taken is missing.
        video.write(pictures[12], 12 / 25)
        video.close()
        assert (index, video.kept) == (12, 13)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_limit_of_the_size_of_files_is_named_with_its_remedy(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"keep{suffix}"
    path.write_text("precious")
    video = open_video_file(path, 25)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"File too large\): raise the limit of the size of files \(ulimit -f\)"):
            for index in range(13):
                video.write(picture(index), index / 25)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_link_stays_a_link_and_permissions_stay(tmp_path: Path, suffix: str) -> None:
    real, link = tmp_path / f"real{suffix}", tmp_path / f"link{suffix}"
    real.write_text("earlier")
    real.chmod(0o640)
    link.symlink_to(real.name)
    write(link)
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert real.stat().st_size > 500
    assert sorted(tmp_path.iterdir()) == [link, real]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_file_that_is_mounted_by_itself_is_written_in_place(tmp_path: Path, suffix: str) -> None:
    """As one file of the host in a container: it cannot be replaced."""
    host, inside = tmp_path / f"host{suffix}", tmp_path / f"inside{suffix}"
    host.touch()
    inside.touch()
    if os.getuid() or subprocess.run(["mount", "--bind", host, inside], capture_output=True, check=False).returncode:
        pytest.skip("a file cannot be mounted here (needs root)")
    try:
        write(inside)
        assert host.read_bytes() == inside.read_bytes()
        assert host.stat().st_size > 500
    finally:
        subprocess.run(["umount", inside], check=True)
    assert sorted(tmp_path.iterdir()) == [host, inside]


def test_folder_that_takes_no_new_file_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.mp4"
    path.touch()
    real = os.open

    def refuse(name: Any, flags: int, *more: Any, **options: Any) -> int:
        if flags & os.O_EXCL and str(name).startswith(str(tmp_path)):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(name, flags, *more, **options)

    # Root may write in every folder, so the refusal is that of the system call.
    monkeypatch.setattr(os, "open", refuse)
    assert Beside(path).path == path
    with pytest.raises(PermissionError):
        Beside(tmp_path / "new.mp4")
    write(path)
    assert path.stat().st_size > 500


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_too_many_open_files_are_named_with_their_remedy(tmp_path: Path, suffix: str) -> None:
    video = open_video_file(tmp_path / f"out{suffix}", 25)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"Too many open files\): raise the limit of open files \(ulimit -n\)"):
            for index in range(3):
                video.write(picture(index), index / 25)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    for again in range(index, 3):
        video.write(picture(again), again / 25)
    video.close()
    assert video.kept == 3


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_video_that_is_removed_while_it_is_written_is_a_failure(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "folder").mkdir()
    video = open_video_file(tmp_path / "folder" / f"gone{suffix}", 25)
    for index in range(60):
        video.write(picture(index), index / 25)
    for path in (tmp_path / "folder").iterdir():
        path.unlink()
    (tmp_path / "folder").rmdir()
    with pytest.raises(OutputError, match=r"cannot be written .*: leave the file and its folder in place until the run ends"):
        for index in range(60, 120):
            video.write(picture(index), index / 25)
    assert video.kept == 0


def test_a_link_to_a_file_that_does_not_exist_yet_is_followed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    for suffix in SUFFIXES:
        link, target = tmp_path / f"link{suffix}", tmp_path / "disk" / f"video{suffix}"
        link.symlink_to(target)
        check_writable(link)
        assert not target.exists()
        write(link)
        assert link.is_symlink()
        assert target.stat().st_size > 0
