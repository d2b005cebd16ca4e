"""Pictures: what counts as one, unsupported formats, and checks of every header."""

from __future__ import annotations

import itertools
import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from fuzz.pictures import cases
from maskedge import SourceError, open_source
from maskedge.support.picture_header import MAX_PIXELS, check_header, without_ancillary_chunks
from maskedge.support.pictures import decode_picture, is_picture, list_pictures, read_picture
from maskedge.types import Image

HEIC = b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf" + bytes(400)


@pytest.mark.parametrize(
    "suffix", [".jpg", ".png", ".webp", ".bmp", ".tif", ".ppm", ".pam", ".ras", ".jp2", ".gif", ".avif", ".hdr"]
)
def test_what_opencv_writes_is_admitted(suffix: str, frames: list[Image]) -> None:
    image = frames[0].astype(np.float32) if suffix == ".hdr" else frames[0]
    try:
        content = cv2.imencode(suffix, image)[1].tobytes()
        cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR).shape  # noqa: B018
    except (cv2.error, AttributeError):
        pytest.skip(f"this OpenCV ({cv2.__version__}) knows no {suffix}")
    header = check_header(content)
    assert (header.width, header.height) == (640, 480)
    assert header.memory >= 6 * 640 * 480
    assert decode_picture(content + b"what cameras append").shape == (480, 640, 3)
    for end in range(0, 60, 7):
        with pytest.raises(ValueError, match=r"empty|not a picture|cut off|damaged"):
            decode_picture(content[:end])


def test_a_kind_of_a_format_that_cannot_be_decoded_is_named_with_a_remedy() -> None:
    content = cv2.imencode(".tiff", np.zeros((20, 30, 3), np.float32))[1].tobytes()
    with pytest.raises(ValueError, match=r"is a picture \(TIFF\) .* cannot decode, or is damaged: convert it to JPEG or PNG"):
        decode_picture(content)


@pytest.mark.parametrize(
    "content",
    [b"P4\n16 4\n01234567", b"P4\n16 4\n.1234567", b"P4\n16 4\n-1-1-1-1", b"P1\n4 3\n010110100101", b"P1\n4 3\n0101\n1010\n0101\n"],
)
def test_pixels_that_look_like_a_number_are_pixels(content: bytes) -> None:
    """A bitmap states no greatest value: its pixels follow its size."""
    assert decode_picture(content).shape in ((4, 16, 3), (3, 4, 3))


def chunk(kind: bytes, body: bytes, length: int | None = None) -> bytes:
    return struct.pack(">I", len(body) if length is None else length) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *, length: int | None = None) -> bytes:
    body = zlib.compress(bytes((1 + 3 * width) * min(height, 100)))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", body, length) + chunk(b"IEND", b"")


def jpeg(width: int, height: int, progressive: bool = False) -> bytes:
    content = cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8), [cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)])[1].tobytes()
    at = content.index(b"\xff\xc2" if progressive else b"\xff\xc0") + 5
    return content[:at] + struct.pack(">HH", height, width) + content[at + 4 :]


JP2 = b"\xff\x4f\xff\x51" + struct.pack(">HH8IH", 41, 0, 4000, 4000, 0, 0, 1, 1, 0, 0, 1) + b"\x07\x01\x01\xff\x90" + bytes(99)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (png(320, 240, length=0xFFFFFFF0), "its chunk IDAT would end at byte 4,294,967,"),
        (png(40_000, 40_000), "claims 40,000 x 40,000 pixels, and the maximum is 120 million"),
        (png(9_000, 9_000), "486 MB of memory as PNG"),
        (jpeg(65_500, 65_500), "claims 65,500 x 65,500 pixels"),
        (jpeg(7_000, 7_000, progressive=True), "MB of memory as JPEG"),
        (jpeg(64, 64, progressive=True)[:-2] + b"\xff\xda\0\x08\x01\x01\0\x01\x3f\x10\x1f" * 200 + b"\xff\xd9", "it has 2"),
        (b"RIFF\xf0\xff\xff\xffWEBPVP8 " + bytes(50), "RIFF chunk"),
        (b"BM" + bytes(8) + struct.pack("<IIiiHHI", 54, 40, 60_000, 60_000, 1, 24, 0) + bytes(24), "its pixel data would end"),
        (b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 273, 4, 0x3FFFFFFF, 8), "its value of tag 273 would end"),
        (b"P6 30000 4000 255\n" + bytes(99), "its pixel data would end"),
        (b"P4\n16 4\n012345", "its pixel data would end"),
        (b"P5\n4 3\n.\n" + bytes(12), "is damaged: its header is invalid"),
        (b"P7\nWIDTH 9\nHEIGHT 9\nDEPTH 9999999\nMAXVAL 255\nENDHDR\n", "its pixel data would end"),
        (b"\x59\xa6\x6a\x95" + struct.pack(">7I", 9, 9, 24, 0, 1, 1, 0xFFFFFFF0), "its pixel data would end"),
        (b"#?RADIANCE\n\n-Y 9000 +X 9000\n" + bytes(99), "MB of memory as Radiance HDR"),
        (b"GIF89a" + struct.pack("<HHBBB", 65_000, 65_000, 0, 0, 0) + b"\x2c" + bytes(9) + b"\x08\0\x3b", "claims 65,000 x 65,000"),
        (JP2, "MB of memory as JPEG 2000"),
        (HEIC, "is a HEIC picture, which is not supported: convert it to JPEG or PNG"),
        (b"II*\0\x10\0\0\0CR\x02\0" + bytes(99), "is a camera raw file, which is not supported: convert it"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(99), "JPEG XL, which is not supported"),
        (b"\xff\xd8\xff\xe0\xff\xff" + bytes(99), "its segment would end"),
        (b"hello", "is not a picture"),
    ],
)
def test_no_header_is_believed(content: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        decode_picture(content)


def test_large_photographs_are_admitted() -> None:
    # A JPEG of a 108-megapixel phone, with a realistic file size.
    header = check_header(jpeg(12_000, 9_000) + bytes(25_000_000))
    assert header.width * header.height < MAX_PIXELS


def test_compressed_texts_are_left_out(frames: list[Image]) -> None:
    content = cv2.imencode(".png", frames[0])[1].tobytes()
    bomb = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(8_000_000)))
    padded = content[:33] + 20 * bomb + content[33:]
    assert without_ancillary_chunks(padded) == content
    assert (decode_picture(padded) == frames[0]).all()


