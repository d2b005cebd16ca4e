"""Video files that are written: the time of their frames, and what is left when something goes wrong."""

from __future__ import annotations

import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers.support import environment
from maskedge import OutputError
from maskedge.sinks.recording.writer import ConstantRateFile, TimestampedFile, open_video_file
from maskedge.sources import VideoFileSource
from maskedge.support.iso_media import walk
from maskedge.support.video_clock import VideoClock
from maskedge.types import Image

TIMED = (".mp4", ".mkv", ".mov")


def picture(index: int) -> Image:
    """A picture that shows its number as brightness."""
    image = np.full((48, 64, 3), 20 + index * 2 % 200, np.uint8)
    image[::7, ::5] = 255 - image[0, 0]
    return image


def read(path: Path) -> tuple[list[float], list[int]]:
    """Times and brightness of the frames of a file, which must be whole."""
    source = VideoFileSource(path)
    frames = list(source.frames())
    source.close()
    assert not source.warnings
    return [frame.moment for frame in frames], [int(np.median(frame.image)) for frame in frames]


def uneven(count: int) -> list[float]:
    """Times at a rate that changes, as of a camera that is triggered by motion."""
    steps = [0.04 if index % 40 < 25 else 0.5 for index in range(count)]
    return [float(time) for time in np.cumsum(steps)]


@pytest.mark.parametrize("suffix", TIMED)
def test_every_frame_keeps_its_time(tmp_path: Path, suffix: str) -> None:
    path, times = tmp_path / f"out{suffix}", uneven(90)
    video = open_video_file(path, 25)
    for index, time in enumerate(times):
        video.write(picture(index), 5000 + time)
    video.close()
    video.close()
    moments, shades = read(path)
    assert np.allclose(moments, np.array(times) - times[0], atol=0.0011)
    assert np.abs(np.array(shades) - [np.median(picture(index)) for index in range(90)]).max() <= 6
    assert not list(tmp_path.glob("maskedge-*"))


def test_constant_rate_file_repeats_pictures_and_bounds_a_gap(tmp_path: Path) -> None:
    times = uneven(90)
    for name, gap, seconds in (("plain.avi", 0.0, times[-1] - times[0]), ("gap.avi", 3000.0, times[-1] - times[0] + 9.6)):
        video = open_video_file(tmp_path / name, 25)
        assert isinstance(video, ConstantRateFile)
        for index, time in enumerate(times):
            video.write(picture(index), time + (gap if index >= 50 else 0))
        video.close()
        moments, _ = read(tmp_path / name)
        assert moments[-1] == pytest.approx(seconds, rel=0.05)


def test_rate_that_a_container_only_claims_is_not_written(tmp_path: Path) -> None:
    """Recordings of browsers claim 1,000 frames a second."""
    video = open_video_file(tmp_path / "out.avi", 1000)
    for index in range(10):
        video.write(picture(index), index / 20)
    video.close()
    assert len(read(tmp_path / "out.avi")[0]) == 10


@pytest.mark.parametrize("suffix", TIMED)
def test_gap_of_an_hour_costs_nothing(tmp_path: Path, suffix: str) -> None:
    video = open_video_file(tmp_path / f"out{suffix}", 30)
    for index in range(30):
        video.write(picture(index), index / 30 + (3599 if index >= 15 else 0))
    video.close()
    moments, _ = read(tmp_path / f"out{suffix}")
    assert len(moments) == 30
    assert moments[-1] == pytest.approx(3599 + 29 / 30, abs=0.002)
    assert (tmp_path / f"out{suffix}").stat().st_size < 60_000


def test_time_that_does_not_go_on_loses_no_frame(tmp_path: Path) -> None:
    video = open_video_file(tmp_path / "out.mp4", 25)
    for moment in (0.0, 0.0, 0.0, -5.0, float("nan"), 1e12, 1e12 + 0.04):
        video.write(picture(0), moment)
    video.close()
    assert np.allclose(np.diff(read(tmp_path / "out.mp4")[0]), 0.04, atol=0.001)


@pytest.mark.parametrize(
    ("stamps", "times"),
    [
        ([0, 0.5, 0.6, 3.0], [0, 0.5, 0.6, 3.0]),
        ([0, 0, 0, 0], [0, 0.1, 0.2, 0.3]),  # without a container
        ([5.0, 5.1, 0.2, 0.3], [5.0, 5.1, 5.2, 5.3]),  # two recordings strung together
        ([0.1, 0.2, 0, 0.4], [0.1, 0.2, 0.3, 0.4]),
        ([0, 0.1, 95443.0, 95443.1], [0, 0.1, 0.2, 0.3]),  # a counter of MPEG-TS began anew, or a damaged stamp
        ([float("nan"), float("inf"), -3.0, 1.0], [0, 0.1, 0.2, 1.0]),
    ],
)
def test_video_clock_never_goes_back(stamps: list[float], times: list[float]) -> None:
    clock = VideoClock(10)
    assert [clock(stamp) for stamp in stamps] == pytest.approx(times)


