"""Damaged and odd video files; the same seed yields the same damage."""

from __future__ import annotations

import base64
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from maskedge.sinks.recording.writer import open_video_file
from maskedge.types import Image

_EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFF)
_SIDES = (0, 1, 2, 63, 4097, 8192, 15_000, 16_384, 60_000, 65_535)
_KINDS = (
    (".mp4", "mp4v"), (".avi", "MJPG"), (".avi", "XVID"), (".mkv", "mp4v"), (".mkv", "MJPG"), (".mkv", "FFV1"), (".webm", "VP80"),
    (".webm", "VP90"), (".ts", "mp2v"), (".flv", "FLV1"), (".wmv", "WMV2"), (".mov", "png "), (".avi", "I420"),
)  # fmt: skip


def cases(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield the name, with suffix, and the content of `count` damaged or odd video files."""
    random = np.random.default_rng(seed)
    clips = small_clips()
    for number in range(count):
        suffix, content = clips[int(random.integers(len(clips)))]
        for _ in range(int(random.choice((0, 1, 1, 1, 2, 5, 20)))):
            content = _MUTATIONS[int(random.integers(len(_MUTATIONS)))](random, content)
        if number % 3 == 0:
            content = _absurd(random, content)
        # Wrong suffixes are common and must not change the result.
        named = (
            suffix if random.random() < 0.9 else str(random.choice((".mp4", ".avi", ".mkv", ".mjpeg", ".ts", ".bin", ".gif", "")))
        )
        yield f"{number:05}{named}", content


def small_clips() -> list[tuple[str, bytes]]:
    """Return a second of video, 64 x 48 pixels, in many containers and codecs.

    These are all that OpenCV writes, and some that it only reads.
    """
    images = [_draw(index) for index in range(12)]
    clips = [(".h264", _H264), (".hevc", _HEVC), (".mp4", _H264_MP4)]
    clips = [(suffix, base64.b64decode(content)) for suffix, content in clips]
    jpegs = [cv2.imencode(".jpg", image)[1].tobytes() for image in images]
    clips += [(".mjpeg", b"".join(jpegs)), (".mjpg", b"".join(jpegs))]
    with tempfile.TemporaryDirectory() as folder:
        for number, (suffix, codec) in enumerate(_KINDS):
            path = Path(folder) / f"{number}{suffix}"
            writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), 10, (64, 48))
            for image in images:
                writer.write(image)
            writer.release()
            if path.exists():
                clips.append((suffix, path.read_bytes()))
        for suffix in (".mp4", ".mkv"):
            path = Path(folder) / f"own{suffix}"
            video = open_video_file(path, 10)
            for index, image in enumerate(images):
                video.write(image, index**1.5)
            # The incomplete file that a killed program leaves, and the complete file.
            clips.append((suffix, path.read_bytes()))
            video.close()
            clips.append((suffix, path.read_bytes()))
    if hasattr(cv2, "imencodeanimation"):
        animation = cv2.Animation()
        animation.frames = [cv2.cvtColor(image, cv2.COLOR_BGR2BGRA) for image in images]
        animation.durations = np.full(len(images), 100)
        for suffix in (".gif", ".png", ".webp"):
            ready, data = cv2.imencodeanimation(suffix, animation)
            if ready:
                clips.append((suffix, data.tobytes()))
    return clips


def _draw(index: int) -> Image:
    image = np.full((48, 64, 3), index * 9, np.uint8)
    return np.asarray(cv2.circle(image, (10 + index * 3, 24), 8, (0, 200, 255), -1), np.uint8)


def _position(random: np.random.Generator, content: bytes) -> int:
    """Choose an offset: anywhere, or near either end, where headers and indices are."""
    reach, which = len(content), random.random()
    at = int(random.integers(max(1, reach if which < 0.4 else min(reach, 600))))
    return at if which < 0.8 else max(0, reach - 1 - at)


def _flip_bit(random: np.random.Generator, content: bytes) -> bytes:
    at = _position(random, content)
    return content[:at] + bytes([content[at] ^ 1 << int(random.integers(8))]) + content[at + 1 :] if content else content


def _set_number(random: np.random.Generator, content: bytes) -> bytes:
    at, kind = _position(random, content), str(random.choice(("<I", ">I", "<H", ">H", "B")))
    value = int(random.choice(_EDGES)) & (1 << 8 * struct.calcsize(kind)) - 1
    return content[:at] + struct.pack(kind, value) + content[at + struct.calcsize(kind) :]


def _cut(random: np.random.Generator, content: bytes) -> bytes:
    return content[: _position(random, content)]


def _drop(random: np.random.Generator, content: bytes) -> bytes:
    at = _position(random, content)
    return content[:at] + content[at + int(random.integers(1, 200)) :]


def _repeat(random: np.random.Generator, content: bytes) -> bytes:
    at, length = _position(random, content), int(random.integers(1, 2000))
    return content[:at] + content[at : at + length] * int(random.integers(2, 20)) + content[at + length :]


def _fill(random: np.random.Generator, content: bytes) -> bytes:
    at, length = _position(random, content), int(random.integers(1, 400))
    return content[:at] + (random.bytes(length), bytes(length), b"\xff" * length)[int(random.integers(3))] + content[at + length :]


def _swap(random: np.random.Generator, content: bytes) -> bytes:
    first, second = sorted(_position(random, content) for _ in range(2))
    return content[second:] + content[first:second] + content[:first]


_MUTATIONS: tuple[Callable[[np.random.Generator, bytes], bytes], ...] = (
    _flip_bit, _flip_bit, _flip_bit, _set_number, _set_number, _set_number, _cut, _drop, _repeat, _fill, _fill, _swap
)  # fmt: skip

# Fields after a name, as (offset from the name, format): picture sizes, rates, durations, counts.
_FIELDS: dict[bytes, tuple[tuple[int, str], ...]] = {
    b"mvhd": ((16, ">I"), (20, ">I")), b"tkhd": ((24, ">I"), (80, ">I"), (84, ">I")), b"mdhd": ((16, ">I"), (20, ">I")),
    b"elst": ((8, ">I"), (12, ">I"), (16, ">I")), b"stts": ((8, ">I"), (12, ">I"), (16, ">I")), b"stsz": ((8, ">I"), (12, ">I")),
    b"stsc": ((8, ">I"), (16, ">I")), b"stco": ((8, ">I"), (12, ">I")), b"trun": ((8, ">I"), (12, ">I")), b"ctts": ((8, ">I"),),
    b"mp4v": ((28, ">H"), (30, ">H")), b"avc1": ((28, ">H"), (30, ">H")),
    b"avih": ((4, "<I"), (20, "<I"), (36, "<I"), (40, "<I")), b"strh": ((24, "<I"), (28, "<I"), (36, "<I")),
    b"strf": ((12, "<I"), (16, "<I")), b"idx1": ((4, "<I"), (12, "<I")), b"RIFF": ((4, "<I"),), b"movi": ((-4, "<I"),),
    b"\xff\xc0\x00\x11\x08": ((5, ">H"), (7, ">H")), b"\x2a\xd7\xb1": ((4, ">H"),), b"\x44\x89": ((3, ">I"),),
    b"\xb0\x81": ((2, "B"),), b"\xba\x81": ((2, "B"),), b"\x23\xe3\x83": ((4, ">I"),), b"acTL": ((4, ">I"),),
    b"fcTL": ((8, ">I"), (12, ">I")), b"IHDR": ((4, ">I"), (8, ">I")), b"GIF89a": ((6, "<H"), (8, "<H")),
    b"FLV": ((5, ">I"),), b"\x00\x00\x01\x20": ((4, ">I"), (6, ">I")),
}  # fmt: skip


def _absurd(random: np.random.Generator, content: bytes) -> bytes:
    """Set the fields of some names to absurd values."""
    present = [name for name in _FIELDS if name in content]
    if not present:
        return _set_number(random, content)
    data = bytearray(content)
    for name in random.permutation(len(present))[: int(random.integers(1, 4))]:
        at = content.find(present[int(name)])
        for offset, layout in _FIELDS[present[int(name)]]:
            if random.random() < 0.7 and 0 <= at + offset <= len(data) - struct.calcsize(layout):
                value = int(random.choice(_SIDES if random.random() < 0.5 else _EDGES)) & (1 << 8 * struct.calcsize(layout)) - 1
                struct.pack_into(layout, data, at + offset, value)
    return bytes(data)


# 10 frames each, encoded by FFmpeg: OpenCV's wheels cannot encode these codecs.
_H264 = (
    "AAAAAWdkAAqscgREewEQAAADABAAAAMBQPEiWEYAAAABaOhDglLIsAAAAWWIgQAv24AkPcgH4VX8X16WjUj4Akuw5wf8seI7a1zCILoZSKBkc979nTi31M3L"
    "9iSUgYYchoUoFtXI9I8tGjuRwljt6F8lsR7kwibSkNn//7XZrlLY3l8HYvZgP///y5DqcKTwiwbut5Se0SfQHffK4jN9w3G17SLqF9JOJNWXWcubGyJU+PxQ"
    "2dIcB7jgSvx8pawu1AgktITwFzoKN2CIWh79EkchSS8y7yWcJMQoIOTk3XdEMa3TsWb+Z1RWRGOSFqIOPG+W0O+hO/fXKZJyqST90zKVbhjgiGARseJvAx+l"
    "uysIr2AoM/pw0MvuquARV/Xz3pb6BIvo304SO8fovcFbfB7XeYmWxUg/Jdd1Tub/YlMPumxLFsIUFhk2GY+l7MZlGJ32pshlKlxoB0xTV1l7erQNSsPKDGxL"
    "uerzhcBDjcJRmXFU1ub6w4BIwVmRbVrgsGbP4hpNSbk4WHGOSq5I8vEcy+6h41SsWQRI7cEzB/7P1S5qP2AhI0oZ7VOuDoDT/RurAfZVwq2AY3oz9OFThq+y"
    "40cpGKPSzJUyleoV+WHFjcoXVX9jNIzc5JPIQRe+8wn3AfoZbjMyWK87uTJNRYvXP/euX6UZmiO94o1pT43F1iv4v08cUBpkUNUM4EZ7cPw0yNJ4RkcYgUYQ"
    "DpMqNyP4UsRy8e5oKwIyjEPoblUwQBj8vK/U9g5Fant5sHYVzawyE5HfDIG8x0lPVc46/yVWGRXFq3pcDK5y/8tXOYF/kiHwz7GoAD+ai5/+dXN3HR2Li+eB"
    "AAAAAUGaCO2Ij+FtXs4YBZsa69otxtn8Xhm8tNACjjrMPAAAAAFBnhBnER/+QOBTYBIPJm+tAAAAAQGeGCaIQ//72O1BDwqgaZIkZqhIbF59Zi1yAAAAAQGe"
    "GE6IQ//1OtYHryEAAAABAZ4YjUhD/8dNwC4hAAAAAQGeGK1IQ//HTcAuIQAAAAEBnhjNSEP/pIEAAAABQZoZKTUCAtEymBCHmizt/yY5Jz81rbYAAAABAZ4h"
    "DchD/6SA"
)
_HEVC = (
    "AAAAAUABDAH//wFgAAADAJAAAAMAAAMAHpmKAkAAAAABQgEBAWAAAAMAkAAAAwAAAwAeoCCDFlmYq5G2vAWgIAAAAwAgAAADAUEAAAABRAHBc9iJAAABKAGv"
    "DmDWXBZHHpH2mworrZP/O/7S6wM88rvreuO98aqBWnTrGiM9ZSJQbTJP+92v51NhyEaJIfSaY9T8fcgI4x3WVsMe5wCvSgO/A4TX6JDljIECF5+x0h1mwGJg"
    "JWYnksXkiF8UvzqNIfD5VmX4m3I3RivbEsisXf+aP6l3MB2zSpAtaPv9xqD7TQVVbRGIDZehmHCJsaIAfTbnPIyBxMh/5y2lgxmajKYOfg/2TkgGLr8RXFYm"
    "VBtdbErh5kL2HrGyzBMCcITo4D5ydZcVPoKxh7rIuQRk5Nsz4uaQmGv1nO7Us/pcHFo6HgcuUtF9iLohSNDyWGMy+yXbzHBhE4ttL6ipRHL6zxJ0/7HbrfAu"
    "4//a+E1r3Ykzm/te2OLEnPz40GwHD1b/5dwv/5cPVUdbnYUXW3RUpAkKh4gswy7x5+Th8TwlzP94/T+LUwvz5ah0y+EG9V1tJKLWg8CkUjqK2Ac8jPCXxw8g"
    "W+nuuU0ugZdWgeXzW4kz3RV5FTBsGxyGymQK1tRqQmrLmFV6PT0r6FG654HX281mtbwqVyxcl8kKO+2ibfcSjim4OYPlwUFQbhxCTBV/vECv3H8vEnS1lRJ9"
    "7tRuS+/UWIZwuNVq37fGCzb3fxGjX7V46uKjVE3M/yQ2Tj9Pn+dE7iqkw9F8Q921+2t8f2MASuIzjxIZEWd0hT15m9ETDfY+TBV0YLd3AAAAAQIB0ElE+EMh"
    "zP7UJjfFP69mVPImbj9r+8QAAAABAgHgpIsngQwh5C/9h1AAAAABAAHgJPJJ+iIYEEGAeCoAAAABAAHgRNXJ+iIYEECALSSxXAAAAAEAAeBk3Un6IhgQQIAt"
    "JLFcAAAAAQAB4ITJyfoiGBBBgC0ksVwAAAABAAHgxrLf1BDAggx4KgAAAAEAAeDmlLX1BDAggXgqAAAAAQAB4Qacv9QQwIIEeCo="
)
_H264_MP4 = (
    "AAAAIGZ0eXBpc29tAAACAGlzb21pc28yYXZjMW1wNDEAAAAIZnJlZQAAAxFtZGF0AAACS2WIgQAv24AkPcgH4VX8X16WjUj4Akuw5wf8seI7a1zCILoZSKBk"
    "c979nTi31M3L9iSUgYYchoUoFtXI9I8tGjuRwljt6F8lsR7kwibSkNn//7XZrlLY3l8HYvZgP///y5DqcKTwiwbut5Se0SfQHffK4jN9w3G17SLqF9JOJNWX"
    "WcubGyJU+PxQ2dIcB7jgSvx8pawu1AgktITwFzoKN2CIWh79EkchSS8y7yWcJMQoIOTk3XdEMa3TsWb+Z1RWRGOSFqIOPG+W0O+hO/fXKZJyqST90zKVbhjg"
    "iGARseJvAx+luysIr2AoM/pw0MvuquARV/Xz3pb6BIvo304SO8fovcFbfB7XeYmWxUg/Jdd1Tub/YlMPumxLFsIUFhk2GY+l7MZlGJ32pshlKlxoB0xTV1l7"
    "erQNSsPKDGxLuerzhcBDjcJRmXFU1ub6w4BIwVmRbVrgsGbP4hpNSbk4WHGOSq5I8vEcy+6h41SsWQRI7cEzB/7P1S5qP2AhI0oZ7VOuDoDT/RurAfZVwq2A"
    "Y3oz9OFThq+y40cpGKPSzJUyleoV+WHFjcoXVX9jNIzc5JPIQRe+8wn3AfoZbjMyWK87uTJNRYvXP/euX6UZmiO94o1pT43F1iv4v08cUBpkUNUM4EZ7cPw0"
    "yNJ4RkcYgUYQDpMqNyP4UsRy8e5oKwIyjEPoblUwQBj8vK/U9g5Fant5sHYVzawyE5HfDIG8x0lPVc46/yVWGRXFq3pcDK5y/8tXOYF/kiHwz7GoAD+ai5/+"
    "dXN3HR2Li+eBAAAAHkGaCO2Ij+FtXs4YBZsa69otxtn8Xhm8tNACjjrMPAAAABBBnhBnER/+QOBTYBIPJm+tAAAAGgGeGCaIQ//72O1BDwqgaZIkZqhIbF59"
    "Zi1yAAAADQGeGE6IQ//1OtYHryEAAAAMAZ4YjUhD/8dNwC4hAAAADAGeGK1IQ//HTcAuIQAAAAkBnhjNSEP/pIEAAAAXQZoZKTUCAtEymBCHmizt/yY5Jz81"
    "rbYAAAAJAZ4hDchD/6SAAAADnG1vb3YAAABsbXZoZAAAAAAAAAAAAAAAAAAAA+gAAAPoAAEAAAEAAAAAAAAAAAAAAAABAAAAAAAAAAAAAAAAAAAAAQAAAAAA"
    "AAAAAAAAAAAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAIAAALGdHJhawAAAFx0a2hkAAAAAwAAAAAAAAAAAAAAAQAAAAAAAAPoAAAAAAAAAAAA"
    "AAAAAAAAAAABAAAAAAAAAAAAAAAAAAAAAQAAAAAAAAAAAAAAAAAAQAAAAABAAAAAMAAAAAAAJGVkdHMAAAAcZWxzdAAAAAAAAAABAAAD6AAACAAAAQAAAAAC"
    "Pm1kaWEAAAAgbWRoZAAAAAAAAAAAAAAAAAAAKAAAACgAVcQAAAAAAC1oZGxyAAAAAAAAAAB2aWRlAAAAAAAAAAAAAAAAVmlkZW9IYW5kbGVyAAAAAeltaW5m"
    "AAAAFHZtaGQAAAABAAAAAAAAAAAAAAAkZGluZgAAABxkcmVmAAAAAAAAAAEAAAAMdXJsIAAAAAEAAAGpc3RibAAAAMFzdHNkAAAAAAAAAAEAAACxYXZjMQAA"
    "AAAAAAABAAAAAAAAAAAAAAAAAAAAAABAADAASAAAAEgAAAAAAAAAARVMYXZjNTkuMzcuMTAwIGxpYngyNjQAAAAAAAAAAAAAABj//wAAADdhdmNDAWQACv/h"
    "ABlnZAAKrHIERHsBEAAAAwAQAAADAUDxIlhGAQAHaOhDglLIsP34+AAAAAAQcGFzcAAAAAEAAAABAAAAFGJ0cnQAAAAAAAAYSAAAGEgAAAAYc3R0cwAAAAAA"
    "AAABAAAACgAABAAAAAAUc3RzcwAAAAAAAAABAAAAAQAAAEhjdHRzAAAAAAAAAAcAAAABAAAIAAAAAAEAACAAAAAAAQAADAAAAAACAAAAAAAAAAMAAAQAAAAA"
    "AQAADAAAAAABAAAEAAAAABxzdHNjAAAAAAAAAAEAAAABAAAACgAAAAEAAAA8c3RzegAAAAAAAAAAAAAACgAAAk8AAAAiAAAAFAAAAB4AAAARAAAAEAAAABAA"
    "AAANAAAAGwAAAA0AAAAUc3RjbwAAAAAAAAABAAAAMAAAAGJ1ZHRhAAAAWm1ldGEAAAAAAAAAIWhkbHIAAAAAAAAAAG1kaXJhcHBsAAAAAAAAAAAAAAAALWls"
    "c3QAAAAlqXRvbwAAAB1kYXRhAAAAAQAAAABMYXZmNTkuMjcuMTAw"
)
