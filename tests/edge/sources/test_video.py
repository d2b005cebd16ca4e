"""Video files as users have them: trimmed, truncated, of variable frame rate, under any name."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from maskedge import SourceError
from maskedge.cli.run import main
from maskedge.sources import DemoSource, SourceConfig, VideoFileSource, open_source
from maskedge.sources.base import stamp
from maskedge.sources.files.containers import is_animated, is_animated_webp, read_claims
from maskedge.sources.files.video import MAX_PIXELS
from maskedge.sources.replay import LoopSource, ReplayDevice
from maskedge.types import Frame, Image

# Container, and its encoder with options.
CODECS: dict[str, tuple[str, ...]] = {
    "mp4": ("libx264", "-preset", "ultrafast", "-bf", "2", "-movflags", "+faststart"),
    "frag.mp4": ("libx264", "-preset", "ultrafast", "-movflags", "+frag_keyframe"),
    "hevc.mp4": ("libx265", "-preset", "ultrafast", "-x265-params", "log-level=none", "-movflags", "+faststart"),
    "mov": ("mjpeg", "-pix_fmt", "yuvj420p", "-movflags", "+faststart"),
    "mkv": ("libx264", "-preset", "ultrafast"),
    "webm": ("libvpx", "-deadline", "realtime", "-cpu-used", "8", "-threads", "1"),
    "avi": ("mpeg4", "-bf", "2"),
    "mjpeg.avi": ("mjpeg", "-pix_fmt", "yuvj420p"),
    "ts": ("libx264", "-preset", "ultrafast"),
    "flv": ("libx264", "-preset", "ultrafast"),
    "mpg": ("mpeg2video", "-q", "5"),
}
SEEKABLE = ("mp4", "frag.mp4", "hevc.mp4", "mov", "mkv", "webm", "avi", "mjpeg.avi")
"""Containers whose lengths reveal that something is missing."""


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Makes clips of 90 frames at 30 frames/s."""
    if not shutil.which("ffmpeg"):
        pytest.skip("ffmpeg is not installed")
    folder = tmp_path_factory.mktemp("clips")

    def make(kind: str, container: str) -> Path:
        path = folder / f"{kind}.{container}"
        if path.exists():
            return path
        codec, *options = CODECS[container]
        command = ["ffmpeg", "-v", "error", "-nostdin", "-y"]
        test = [*command, "-f", "lavfi", "-i", "testsrc2=s=160x120:r=30:d=3"]
        encode = ["-c:v", codec, "-g", "30", "-pix_fmt", "yuv420p", *options]
        # Enough data that a cut is noticed.
        if kind == "plain":
            done = [*test, *encode, path]
        elif kind == "variable":
            done = [*test, "-vf", "select='lt(n\\,30)+gt(n\\,60)*not(mod(n\\,3))'", "-vsync", "vfr", *encode, path]
        elif kind == "sound":
            done = [*test, "-f", "lavfi", "-i", "sine=d=5", *encode, path]
        else:
            done = [*command, "-ss", "1.3", "-i", make("plain", container), "-c", "copy", path]
        run = subprocess.run(done, capture_output=True, text=True, check=False)
        if "Unknown encoder" in run.stderr:
            pytest.skip(f"this ffmpeg has no encoder {codec}")
        assert run.returncode == 0, run.stderr
        return path

    return make


def play(path: Path) -> tuple[list[float], list[str]]:
    source = VideoFileSource(path)
    moments = [frame.moment for frame in source.frames()]
    source.close()
    assert source.incomplete == bool(source.warnings)
    assert all(before < after for before, after in pairwise(moments)), "time goes on"
    return moments, source.warnings


@pytest.mark.parametrize("container", CODECS)
def test_good_clips_are_good(clips: Callable[[str, str], Path], container: str) -> None:
    moments, warnings = play(clips("plain", container))
    assert (len(moments), warnings) == (90, [])
    assert moments[-1] - moments[0] == pytest.approx(89 / 30, abs=0.04)
    # Trimmed without encoding again: in some containers an edit list hides frames before the cut.
    moments, warnings = play(clips("trimmed", container))
    assert warnings == []
    assert 25 <= len(moments) <= 90


@pytest.mark.parametrize("container", [name for name in CODECS if name != "mpg"])
def test_rate_that_changes_is_kept_and_no_damage(clips: Callable[[str, str], Path], container: str) -> None:
    moments, warnings = play(clips("variable", container))
    assert warnings == []
    assert len(moments) == 39
    assert moments[29] - moments[0] == pytest.approx(29 / 30, abs=0.04)
    # AVI has no time stamps for the last frames if they are reordered.
    assert moments[-1] - moments[0] == pytest.approx(87 / 30, abs=0.07 if container == "avi" else 0.04)