_ENDLESS = """
import sys, time
import numpy as np
from pathlib import Path
from maskedge.sinks.recording.writer import open_video_file
video = open_video_file(Path(sys.argv[1]), 25)
for index in range(10_000):
    video.write(np.full((48, 64, 3), index % 200, np.uint8), index / float(sys.argv[2]))
    print(index, flush=True)
    time.sleep(0.004)
"""


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("fps", [25, 3])
def test_killed_in_the_middle_all_but_the_last_second_is_there(tmp_path: Path, suffix: str, fps: int) -> None:
    path = tmp_path / f"out{suffix}"
    with subprocess.Popen(
        [sys.executable, "-c", _ENDLESS, path, str(fps)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment({"TMPDIR": str(tmp_path)}),
    ) as process:
        assert process.stdout is not None
        written = 0
        while written < 99:
            written = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        written = int((process.stdout.read().split() or [written])[-1])
    moments, _ = read(path)
    assert written / fps - moments[-1] <= 1.0
    assert len(moments) == round(moments[-1] * fps) + 1, "none in the middle is missing"
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [path], "no picture is left anywhere else"


def test_mp4_is_fragmented_while_it_is_written_and_plain_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    video = open_video_file(path, 25)
    for index in range(40):
        video.write(picture(index), index / 25)
    assert kinds(path)[:5] == [b"ftyp", b"free", b"moov", b"moof", b"mdat"]
    assert len(read(path)[0]) == 36
    video.close()
    assert kinds(path) == [b"ftyp", b"mdat", b"moov"]
    capture = cv2.VideoCapture(str(path))
    assert (capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)) == (40, 25)


def kinds(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        return [box.kind for box in walk(file, 0, path.stat().st_size)]


@pytest.mark.parametrize("suffix", TIMED)
def test_full_disk_ends_in_a_sentence_and_loses_nothing(tmp_path: Path, suffix: str) -> None:
    """A limit on the size of files stands for the disk: the same error from the same call."""
    path = tmp_path / f"out{suffix}"
    video = open_video_file(path, 25)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, limits[1]))
    try:
        with pytest.raises(OutputError, match="cannot be written") as caught:
            for index in range(2000):
                video.write(picture(index), index / 25)
        kept = len(read(path)[0])
        assert f"the {kept} frames before are kept" in str(caught.value)
        assert kept >= 12
        with pytest.raises(OutputError):
            video.write(picture(index), index / 25)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    # There is room again, as a live source finds: nothing that was taken is missing, and nothing is there twice.
    video.write(picture(index), index / 25)
    video.close()
    moments, _ = read(path)
    assert np.allclose(moments, np.arange(index + 1) / 25, atol=0.001)


@pytest.mark.parametrize("suffix", TIMED)
def test_full_disk_at_the_end_leaves_what_was_written(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    video = open_video_file(path, 25)
    for index in range(61):
        video.write(picture(index), index / 25)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 100, limits[1]))
    try:
        with pytest.raises(OutputError, match="cannot be written"):
            video.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(read(path)[0]) == 60


@pytest.mark.parametrize("suffix", [*TIMED, ".avi"])
@pytest.mark.parametrize("name", ["12:30:05", "-dash", "clip-%03d", "@all", "http:", "tee:a|b", "a b'\"c", "caf\udce9"])
def test_names_of_any_kind_are_written_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path(name + suffix)
    video = open_video_file(path, 25)
    for index in range(3):
        video.write(picture(index), index / 25)
    video.close()
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert len(read(path)[0]) == 3


def test_frames_of_other_and_odd_sizes_are_fitted(tmp_path: Path) -> None:
    video = open_video_file(tmp_path / "out.mp4", 25)
    for index, size in enumerate(((49, 65), (480, 640), (1, 1))):
        video.write(np.full((*size, 3), 100, np.uint8), index / 25)
    video.close()
    source = VideoFileSource(tmp_path / "out.mp4")
    assert [frame.size for frame in source.frames()] == [(66, 50)] * 3


def test_opencv_without_ffmpeg_still_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(open_video_file(tmp_path / "out.mp4", 25), TimestampedFile)
    monkeypatch.setattr(cv2.videoio_registry, "getWriterBackends", lambda: (cv2.CAP_GSTREAMER,))
    video = open_video_file(tmp_path / "out.mp4", 25)
    assert isinstance(video, ConstantRateFile)
    for index in range(5):
        video.write(picture(index), index / 25)
    video.close()
    assert len(read(tmp_path / "out.mp4")[0]) == 5


@pytest.mark.parametrize("suffix", TIMED)
def test_ffmpeg_finds_nothing_wrong_and_can_seek(tmp_path: Path, suffix: str) -> None:
    if not shutil.which("ffmpeg") or not shutil.which("ffprobe"):
        pytest.skip("ffmpeg is not installed")
    path = tmp_path / f"out{suffix}"
    video = open_video_file(path, 25)
    for index, time in enumerate(times := uneven(90)):
        video.write(picture(index), time)
    video.close()
    done = subprocess.run(["ffmpeg", "-v", "warning", "-i", path, "-f", "null", "-"], capture_output=True, text=True, check=True)
    assert not done.stderr
    ask = ["ffprobe", "-v", "warning", "-of", "csv=p=0"]
    done = subprocess.run([*ask, "-show_entries", "format=duration", path], capture_output=True, text=True, check=True)
    assert float(done.stdout) == pytest.approx(times[-1] - times[0], rel=0.05)
    # From the middle: the key frame before it comes first.
    ask += ["-read_intervals", "9%+#1", "-show_entries", "packet=pts_time,flags"]
    done = subprocess.run([*ask, path], capture_output=True, text=True, check=True)
    second, flags = done.stdout.strip().split(",")[:2]
    assert 7 < float(second) <= 9
    assert flags.startswith("K")
