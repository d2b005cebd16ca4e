"""Requests to cameras, addresses, and options that make no sense."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from helpers.streams import until, write_video
from maskedge import SourceError, UsageError, open_source
from maskedge.sources import LiveSource, SourceConfig, VideoFileSource, demo, without_password
from maskedge.sources.address import file_path, secrets_in, split_address, tidy
from maskedge.sources.devices.csi import argus_pipeline
from maskedge.sources.devices.pixels import PixelConverter


class Camera:
    """Replaces `cv2.VideoCapture` on V4L2, which no test host has, and records the calls."""

    def __init__(self, device: int | str, backend: int) -> None:
        self.calls: list[tuple[str, Any]] = [("open", (device, backend))]
        self.values: dict[int, float] = {}
        self.reads = 0
        Camera.last = self

    last: Camera
    limits: dict[int, float] = {}  # noqa: RUF012

    def isOpened(self) -> bool:  # noqa: N802
        return True

    def set(self, name: int, value: float) -> bool:
        self.calls.append(("set", name))
        self.values[name] = self.limits.get(name, value)
        return True

    def get(self, name: int) -> float:
        return self.values.get(name, self.limits.get(name, 0.0))

    def read(self) -> tuple[bool, Any]:
        self.reads += 1
        if self.reads in (3, 4, 5):  # damaged pictures
            return False, None
        return True, np.full((480, 640), self.reads % 250, np.uint8)  # a grey camera

    def release(self) -> None:
        self.calls.append(("release", None))


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> type[Camera]:
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    monkeypatch.setattr(Camera, "limits", {})
    return Camera


def test_camera_is_asked_in_the_order_of_v4l2(camera: type[Camera]) -> None:
    source = open_source(SourceConfig(camera="/dev/video7", width=1280, height=720, fps=30, fourcc="MJPG"))
    frames = source.frames()
    frame = next(frames)
    calls = camera.last.calls
    assert calls[0] == ("open", (7, cv2.CAP_V4L2))
    asked = [cv2.CAP_PROP_FOURCC, cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FPS, cv2.CAP_PROP_BUFFERSIZE]
    assert [name for call, name in calls if call == "set"] == asked
    assert source.warnings == []
    assert source.fps == 30
    assert frame.image.shape == (480, 640, 3), "grey is converted to colour"
    assert next(frames).index > frame.index, "some damaged pictures are no loss"
    until(lambda: next(frames) and source.skipped)
    assert source.skipped == 3
    assert source.state == "open"
    source.close()
    assert camera.last.calls[-1] == ("release", None)


def test_what_a_camera_gives_instead_is_said(camera: type[Camera], monkeypatch: pytest.MonkeyPatch) -> None:
    yuyv = cv2.VideoWriter.fourcc(*"YUYV")
    limits = {cv2.CAP_PROP_FOURCC: yuyv, cv2.CAP_PROP_FRAME_WIDTH: 640, cv2.CAP_PROP_FRAME_HEIGHT: 480, cv2.CAP_PROP_FPS: 10}
    monkeypatch.setattr(camera, "limits", limits)
    source = open_source(SourceConfig(camera="0", width=1280, height=720, fps=30, fourcc="MJPG"))
    source.close()
    assert source.warnings == [
        "camera 0 delivers the format YUYV instead of MJPG.",
        "camera 0 delivers 640 x 480 instead of 1280 x 720.",
        "camera 0 delivers 10 frames/s instead of 30.",
    ]


def test_nothing_asked_nothing_set(camera: type[Camera]) -> None:
    open_source("0").close()
    assert [name for call, name in camera.last.calls if call == "set"] == [cv2.CAP_PROP_BUFFERSIZE]
    open_source("/dev/v4l/by-id/usb-Webcam-video-index0").close()
    assert camera.last.calls[0] == ("open", ("/dev/v4l/by-id/usb-Webcam-video-index0", cv2.CAP_V4L2))


def test_a_camera_under_a_name_of_one_s_own(camera: type[Camera], tmp_path: Path) -> None:
    link = tmp_path / "doorcam"
    link.symlink_to("/dev/video7")
    open_source(SourceConfig(camera=str(link))).close()
    assert camera.last.calls[0] == ("open", (7, cv2.CAP_V4L2)), "the target of the link"
    link.unlink()
    link.symlink_to("/dev/null")
    for source in (SourceConfig(camera=str(link)), SourceConfig(uri=str(link)), SourceConfig(camera="doorcam")):
        open_source(source).close()
        assert camera.last.calls[0] == ("open", (source.address, cv2.CAP_V4L2))


@pytest.mark.parametrize(
    ("uri", "error", "sentence"),
    [
        ("ftp://me:geheim@host/clip", UsageError, r"ftp://\*\*\*@host/clip has an unknown scheme: use .*rtsp://"),
        ("csi://left", UsageError, "give its number, as in csi://0"),
        ("csi://0", SourceError, "needs a Raspberry Pi"),
        ("picamera2://0", SourceError, "sudo apt install python3-picamera2"),
        ("gst:videotestsrc ! fakesink", UsageError, "has no appsink"),
        ("gst:rtspsrc location=rtsp://a:geheim@b user-pw=geheim ! appsink", SourceError, "needs an OpenCV with GStreamer"),
        ("srt://127.0.0.1:9?passphrase=geheim", SourceError, r"passphrase=\*\*\* could not .* the OpenCV of PyPI cannot read SRT"),
        ("file:///no/such/clip.mp4", SourceError, "there is no file or folder /no/such/clip.mp4"),
    ],
)
def test_addresses_that_cannot_work_here(uri: str, error: type[Exception], sentence: str) -> None:
    if "GStreamer" in sentence and cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        pytest.skip("this OpenCV has GStreamer")
    with pytest.raises(error, match=sentence) as failure:
        open_source(uri)
    assert "geheim" not in str(failure.value)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "give exactly one source"),
        ({"uri": "demo", "camera": "0"}, "give exactly one source"),
        ({"uri": "demo", "width": 640}, "both width and height"),
        ({"uri": "demo", "fps": 0}, "source.fps takes a number from 0.01"),
        ({"uri": "demo", "stall_timeout": -1}, "from 0 to 86400, got -1"),
        ({"uri": "demo", "max_retries": -1}, "from 0 to 1000000, got -1"),
        ({"uri": "demo", "backoff_min": 50}, "backoff_max"),
        ({"uri": "demo", "fourcc": "MJPEG"}, "four letters"),
        ({"uri": "demo", "open_timeout": float("nan")}, "from 0.01 to 3600, got nan"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        open_source(SourceConfig(**options))


def test_pipeline_of_a_jetson() -> None:
    pipeline = argus_pipeline(1, SourceConfig(width=1280, height=720, fps=30))
    assert pipeline.startswith("nvarguscamerasrc sensor-id=1 ! ")
    assert "width=1280,height=720" in pipeline
    assert pipeline.endswith("appsink drop=true max-buffers=1 sync=false")
    devices_name = without_password(pipeline)
    assert devices_name == pipeline


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://me:pa%20ss@cam/1", "rtsp://***@cam/1"),
        ("http://cam/1?x=a@b", "http://cam/1?x=a@b"),
        ("rtsp://me:p@ss@cam:554/1", "rtsp://***@cam:554/1"),
        ("rtsp://me:pa/ss@cam:554/1", "rtsp://***@cam:554/1"),
        ("rtsp://me@cam/1", "rtsp://***@cam/1"),
        ("http://cam:80/v.cgi?usr=me&pwd=geheim&size=2", "http://cam:80/v.cgi?usr=***&pwd=***&size=2"),
        ("http://cam/v?loginuse=me&loginpas=x", "http://cam/v?loginuse=***&loginpas=***"),
        ("http://cam/v?access_token=abc#x", "http://cam/v?access_token=***#x"),
        ("http://[::1]:8080/v", "http://[::1]:8080/v"),
        ("udp://@:5000", "udp://@:5000"),
        ("udp://@239.0.0.1:5000?fifo_size=100", "udp://@239.0.0.1:5000?fifo_size=100"),
        ("srt://cam:9000?passphrase=abc&mode=caller", "srt://cam:9000?passphrase=***&mode=caller"),
        (
            'gst:rtspsrc location=rtsp://me:geheim@cam user-id=me user-pw="ge heim" ! decodebin ! appsink',
            "gst:rtspsrc location=rtsp://***@cam user-id=*** user-pw=*** ! decodebin ! appsink",
        ),
        ("/dev/video0", "/dev/video0"),
        ("rtsp://admin:p@ss#w/rd@CAMERA/", "rtsp://***@CAMERA/"),
        ("rtsp://admin:p?s@cam/", "rtsp://***@cam/"),
        ("rtsp://me:geheim@[fe80::1%25eth0]:554/1", "rtsp://***@[fe80::1%25eth0]:554/1"),
        ("http://cam/v?psw=abc&SynoToken=abc;d!e&passcode=1", "http://cam/v?psw=***&SynoToken=***&passcode=***"),
        ("rtsp://cam/user=me_password=geheim_channel=1_stream=0.sdp", "rtsp://cam/user=***_password=***_channel=1_stream=0.sdp"),
        ("http://cam/v?sid=1&streamid=x&X-Amz-Signature=abc", "http://cam/v?sid=***&streamid=***&X-Amz-Signature=***"),
        ("rtmp://cam/v?pubPasswd=abc&sessionKey=b&cookie=c", "rtmp://cam/v?pubPasswd=***&sessionKey=***&cookie=***"),
        ("http://a:b@relay/?src=rtsp://me:geheim@cam/1&pwd=c", "http://***@relay/?src=rtsp://***@cam/1&pwd=***"),
        ("http://relay/?url=rtsp%3A%2F%2Fme%3Ageheim%40cam%2F1&x=1", "http://relay/?url=rtsp%3A%2F%2F***%40cam%2F1&x=1"),
        ("http://a:b@relay/?url=http%3a%2f%2fcam%2f%3fpwd%3dgeheim", "http://***@relay/?url=http%3A%2F%2Fcam%2F%3Fpwd%3D***"),
        ("http://relay/?u=rtsp%253A%252F%252Fme%253Ageheim%2540cam", "http://relay/?u=rtsp%253A%252F%252F***%2540cam"),
        ("http://relay/?src=ffmpeg%3Artsp%3A%2F%2Fme%3Ageheim%40cam", "http://relay/?src=ffmpeg%3Artsp%3A%2F%2F***%40cam"),
        ("http://relay/?a=b%253Artsp%253A%252F%252Fme%253Ageheim%2540cam", "http://relay/?a=b%253Artsp%253A%252F%252F***%2540cam"),
        ("http://relay/?src=rtsp%3A//me:geheim@cam", "http://relay/?src=rtsp%3A%2F%2F***%40cam"),
        ("http://a:b@relay/?x=rtsp://c:geheim@cam&pwd=ge://heim", "http://***@relay/?x=rtsp://***@cam&pwd=***"),
        ("http://relay/?src=rtsp:%2F%2Fcam%2F1", "http://relay/?src=rtsp:%2F%2Fcam%2F1"),
        ("http://me:ab%3A%2F%2Fcd@relay/rtsp%3A%2F%2Fcam%2F1", "http://***@relay/rtsp%3A%2F%2Fcam%2F1"),
    ],
)
def test_secrets_of_an_address_are_hidden(address: str, shown: str) -> None:
    assert without_password(address) == shown


def test_demo_by_the_clock() -> None:
    """Played faster than it is read: the newest frame wins, and the dropped ones are counted."""
    source = open_source(SourceConfig(uri="demo", live=True, fps=100))
    assert isinstance(source, LiveSource)
    assert (source.live, source.fps, source.name) == (True, 100, "demo")
    got = []
    for frame in source.frames():
        got.append(frame.index)
        if len(got) < 5:
            time.sleep(0.1)  # as a slow detector would
    assert source.state == "ended"
    assert got == sorted(set(got))
    assert source.dropped > 0
    assert source.captured == len(got) + source.dropped >= 300


def test_demo_in_a_loop() -> None:
    source = open_source(SourceConfig(uri="demo", loop=True))
    indices = []
    for frame in source.frames():
        indices.append(frame.index)
        if len(indices) == 310:
            assert np.array_equal(frame.image, demo.draw(9))
            source.stop()
    assert indices == list(range(310))
    source.close()


def test_pictures_are_no_video(tmp_path: Any) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), demo.draw(0))
    with pytest.raises(UsageError, match="only a video or the demo can be played live or in a loop"):
        open_source(SourceConfig(uri=str(tmp_path), live=True))


@pytest.mark.parametrize(
    ("written", "opened"),
    [
        ("rtsp://me:pa%20ss@cam/1", "rtsp://me:pa%20ss@cam/1"),
        ("RTSP://Cam/1", "rtsp://Cam/1"),
        ("rtsp://admin:p@ss#w/rd@CAMERA/", "rtsp://admin:p%40ss%23w%2Frd@CAMERA/"),
        ("rtsp://me:p?x@cam:554/1?a=b@c", "rtsp://me:p%3Fx@cam:554/1?a=b@c"),
        ("rtsp://me:100%@cam/1", "rtsp://me:100%25@cam/1"),
        ("rtsp://me:a:b@cam/1", "rtsp://me:a:b@cam/1"),
        ("http://cam/1?x=a@b", "http://cam/1?x=a@b"),
        ("http://[::1]:8080/v", "http://[::1]:8080/v"),
        ("http://me:ü@[fe80::1]/v", "http://me:%C3%BC@[fe80::1]/v"),
        ("udp://@:5000", "udp://@:5000"),
        ("srt://cam:9000?passphrase=a@b", "srt://cam:9000?passphrase=a@b"),
    ],
)
def test_addresses_as_they_are_copied(written: str, opened: str) -> None:
    if "p?x" in written:
        with pytest.raises(UsageError, match="is ambiguous"):
            split_address(tidy(written))
        return
    address = split_address(tidy(f" {written}\t"))
    assert address is not None
    assert address.full == opened


def test_passwords_are_decoded_where_a_server_is_asked() -> None:
    address = split_address("http://ad%6Din:p@ss%23@cam/")
    assert address is not None
    assert address.credentials == ("admin", "p@ss#")
    assert secrets_in("rtsp://cam/user=me_password=geheim_channel=1_stream=0.sdp") == {"geheim"}
    assert secrets_in("http://admin:p%40ss@cam/?user=me&pwd=geheim") == {"admin:p%40ss", "p%40ss", "admin:p@ss", "p@ss", "geheim"}


def test_schemes_have_no_case_and_blanks_are_cut() -> None:
    with pytest.raises(SourceError, match=r"the stream tcp://127\.0\.0\.1:9 could not be opened"):
        open_source(" TCP://127.0.0.1:9 ")
    with pytest.raises(UsageError, match="has no appsink"):
        open_source("GST:videotestsrc ! fakesink")


def test_addresses_of_files(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "a b%20.mp4", 5)
    for address in (
        f"file://{tmp_path}/a%20b%2520.mp4",
        f"FILE://localhost{tmp_path}/a%20b%2520.mp4",
        f"file:{tmp_path}/a%20b%2520.mp4",
        f"file://{clip}",
        f"  {clip} ",
    ):
        source = open_source(address)
        assert isinstance(source, VideoFileSource)
        source.close()
    with pytest.raises(UsageError, match="names the host server"):
        open_source("file://server/share/clip.mp4")
    assert file_path("file:///clips/%ff.mp4") == "/clips/\udcff.mp4"


# Pixel formats.


def test_pictures_of_more_than_8_bits_are_scaled() -> None:
    for value, expected in ((51200, 200), (4095, 255), (1023, 255), (0, 0)):
        image = PixelConverter().convert(np.full((4, 6), value, np.uint16))
        assert image is not None
        assert image.shape == (4, 6, 3)
        assert image.dtype == np.uint8
        assert (image == expected).all()
    converter = PixelConverter()
    first = converter.convert(np.full((4, 6), 9000, np.uint16))
    second = converter.convert(np.full((4, 6), 900, np.uint16))
    assert first is not None
    assert second is not None
    assert (first[0, 0, 0], second[0, 0, 0]) == (9000 >> 6, 900 >> 6), "the brightness keeps its scale"
    swapped = PixelConverter("videotestsrc ! video/x-raw,format=(string)GRAY16_BE ! appsink")
    big = swapped.convert(np.full((4, 6), 51200, np.uint16).byteswap())
    assert big is not None
    assert big[0, 0, 0] == 200


def test_pictures_of_real_numbers_are_scaled() -> None:
    for value, expected in ((0.5, 127), (200.0, 200), (40_000.0, 155)):
        pixels = np.full((4, 6), value, np.float32)
        pixels[0, 0] = np.nan
        image = PixelConverter().convert(pixels)
        assert image is not None
        assert abs(int(image[1, 1, 0]) - expected) <= 1
        assert image[0, 0, 0] == 0


@pytest.mark.parametrize("name", ["I420", "YV12", "NV12", "NV21", "YUY2", "UYVY", "BGRx", "BGRA", "RGBx", "RGB"])
def test_formats_of_gstreamer_become_bgr(name: str) -> None:
    colour = np.zeros((4, 8, 3), np.uint8)
    colour[:] = (200, 60, 30)
    if name in ("I420", "YV12"):
        pixels = cv2.cvtColor(colour, {"I420": cv2.COLOR_BGR2YUV_I420, "YV12": cv2.COLOR_BGR2YUV_YV12}[name])
    elif name in ("NV12", "NV21"):
        planes = cv2.cvtColor(colour, cv2.COLOR_BGR2YUV_I420)
        u, v = planes[4, :8].reshape(2, 4), planes[5, :8].reshape(2, 4)
        chroma = np.dstack((u, v) if name == "NV12" else (v, u)).reshape(2, 8)
        pixels = np.vstack((planes[:4], chroma))
    elif name in ("YUY2", "UYVY"):
        y, u, v = cv2.cvtColor(colour, cv2.COLOR_BGR2YUV)[0, 0]
        row = np.array([y, u, y, v] if name == "YUY2" else [u, y, v, y], np.uint8)
        pixels = np.tile(row, (4, 4)).reshape(4, 8, 2)
    elif name == "RGB":
        pixels = colour[:, :, ::-1]
    else:
        pixels = np.dstack((colour if name.startswith("BGR") else colour[:, :, ::-1], np.full((4, 8), 255, np.uint8)))
    image = PixelConverter(f"v4l2src ! video/x-raw,format={name} ! appsink", 4).convert(pixels)
    assert image is not None
    assert image.shape == (4, 8, 3)
    assert (
        np.abs(image.astype(int) - colour).max() <= 30 if name not in ("BGRx", "BGRA", "RGBx", "RGB") else (image == colour).all()
    )


def test_a_jpeg_from_a_pipeline_is_decoded() -> None:
    jpeg = cv2.imencode(".jpg", demo.draw(0))[1]
    image = PixelConverter("v4l2src ! image/jpeg ! appsink").convert(jpeg.reshape(-1, 1))
    assert image is not None
    assert image.shape == demo.draw(0).shape


@pytest.mark.parametrize(
    ("pixels", "pipeline", "sentence"),
    [
        (np.zeros((6, 8), np.uint8), "appsink", "planar YUV without the name of its format"),
        (np.zeros((4, 8), np.uint8), "video/x-bayer,format=rggb ! appsink", "raw pixels of a Bayer sensor"),
        (np.zeros((4, 8, 2), np.uint8), "appsink", "pictures of 2 channels"),
        (np.zeros((4, 8), np.int32), "appsink", "pictures of int32"),
        (np.full((4, 8), 1e9, np.float32), "appsink", "values up to 1e"),
        (np.zeros((5, 7), np.uint8), "format=NV12 ! appsink", "of an odd size"),
    ],
)
def test_what_cannot_be_read_is_named(pixels: np.ndarray, pipeline: str, sentence: str) -> None:
    with pytest.raises(SourceError, match=f"{sentence}.*videoconvert"):
        PixelConverter(pipeline, 4).convert(pixels)