@pytest.mark.parametrize("container", ["mp4", "mkv", "avi"])
def test_sound_that_goes_on_is_no_missing_picture(clips: Callable[[str, str], Path], container: str) -> None:
    moments, warnings = play(clips("sound", container))
    assert (len(moments), warnings) == (90, [])


@pytest.mark.parametrize("container", SEEKABLE)
@pytest.mark.parametrize("kind", ["plain", "variable"])
def test_truncated_clips_are_named(clips: Callable[[str, str], Path], container: str, kind: str, tmp_path: Path) -> None:
    path = clips(kind, container)
    content = path.read_bytes()
    whole = len(play(path)[0])
    cut = tmp_path / path.name
    for percent in (40, 70, 97):
        cut.write_bytes(content[: len(content) * percent // 100])
        moments, warnings = play(cut)
        assert 3 < len(moments) <= whole
        assert "the file is truncated or damaged; all readable frames were processed" in warnings[0]
    # As after a power failure: the length is right, but the end was never written.
    if container != "frag.mp4" and kind == "plain":
        cut.write_bytes(content[: len(content) * 7 // 10] + bytes(len(content) * 3 // 10 + 1))
        assert "truncated or damaged" in play(cut)[1][0]


def test_hole_in_the_middle_is_named_and_the_rest_is_done(clips: Callable[[str, str], Path], tmp_path: Path) -> None:
    content = clips("plain", "mov").read_bytes()
    middle, hole = len(content) // 2, len(content) // 20
    (tmp_path / "hole.mov").write_bytes(content[:middle] + bytes(hole) + content[middle + hole :])
    moments, warnings = play(tmp_path / "hole.mov")
    assert 70 < len(moments) < 90
    assert moments[-1] == pytest.approx(89 / 30, abs=0.04)
    assert "could not be decoded" in warnings[0]


def test_exit_codes_tell_a_trimmed_clip_from_a_truncated_one(clips: Callable[[str, str], Path], tmp_path: Path) -> None:
    trimmed, plain = clips("trimmed", "mp4"), clips("plain", "mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(plain[: len(plain) // 2])
    options = ["--no-show", "--detector", "haar"]
    for path, code in ((trimmed, 0), (clips("variable", "webm"), 0), (clips("variable", "ts"), 0), (tmp_path / "cut.mp4", 3)):
        done = CliRunner().invoke(main, ["--source", str(path), *options])
        assert done.exit_code == code, done.output
        assert ("truncated" in done.output) == bool(code)


@pytest.mark.parametrize("options", [{"live": True}, {"loop": True}, {"live": True, "loop": True}])
def test_truncated_clip_is_named_when_it_is_played_like_a_camera_or_in_a_loop(
    clips: Callable[[str, str], Path], tmp_path: Path, options: dict[str, bool]
) -> None:
    cut = tmp_path / "cut.mp4"
    content = clips("plain", "mp4").read_bytes()
    cut.write_bytes(content[: len(content) // 2])
    source = open_source(SourceConfig(uri=str(cut), **options))  # type: ignore[arg-type]
    for number, _ in enumerate(source.frames()):
        if number == 120:  # of 90, more than once
            break
    source.close()
    assert source.incomplete
    assert [warning for warning in source.warnings if "the file is truncated or damaged" in warning] == source.warnings[:1]
    assert len(source.warnings) == 1


def test_saved_film_lasts_as_long_as_its_source(clips: Callable[[str, str], Path], tmp_path: Path) -> None:
    for suffix in (".mp4", ".mkv", ".avi"):
        for kind, container in (("plain", "mp4"), ("variable", "webm"), ("variable", "ts"), ("variable", "mp4")):
            out = tmp_path / f"out{suffix}"
            options = ["--no-show", "--quiet", "--detector", "haar", "--save", str(out)]
            assert CliRunner().invoke(main, ["--source", str(clips(kind, container)), *options]).exit_code == 0
            moments, warnings = play(out)
            original, _ = play(clips(kind, container))
            # .avi stores only a mean rate, so a frame may be off.
            assert moments[-1] == pytest.approx(original[-1] - original[0], rel=0.05)
            assert warnings == []
            out.unlink()


def write_mjpeg(path: Path, count: int = 30) -> Path:
    path.write_bytes(b"".join(cv2.imencode(".jpg", picture(index))[1].tobytes() for index in range(count)))
    return path


def picture(index: int) -> Image:
    image = np.full((48, 64, 3), index * 5, np.uint8)
    return np.asarray(cv2.circle(image, (10 + index, 24), 8, (0, 200, 255), -1), np.uint8)


@pytest.mark.parametrize("name", ["test.mjpeg", "test.mjpg", "TEST.MJPEG"])
def test_recording_of_jpegs_is_a_video(tmp_path: Path, name: str) -> None:
    """As `rpicam-vid --codec mjpeg` writes it: it begins like a picture."""
    source = open_source(str(write_mjpeg(tmp_path / name)))
    frames = list(source.frames())
    assert source.video
    assert (len(frames), source.warnings) == (30, [])
    assert [frame.moment for frame in frames] == pytest.approx(np.arange(30) / source.fps)


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp"])
def test_animated_pictures_are_videos(tmp_path: Path, suffix: str) -> None:
    if not hasattr(cv2, "imwriteanimation"):
        pytest.skip("this OpenCV writes no animations")
    animation = cv2.Animation()
    animation.frames = [cv2.cvtColor(picture(index), cv2.COLOR_BGR2BGRA) for index in range(6)]
    animation.durations = np.array([100, 100, 400, 100, 100, 100])
    path = tmp_path / f"moving{suffix}"
    assert cv2.imwriteanimation(str(path), animation)
    source = open_source(str(path))
    frames = list(source.frames())
    assert source.video
    assert [round(frame.moment, 1) for frame in frames] == [0, 0.1, 0.2, 0.6, 0.7, 0.8]
    # In a folder of pictures it counts as a picture.
    assert not open_source(str(tmp_path)).video


def test_animation_that_is_too_large_or_damaged_is_refused(tmp_path: Path) -> None:
    if not hasattr(cv2, "imencodeanimation"):
        pytest.skip("this OpenCV writes no animations")
    animation = cv2.Animation()
    animation.frames = [cv2.cvtColor(picture(index), cv2.COLOR_BGR2BGRA) for index in range(6)]
    animation.durations = np.full(6, 100)
    content = cv2.imencodeanimation(".webp", animation)[1].tobytes()
    path = tmp_path / "moving.webp"
    for damaged, words in (
        (content[:24] + b"\xff\x3f\x00" * 2 + content[30:], "too large"),
        (content[:60], "damaged"),
        (content[: len(content) // 2], "damaged"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(SourceError, match=words):
            open_source(str(path))


def test_nothing_is_told_of_what_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.gif"):
        assert not is_animated(path)
        assert not is_animated_webp(path)
    for content in (b"GIF89a", b"GIF89a" + bytes(20), b"\x89PNG\r\n\x1a\n\0", b"RIFF\0\0\0\0WEBPVP8X"):
        (tmp_path / "short.gif").write_bytes(content)
        assert not is_animated(tmp_path / "short.gif")


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".jpg"])
def test_pictures_that_do_not_move_stay_pictures(tmp_path: Path, suffix: str) -> None:
    cv2.imwrite(str(tmp_path / f"still{suffix}"), picture(3))
    source = open_source(str(tmp_path / f"still{suffix}"))
    assert not source.video
    assert len(list(source.frames())) == 1


@pytest.mark.parametrize(
    "name",
    [
        "2026-01-31T12:00:05",
        "12:30",
        "-v",
        "clip-%03d",
        "%d",
        "@list",
        "http:clip",
        "rtsp:1",
        "concat:a|b",
        "data:x",
        "clip[1]",
        "caf\udce9",
    ],
)
def test_names_of_any_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    write_mjpeg(Path(f"{name}.mjpeg"), 3)
    for spelling in (f"{name}.mjpeg", f"./{name}.mjpeg", str(tmp_path / f"{name}.mjpeg")):
        assert len(list(VideoFileSource(Path(spelling)).frames())) == 3
        if name.isascii():
            assert len(list(open_source(spelling).frames())) == 3


def test_frames_of_absurd_size_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    jpeg = bytearray(cv2.imencode(".jpg", picture(0))[1].tobytes())
    at = jpeg.find(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = (16_000).to_bytes(2, "big") * 2
    (tmp_path / "large.mjpeg").write_bytes(bytes(jpeg) * 3)
    for number, (suffix, codec) in enumerate(((".mp4", "mp4v"), (".mkv", "mp4v"), (".avi", "MJPG"))):
        path = tmp_path / f"{number}{suffix}"
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), 10, (64, 48))
        writer.write(picture(0))
        writer.release()
        assert read_claims(path).size == (64, 48)
        content = bytearray(path.read_bytes())
        for name, offset, width in ((b"mp4v", 28, 2), (b"\xb0\x81\x40\xba\x81\x30", 0, 0), (b"strf", 12, 4)):
            if (at := content.find(name)) < 0:
                continue
            if width:
                order = "big" if width == 2 else "little"
                content[at + offset : at + offset + 2 * width] = (16_000).to_bytes(width, order) * 2  # type: ignore[arg-type]
            else:
                # Wider numbers overwrite optional fields behind them.
                content[at : at + 8] = b"\xb0\x82\x3e\x80\xba\x82\x3e\x80"
            break
        path.write_bytes(content)
    for path in sorted(tmp_path.iterdir()):
        # A decoder may also find that the file has too few bytes for such a picture.
        with pytest.raises(
            SourceError, match=r"16000 x 16000 pixels, and the maximum is 16\.8 million|neither a picture nor a video"
        ):
            open_source(str(path))
    assert MAX_PIXELS == 4096 * 4096


def test_playing_by_the_clock_keeps_the_time_stamps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stamped(DemoSource):
        def __init__(self) -> None:
            super().__init__()
            self.fps = 10.0

    now, slept = [100.0], []
    monkeypatch.setattr("time.perf_counter", lambda: now[0])

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    monkeypatch.setattr("time.sleep", sleep)
    times = [0.0, 0.1, 0.2, 2.0, 2.1]
    for speed in (1, 2):
        source = Stamped()
        frames = [frame for frame, _ in zip(source.frames(), times, strict=False)]
        object.__setattr__(source, "frames", lambda given=frames: iter(given))
        for frame, time in zip(frames, times, strict=True):
            object.__setattr__(frame, "moment", time)
        device = ReplayDevice(source, 10.0 * speed)
        slept.clear()
        for _ in times:
            assert device.read() is not None
        assert slept == pytest.approx(np.diff([0.0, *times]) / speed)
        assert device.skipped == 0
        assert device.read() is None


@pytest.mark.parametrize(
    ("times", "stall", "decoding", "given", "ended"),
    [
        ([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 0.35, 0.0, [0, 3, 4, 5, 6], 0.6),
        ([0.0, 0.1, 5.0], 1.0, 0.0, [0, 1, 2], 5.0),  # no newer frame was due
        ([0.0, 0.1, 0.2], 9.0, 0.0, [0, 2], 9.0),
        ([index / 10 for index in range(8)], 0.0, 0.16, [0, 1, 3, 4, 6, 7], 1.28),  # skipping does not help
    ],
)
def test_late_frames_of_a_replay_are_skipped_and_counted_once(  # type: ignore[no-untyped-def]
    monkeypatch: pytest.MonkeyPatch, times, stall, decoding, given, ended
) -> None:
    now = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    monkeypatch.setattr("time.sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))

    class Decoded(DemoSource):
        def frames(self) -> Iterator[Frame]:
            for index, moment in enumerate(times):
                now[0] += decoding
                yield stamp(np.full((1, 1, 3), index, np.uint8), index, self.name, moment)

    source = Decoded()
    source.fps = 10.0
    device = ReplayDevice(source, 10.0)
    shown = []
    while (image := device.read()) is not None:
        shown.append(int(image[0, 0, 0]))
        now[0] += stall if len(shown) == 1 else 0.0
    assert shown == given
    assert len(shown) + device.skipped == len(times)
    assert now[0] - 100.0 == pytest.approx(ended)


def test_loop_goes_on_in_time(tmp_path: Path) -> None:
    path = write_mjpeg(tmp_path / "loop.mjpeg", 5)
    source = LoopSource(lambda: VideoFileSource(path))
    moments = [frame.moment for frame, _ in zip(source.frames(), range(14), strict=False)]
    assert np.allclose(np.diff(moments), 1 / source.fps)


def test_loop_of_a_video_that_is_gone_goes_on_when_the_video_is_back(tmp_path: Path) -> None:
    path = write_mjpeg(tmp_path / "loop.mjpeg", 5)
    source = LoopSource(lambda: VideoFileSource(path))
    content = path.read_bytes()
    with pytest.raises(SourceError, match="cannot be read"):
        for _ in source.frames():
            path.unlink(missing_ok=True)
    with pytest.raises(SourceError, match="cannot be read"):
        next(source.frames())
    path.write_bytes(content)
    frames = [frame.index for frame, _ in zip(source.frames(), range(12), strict=False)]
    assert frames == list(range(5, 17))
    assert (source.warnings, source.incomplete) == ([], False)
    source.close()


def test_a_large_animated_png_is_refused_by_what_it_claims(tmp_path: Path) -> None:
    """It is refused before FFmpeg opens it, which would take nine bytes per pixel."""
    animated = tmp_path / "large.png"
    head = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (100_000).to_bytes(4, "big") + (1000).to_bytes(4, "big") + bytes(9)
    animated.write_bytes(head + b"\0\0\0\x08acTL\0\0\0\x02" + bytes(8))
    assert read_claims(animated).size == (100_000, 1000)
    with pytest.raises(SourceError, match="100000 x 1000 pixels"):
        open_source(str(animated))