def test_what_counts_as_a_picture(tmp_path: Path, frames: list[Image]) -> None:
    picture = cv2.imencode(".png", frames[0])[1].tobytes()
    names = {
        "a.JPG": b"", "b.heic": HEIC, "c.NEF": b"", "d": picture, "e.txt": b"P3 is the third", "f.mjpeg": picture,
        "g.mjpg": picture, os.fsdecode(b"caf\xe9"): picture,
        os.fsdecode(b"caf\xe9.txt"): b"text", "h.jpg_big": b"", "i.mp4": b"\0\0\0\x18ftypisom",
    }  # fmt: skip
    for name, content in names.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "j.jpg").mkdir()
    found = {path.name for path in list_pictures(tmp_path)}
    assert found == {"a.JPG", "b.heic", "c.NEF", "d", os.fsdecode(b"caf\xe9"), "h.jpg_big"}
    assert not is_picture(tmp_path / "missing")


def test_phone_photographs_are_named_and_counted(tmp_path: Path, frames: list[Image]) -> None:
    (tmp_path / "IMG_1.HEIC").write_bytes(HEIC)
    for path in (tmp_path / "IMG_1.HEIC", tmp_path):
        with pytest.raises(SourceError, match=r"IMG_1.HEIC is a HEIC picture, which is not supported: convert it"):
            list(open_source(str(path)).frames())
    (tmp_path / "IMG_2.JPG").write_bytes(cv2.imencode(".jpg", frames[0])[1].tobytes())
    # A raw file with a thumbnail, and a photograph with a wrong suffix.
    (tmp_path / "IMG_3.DNG").write_bytes(cv2.imencode(".tif", frames[0][:60, :80])[1].tobytes())
    (tmp_path / "IMG_4.heic").write_bytes((tmp_path / "IMG_2.JPG").read_bytes())
    source = open_source(str(tmp_path))
    assert [Path(frame.source).name for frame in source.frames()] == ["IMG_2.JPG", "IMG_4.heic"]
    assert source.skipped == 2
    assert [words for words in ("HEIC", "camera raw") if any(words in warning for warning in source.warnings)] == [
        "HEIC",
        "camera raw",
    ]


def test_files_too_large_for_a_picture(tmp_path: Path) -> None:
    with (tmp_path / "large.jpg").open("wb") as file:
        file.truncate(500_000_000)
    with pytest.raises(ValueError, match="has 500 MB, and the maximum for a picture is 400 MB"):
        read_picture(tmp_path / "large.jpg")


def test_a_pipe_is_no_picture_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ValueError, match=r"cannot be read \(it is not a regular file\)"):
        read_picture(tmp_path / "pipe.jpg")
    with pytest.raises(ValueError, match=r"cannot be read \(Is a directory\)"):
        read_picture(tmp_path)
    assert not list_pictures(tmp_path)


def test_cases_of_a_seed_are_always_the_same() -> None:
    first, again, other = (list(itertools.islice(cases(seed, 40), 40)) for seed in (5, 5, 6))
    assert first == again != other
    for _, content in first:
        try:
            image = decode_picture(content)
        except ValueError as error:
            assert str(error)
        else:
            assert image.ndim == 3
