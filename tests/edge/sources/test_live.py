"""Live sources with real streams, whose cable is pulled."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers.streams import KINDS, Stream, black_hole, serve_bytes, serve_folder, write_video
from maskedge import SourceError, open_source
from maskedge.sources import LiveSource, SourceConfig, demo
from maskedge.types import Frame

FAST = {"wait": True, "backoff_min": 0.05, "backoff_max": 0.2, "stall_timeout": 2.0, "open_timeout": 3.0}
"""Short timeouts for tests."""
PATIENT = {"stall_timeout": 30.0, "open_timeout": 30.0}
"""Where the end of a connection is the loss: a busy machine must not be taken for another one."""


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4", 100)


@pytest.fixture
def stream(clip: Path) -> Iterator[Stream]:
    stream = Stream("http MJPEG", clip)
    yield stream
    stream.pull()


class Listener:
    """Records the states that a source reports."""

    def __init__(self, source: LiveSource) -> None:
        self.reported: list[tuple[str, str, int]] = []
        self.waits = 0
        source.on_state = lambda *state: self.reported.append(state)
        source.on_wait = self._wait

    def _wait(self) -> None:
        self.waits += 1

    @property
    def states(self) -> list[str]:
        """The states, without immediate repetitions."""
        states = [state for state, _, _ in self.reported]
        return [state for index, state in enumerate(states) if index == 0 or states[index - 1] != state]


def live(uri: str, **options: object) -> LiveSource:
    source = open_source(SourceConfig(uri=uri, **(FAST | options)))  # type: ignore[arg-type]
    assert isinstance(source, LiveSource)
    return source


def read_until_lost(source: LiveSource, frames: Iterator[Frame]) -> None:
    """Read until the source is lost."""

    def lost() -> None:
        if source.state == "lost":
            raise Lost

    source.on_wait = lost
    with pytest.raises(Lost):
        for _ in frames:
            pass


class Lost(Exception):  # noqa: N818
    pass


@pytest.mark.parametrize("kind", KINDS)
def test_streams_of_all_kinds(clip: Path, kind: str) -> None:
    stream = Stream(kind, clip)
    stream.start()
    source = live(stream.address)
    try:
        frames = list(islice(source.frames(), 10))
    finally:
        source.close()
        stream.pull()
    assert all(frame.image.shape == (240, 320, 3) and frame.image.dtype == np.uint8 for frame in frames)
    indices = [frame.index for frame in frames]
    assert indices == sorted(set(indices))
    assert source.state in ("open", "ended")
    # The channels are in the right order.
    assert np.abs(frames[-1].image.mean(axis=(0, 1)) - cv2.resize(demo.draw(50), (320, 240)).mean(axis=(0, 1))).max() < 12


def test_newest_frame_wins_and_all_are_counted(stream: Stream) -> None:
    stream.start()
    source = open_source(stream.address)
    assert source.live
    assert source.state == "open"
    got = []
    for frame in source.frames():
        got.append(frame.index)
        time.sleep(0.12)  # slower than the stream
        if len(got) == 8:
            break
    source.close()
    assert got == sorted(set(got))
    assert source.dropped > len(got) / 2
    assert 0 <= source.captured - len(got) - source.dropped <= 1
    source.close()


def next_after(frames: Iterator[Frame], source: LiveSource, pulled: int) -> Frame:
    """Return the first frame since the last loss: an older one may still be waiting."""
    return next(frame for frame in frames if source.reconnects == pulled)


def test_cable_pulled_twenty_times(stream: Stream) -> None:
    source = live(stream.address, **PATIENT)
    listener = Listener(source)
    frames = source.frames()
    last = -1
    for pulled in range(21):
        stream.start()
        frame = next_after(frames, source, pulled)
        assert frame.index > last
        last = frame.index
        stream.pull()
    assert source.state == "open", "no frame was requested since"
    source.stop()
    assert next(frames, None) is None
    source.close()
    assert listener.states == ["opening", "open", *["lost", "open"] * 20, "ended"] or listener.states[1:] == [
        "lost", "open", *["lost", "open"] * 20, "ended",
    ]  # fmt: skip
    assert listener.waits > 20
    assert any("is back after" in sentence for _, sentence, _ in listener.reported)
    assert source.captured >= 21


def test_stream_that_hangs_is_left_and_found_again(stream: Stream) -> None:
    stream.start()
    source = live(stream.address, stall_timeout=2.0)
    frames = source.frames()
    before = next(frames)
    stream.freeze()
    read_until_lost(source, frames)
    assert "delivered no frame for 2 s" in source.message
    stream.pull()
    stream.start()
    source.on_wait = lambda: None
    after = next(frames := source.frames())
    assert after.index > before.index
    assert source.reconnects == 1
    source.close()


def test_picture_that_stays_the_same_is_no_news(clip: Path) -> None:
    stream = Stream("http MJPEG", "color=gray:size=320x240:rate=25")
    stream.start()
    source = live(stream.address, frozen_timeout=0.7, max_retries=0, **PATIENT)
    try:
        got = []
        with pytest.raises(SourceError, match=r"shows the same picture for 0\.7 s"):
            got.extend(source.frames())
        assert len(got) == 1
    finally:
        source.close()
        stream.pull()
    stream.start()
    source = live(stream.address, frozen_timeout=0, **PATIENT)
    try:
        assert len(list(islice(source.frames(), 30))) == 30
        assert source.reconnects == 0
    finally:
        source.close()
        stream.pull()


def test_still_picture_is_not_back_by_being_opened_again() -> None:
    """A camera whose sensor hangs answers every call with the same picture."""
    still = cv2.imencode(".jpg", demo.draw(150))[1].tobytes()
    with serve_bytes(still * 200, 8) as port:
        source = live(f"tcp://127.0.0.1:{port}", frozen_timeout=0.4, max_retries=1)
        frames = source.frames()
        next(frames)
        with pytest.raises(SourceError, match=r"given up after 1 attempt: .* shows the same picture"):
            next(frames)
        source.close()
    assert source.reconnects == 0


def test_other_size_after_a_loss_and_grey_pictures(stream: Stream) -> None:
    source = live(stream.address, **PATIENT)
    frames = source.frames()
    sizes = []
    for pulled, filters in enumerate(((), ("-vf", "scale=480:270"), ("-vf", "scale=160:120,format=gray,format=yuvj420p"))):
        stream.start(*filters)
        frame = next_after(frames, source, pulled)
        sizes.append(frame.size)
        stream.pull()
    source.close()
    assert sizes == [(320, 240), (480, 270), (160, 120)]
    assert frame.image.shape == (120, 160, 3)
    assert np.ptp(frame.image.astype(int), axis=2).max() <= 2, "grey"


@pytest.fixture(scope="module")
def two_sizes(clip: Path) -> bytes:
    """A transport stream whose picture size changes twice."""
    parts = []
    for size in ("320:240", "640:480", "320:240"):
        command = ["ffmpeg", "-v", "error", "-i", clip, "-t", "1.5", "-vf", f"scale={size}", "-c:v", "libx264"]
        command += ["-preset", "ultrafast", "-tune", "zerolatency", "-g", "10", "-pix_fmt", "yuv420p", "-f", "mpegts", "-"]
        try:
            parts.append(subprocess.run(command, check=True, capture_output=True).stdout)
        except FileNotFoundError:
            pytest.skip("ffmpeg is not installed")
    return b"".join(parts)


def test_size_that_changes_on_the_way(two_sizes: bytes) -> None:
    with serve_bytes(two_sizes, 2) as port:
        source = live(f"tcp://127.0.0.1:{port}", max_retries=0, **PATIENT)
        got = []
        with pytest.raises(SourceError, match="ended or was lost"):
            for frame in source.frames():
                assert frame.image.shape[2] == 3
                got.append(frame.image)
        source.close()
    assert len(got) > 5
    # After the change it still shows the scene.
    assert abs(float(got[-1].mean()) - float(got[0].mean())) < 15


def test_damaged_bytes_are_survived(two_sizes: bytes) -> None:
    damaged = np.frombuffer(two_sizes, np.uint8).copy()
    random = np.random.default_rng(1)
    places = random.integers(20_000, damaged.size, damaged.size // 500)
    damaged[places] = random.integers(0, 256, places.size)
    with serve_bytes(damaged.tobytes(), 2) as port:
        source = live(f"tcp://127.0.0.1:{port}")
        frames = source.frames()
        for _ in frames:
            if source.reconnects == 2:
                break
        source.close()
    assert source.captured > 10


def test_damaged_pictures_over_tcp_are_no_loss() -> None:
    random = np.random.default_rng(2)
    pictures = [cv2.imencode(".jpg", cv2.resize(demo.draw(index), (320, 240)))[1].tobytes() for index in range(60)]
    pictures[::3] = [picture[:650] + random.bytes(len(picture) - 652) + picture[-2:] for picture in pictures[::3]]
    pictures[0] = pictures[1]
    with serve_bytes(b"".join(pictures), 3) as port:
        source = live(f"tcp://127.0.0.1:{port}", max_retries=0, stall_timeout=30.0)
        started = time.monotonic()
        frames = []
        with pytest.raises(SourceError, match="ended or was lost"):
            frames.extend(source.frames())
        source.close()
    assert len(frames) > 6
    assert source.skipped > 2
    assert time.monotonic() - started < 25, "the end is noticed at once, not after stall_timeout"


def test_giving_up(stream: Stream) -> None:
    stream.start()
    source = live(stream.address, max_retries=3)
    listener = Listener(source)
    frames = source.frames()
    next(frames)
    stream.pull()
    with pytest.raises(SourceError, match=r"given up after 3 attempts: the stream http://127\.0\.0\.1:\d+/live\.mjpg could not"):
        list(frames)
    assert [retries for state, _, retries in listener.reported if state == "lost"] == [0, 1, 2]
    assert listener.reported[-1][0] == "ended"
    source.close()


def test_no_retries_ends_at_the_loss(stream: Stream) -> None:
    stream.start()
    source = live(stream.address, max_retries=0, wait=False)
    frames = source.frames()
    next(frames)
    stream.pull()
    with pytest.raises(SourceError, match="ended or was lost: check the cable or the network"):
        list(frames)
    source.close()


def test_waiting_for_a_camera_that_comes_later(stream: Stream) -> None:
    source = live(stream.address)
    listener = Listener(source)
    source.on_wait = lambda: stream.alive or (source.retries < 3) or stream.start()
    assert next(source.frames()).image.shape == (240, 320, 3)
    source.close()
    assert listener.states[:3] == ["opening", "lost", "open"]
    assert source.reconnects == 0, "it was never there before"


def test_black_hole_is_given_up_and_stopped() -> None:
    with black_hole() as hole:
        port = hole.getsockname()[1]
        with pytest.raises(SourceError, match=r"rtsp://\*\*\*@127.* could not be opened within 0.5 s|did not answer"):
            open_source(SourceConfig(uri=f"rtsp://me:geheim@127.0.0.1:{port}/x", open_timeout=0.5))
        source = live(f"http://127.0.0.1:{port}/", open_timeout=30.0)
        source.on_wait = source.stop
        assert list(source.frames()) == []
        assert source.state == "ended"
        source.close()


def test_stopping_ends_it_soon(stream: Stream) -> None:
    stream.start()
    source = open_source(stream.address)
    frames = source.frames()
    assert len(list(islice(frames, 3))) == 3
    source.stop()
    assert next(frames, None) is None
    source.close()
    source.close()


def test_stream_that_is_not_there() -> None:
    with pytest.raises(SourceError) as failure:
        open_source("rtsp://operator:geheim@127.0.0.1:9/door?password=geheim")
    assert "rtsp://***@127.0.0.1:9/door?password=*** could not be opened" in str(failure.value)
    assert "geheim" not in str(failure.value)


def test_video_behind_an_address_is_no_live_stream(clip: Path) -> None:
    with (
        serve_folder(clip.parent) as port,
        pytest.raises(SourceError, match="is a file of 100 frames, not a live stream: download it"),
    ):
        open_source(f"http://127.0.0.1:{port}/clip.mp4")
