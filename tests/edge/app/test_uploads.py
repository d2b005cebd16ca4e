"""Uploads: typed by content, bounded, and refused with a message."""

from __future__ import annotations

import errno
import os
import stat
import zlib
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest

from maskedge.errors import OutputError, SourceError
from maskedge.sources import demo
from maskedge.types import Image

Pillow = pytest.importorskip("PIL.Image", reason="the extra app is not installed")
uploads = pytest.importorskip("maskedge.app.uploads", reason="the extra app is not installed")


def encoded(image: Image, suffix: str) -> bytes:
    return cv2.imencode(suffix, image)[1].tobytes()


def saved(image: Image, **options: object) -> bytes:
    content = BytesIO()
    picture = Pillow.fromarray(np.ascontiguousarray(image[..., ::-1]))
    if options.get("format") == "CMYK":
        picture, options = picture.convert("CMYK"), {"format": "JPEG"}
    picture.save(content, **options)
    return content.getvalue()


def near(one: Image, other: Image) -> bool:
    """Return whether two pictures are equal up to lossy compression."""
    return one.shape == other.shape and float(np.abs(one.astype(int) - other).mean()) < 12


def test_content_determines_the_type() -> None:
    picture = encoded(demo.draw(200), ".png")
    assert uploads.upload_kind("holiday.mp4.png", picture) == "picture"
    assert uploads.upload_kind("clip.jpg", b"\0\0\0\x18ftypmp42" + bytes(40)) == "video"
    assert uploads.upload_kind("clip", b"\x1aE\xdf\xa3" + bytes(40)) == "video"
    assert uploads.upload_kind("clip.avi", b"RIFF\0\0\0\0AVI LIST") == "video"
    for suffix in (".jpg", ".png", ".webp", ".bmp"):
        assert uploads.upload_kind("photo.mp4", encoded(demo.draw(200), suffix)[:64]) == "picture"
    # An AVIF picture may have a general brand before its own, which HEIC pictures have too.
    assert uploads.upload_kind("photo.avif", b"\0\0\0\x1cftypmif1\0\0\0\0mif1avif" + bytes(40)) == "picture"
    assert near(uploads.read_picture_upload("x.jpg", picture).image, demo.draw(200))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("report.jpg", b"%PDF-1.7\n%...", "is a PDF document: upload a picture"),
        ("empty.jpg", b"", "is empty (0 bytes)"),
        ("letter.jpg", b"PK\x03\x04" + bytes(60), "zip archive or an office document"),
        ("logo.png", b'<svg xmlns="http://www.w3.org/2000/svg">', "a drawing (SVG)"),
        ("IMG_1.HEIC", b"\0\0\0\x18ftypheic" + bytes(40), "share it as JPEG"),
    ],
)
def test_other_files_are_named(name: str, content: bytes, words: str) -> None:
    with pytest.raises(SourceError, match=words.replace("(", r"\(").replace(")", r"\)")) as caught:
        uploads.upload_kind(name, content)
    assert name in str(caught.value)
    assert str(caught.value).count("\n") == 0


def test_damaged_pictures_are_refused() -> None:
    png = encoded(demo.draw(10), ".png")
    for content in (b"no picture at all", png[:40], b"\xff\xd8\xff\xe0" + bytes(200)):
        with pytest.raises(SourceError, match=r"^x\.png "):
            uploads.read_picture_upload("x.png", content)


def test_animated_gif_gives_its_first_picture() -> None:
    first, second = (cv2.resize(demo.draw(index), (160, 120)) for index in (100, 200))
    content = BytesIO()
    pages = [Pillow.fromarray(np.ascontiguousarray(image[..., ::-1])) for image in (first, second)]
    pages[0].save(content, format="GIF", save_all=True, append_images=pages[1:], duration=100)
    try:
        picture = uploads.read_picture_upload("dance.gif", content.getvalue())
    except SourceError:
        pytest.skip("this OpenCV reads no GIF")
    assert near(picture.image, np.asarray(first, np.uint8))
    assert picture.notes == ("This file holds several pictures. Only the first one is used.",)


def test_exif_rotated_photograph_is_upright() -> None:
    image = demo.draw(240)
    lying = np.ascontiguousarray(np.rot90(image))
    exif = Pillow.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    picture = uploads.read_picture_upload("phone.jpg", saved(lying, format="JPEG", exif=exif))
    assert near(picture.image, image)


def test_cmyk_jpeg_has_its_colours() -> None:
    image = demo.draw(240)
    picture = uploads.read_picture_upload("print.jpg", saved(image, format="CMYK"))
    assert near(picture.image, image)
    assert "CMYK" in picture.notes[0]


def test_sixteen_bit_png_is_read() -> None:
    image = demo.draw(240)
    picture = uploads.read_picture_upload("deep.png", encoded(image.astype(np.uint16) * 257, ".png"))
    assert picture.image.dtype == np.uint8
    assert near(picture.image, image)


def test_too_many_pixels_are_refused_before_they_are_decoded() -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    for side in (9_500, 60_000):
        size = side.to_bytes(4, "big") * 2
        content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size + bytes([8, 2, 0, 0, 0])) + chunk(b"IDAT", zlib.compress(b""))
        with pytest.raises(SourceError, match="megapixels, the limit is 80"):
            uploads.read_picture_upload("bomb.png", content)


def test_private_file_is_private_and_goes() -> None:
    with uploads.private_file("../../etc/pass wd.mp4", b"content") as path:
        assert path.read_bytes() == b"content"
        assert path.name == "pass wd.mp4"
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not path.parent.exists()
    with pytest.raises(KeyError), uploads.private_file("x", b"") as path:
        raise KeyError
    assert not path.parent.exists()
    assert os.sep not in path.name
    assert isinstance(path, Path)


def test_folders_that_a_killed_server_left_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left = tmp_path / "maskedge-app-left"
    (left / "folder").mkdir(parents=True)
    (left / "clip.mp4").write_bytes(b"faces")
    (tmp_path / "other").mkdir()
    (tmp_path / "maskedge-app-link").symlink_to(tmp_path / "other")
    with uploads.private_file("clip.mp4", b"in use") as path:
        uploads.remove_left_folders()
        assert path.read_bytes() == b"in use"
        assert {entry.name for entry in tmp_path.iterdir()} == {"other", "maskedge-app-link", path.parent.name}
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "removed"))
    uploads.remove_left_folders()


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("\u5199" * 100 + ".mp4", "\u5199" * 45 + ".mp4"),
        ("clip\0.mp4", "clip.mp4"),
        ("clip\ud800.mp4", "clip.mp4"),
        ("..", "upload"),
        ("..\\..", "upload"),
        ("", "upload"),
    ],
)
def test_private_file_has_a_name_that_the_disk_accepts(name: str, kept: str) -> None:
    with uploads.private_file(name, b"content") as path:
        assert path.read_bytes() == b"content"
        assert path.name == kept


def test_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr(Path, "write_bytes", fail)
        with pytest.raises(OutputError, match=r"^clip\.mp4 cannot be stored .* \(No space left on device\): free some space"):
            uploads.private_file("clip.mp4", b"content").__enter__()
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "removed"))
    with pytest.raises(OutputError, match=r"^clip\.mp4 cannot be stored .* \(No such file or directory\)"):
        uploads.private_file("clip.mp4", b"content").__enter__()
