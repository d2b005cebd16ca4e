"""Damaged and odd picture files; the same seed yields the same files."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import numpy.typing as npt

_SIZE = (240, 320)
_EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFF)


def cases(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield the name, with suffix, and the content of `count` damaged or odd picture files."""
    random = np.random.default_rng(seed)
    seeds = _seeds(random)
    for number in range(count):
        if number % 4 == 3:
            suffix, content = _absurd(random)
        else:
            suffix, content = seeds[int(random.integers(len(seeds)))]
            for _ in range(int(random.choice((1, 1, 1, 2, 5)))):
                content = _MUTATIONS[int(random.integers(len(_MUTATIONS)))](random, content)
        # Wrong suffixes are common and must not change the result.
        named = suffix if random.random() < 0.9 else str(random.choice((".jpg", ".png", ".webp", ".heic", ".bin", "")))
        yield f"{number:05}{named}", content


def _seeds(random: np.random.Generator) -> list[tuple[str, bytes]]:
    small = random.integers(0, 256, (12, 16, 3), np.uint8)
    image = cv2.resize(small, _SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    grey = image[:, :, 0]
    alpha = np.dstack([image, grey])
    deep = image.astype(np.uint16) * 257
    wanted: list[tuple[str, npt.NDArray[np.generic], list[int]]] = [
        (".jpg", image, []), (".jpg", grey, []), (".jpg", image, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
        (".jpg", image, [cv2.IMWRITE_JPEG_RST_INTERVAL, 5]),
        (".png", image, []), (".png", alpha, []), (".png", deep, []), (".png", grey, [cv2.IMWRITE_PNG_BILEVEL, 1]),
        (".webp", image, [cv2.IMWRITE_WEBP_QUALITY, 80]), (".webp", alpha, [cv2.IMWRITE_WEBP_QUALITY, 101]),
        (".bmp", image, []), (".bmp", grey, []), (".tif", image, []), (".tif", deep, []),
        (".tif", image, [cv2.IMWRITE_TIFF_COMPRESSION, 1]), (".tif", image, [cv2.IMWRITE_TIFF_COMPRESSION, 8]),
        (".ppm", image, []), (".pgm", grey, []), (".pam", image, []), (".ras", image, []), (".jp2", image, []), (".jp2", grey, []),
        (".hdr", image.astype(np.float32), []), (".pfm", image.astype(np.float32), []), (".gif", image, []), (".avif", image, []),
    ]  # fmt: skip
    seeds = []
    for suffix, picture, options in wanted:
        try:
            ready, data = cv2.imencode(suffix, picture, options)
        except cv2.error:
            continue  # this OpenCV lacks the format
        if ready:
            seeds.append((suffix, data.tobytes()))
    seeds.append((".jpg", with_exif(seeds[0][1], orientation=6)))
    seeds.append((".ppm", b"P3\n# of text\n3 2\n255\n" + b" ".join(b"%d" % value for value in range(18)) + b"\n"))
    return seeds


def with_exif(jpeg: bytes, *, orientation: int) -> bytes:
    """Insert an EXIF segment with an orientation into a JPEG file."""
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)
    body = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def _position(random: np.random.Generator, content: bytes) -> int:
    """Choose an offset, often in the header."""
    reach = len(content) if random.random() < 0.4 else min(len(content), 200)
    return int(random.integers(max(1, reach)))


def _flip_bit(random: np.random.Generator, content: bytes) -> bytes:
    at = _position(random, content)
    return content[:at] + bytes([content[at] ^ 1 << int(random.integers(8))]) + content[at + 1 :] if content else content


def _set_byte(random: np.random.Generator, content: bytes) -> bytes:
    at = _position(random, content)
    return content[:at] + bytes([int(random.choice((0, 1, 0x7F, 0x80, 0xFF)))]) + content[at + 1 :]


def _set_number(random: np.random.Generator, content: bytes) -> bytes:
    at, kind = _position(random, content), str(random.choice(("<I", ">I", "<H", ">H")))
    value = int(random.choice(_EDGES)) & (0xFFFF if kind[1] == "H" else 0xFFFFFFFF)
    return content[:at] + struct.pack(kind, value) + content[at + struct.calcsize(kind) :]


def _cut(random: np.random.Generator, content: bytes) -> bytes:
    return content[: _position(random, content)]


def _drop(random: np.random.Generator, content: bytes) -> bytes:
    at = _position(random, content)
    return content[:at] + content[at + int(random.integers(1, 64)) :]


def _repeat(random: np.random.Generator, content: bytes) -> bytes:
    at, length = _position(random, content), int(random.integers(1, 2000))
    return content[:at] + content[at : at + length] * int(random.integers(2, 20)) + content[at + length :]


def _noise(random: np.random.Generator, content: bytes) -> bytes:
    at, length = _position(random, content), int(random.integers(1, 64))
    return content[:at] + random.bytes(length) + content[at + length :]


_MUTATIONS: tuple[Callable[[np.random.Generator, bytes], bytes], ...] = (
    _flip_bit, _flip_bit, _set_byte, _set_number, _set_number, _cut, _drop, _repeat, _noise
)  # fmt: skip


def _absurd(random: np.random.Generator) -> tuple[str, bytes]:
    """Return a small, well-formed file that claims a large picture, or chunks beyond its end."""
    side = [int(random.choice((1, 7, 1000, 5000, 9000, 16383, 30000, 65535, 100_000, 2**31 - 1))) for _ in range(2)]
    return _ABSURD[int(random.integers(len(_ABSURD)))](random, *side)


def _png_chunk(kind: bytes, body: bytes, length: int | None = None) -> bytes:
    return struct.pack(">I", len(body) if length is None else length) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png(random: np.random.Generator, width: int, height: int) -> tuple[str, bytes]:
    depth, colour = [(8, 2), (16, 6), (1, 0), (8, 3), (16, 4)][int(random.integers(5))]
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(random.integers(2)))
    parts = [b"\x89PNG\r\n\x1a\n", _png_chunk(b"IHDR", header)]
    if random.random() < 0.3:
        parts.append(_png_chunk(b"acTL", struct.pack(">II", int(random.choice((1, 2, 2**31 - 1))), 0)))
    if random.random() < 0.3:
        parts += [_png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2_000_000)))] * int(random.integers(1, 50))
    if random.random() < 0.2:
        parts.append(_png_chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(2_000_000))))
    if colour == 3:
        parts.append(_png_chunk(b"PLTE", random.bytes(3 * int(random.integers(1, 257)))))
    body = zlib.compress(bytes(min(30_000_000, (1 + width * 8) * height)), 1)
    parts.append(_png_chunk(b"IDAT", body, int(random.choice((len(body), len(body), 0xFFFFFFF0, 0x7FFFFFFF, 300_000_000)))))
    return ".png", b"".join([*parts, _png_chunk(b"IEND", b"")])


def _jpeg(random: np.random.Generator, width: int, height: int) -> tuple[str, bytes]:
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, int(random.integers(2))]
    data = cv2.imencode(".jpg", np.full((16, 16, 3), 99, np.uint8), options)[1].tobytes()
    at = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    data = data[: at + 5] + struct.pack(">HH", height & 0xFFFF, width & 0xFFFF) + data[at + 9 :]
    start = data.find(b"\xff\xda")
    # Many scans, each of which costs a pass over the picture.
    return ".jpg", data[:start] + data[start:-2] * int(random.choice((1, 1, 20, 5000))) + data[-2:]


def _webp(random: np.random.Generator, width: int, height: int) -> tuple[str, bytes]:
    lossless = b"\x2f" + struct.pack("<I", (width - 1) & 0x3FFF | ((height - 1) & 0x3FFF) << 14) + bytes(200)
    lossy = b"\x10\0\0\x9d\x01\x2a" + struct.pack("<HH", width & 0x3FFF, height & 0x3FFF) + bytes(200)
    kind, body = ((b"VP8L", lossless), (b"VP8 ", lossy))[int(random.integers(2))]
    chunks = [kind + struct.pack("<I", int(random.choice((len(body), 0xFFFFFFF0)))) + body]
    if random.random() < 0.5:
        size = struct.pack("<I", width - 1 & 0xFFFFFF)[:3] + struct.pack("<I", height - 1 & 0xFFFFFF)[:3]
        chunks.insert(0, b"VP8X" + struct.pack("<I", 10) + bytes([int(random.choice((0, 2, 0x3E)))]) + bytes(3) + size)
    content = b"WEBP" + b"".join(chunks)
    return ".webp", b"RIFF" + struct.pack("<I", int(random.choice((len(content), 0xFFFFFFF0, 4)))) + content


def _bmp(random: np.random.Generator, width: int, height: int) -> tuple[str, bytes]:
    bits, packing = [(24, 0), (8, 1), (4, 2), (1, 0), (32, 3), (16, 0)][int(random.integers(6))]
    flat = int(random.choice((height, -height)))
    colours = int(random.choice((0, 2, 256, 0xFFFFFFFF)))
    header = struct.pack("<IiiHHIIiiII", 40, width, max(-(2**31), flat), 1, bits, packing, 0, 0, 0, colours, 0)
    return ".bmp", b"BM" + struct.pack("<IHHI", 0xFFFFFFFF, 0, 0, int(random.choice((54, 1078, 0xFFFFFFFF)))) + header + bytes(3000)


def _tiff(random: np.random.Generator, width: int, height: int) -> tuple[str, bytes]:
    samples = int(random.choice((1, 3, 4, 65535)))
    entries = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, int(random.choice((1, 2, 60_000))), int(random.choice((1, 8, 16, 64)))),
        (259, 3, 1, int(random.choice((1, 5, 7, 8, 32773)))), (262, 3, 1, 2), (273, 4, 1, int(random.choice((8, 0xFFFFFFF0)))),
        (277, 3, 1, samples), (278, 4, 1, int(random.choice((1, height, 0xFFFFFFFF)))),
        (279, 4, int(random.choice((1, 0x3FFFFFFF))), int(random.choice((100, 0xFFFFFFF0)))),
    ]  # fmt: skip
    if random.random() < 0.4:
        entries += [(322, 4, 1, width), (323, 4, 1, height), (324, 4, 1, 8), (325, 4, 1, 100)]
    body = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    return ".tif", b"II*\0" + struct.pack("<I", 208) + bytes(200) + body


def _jp2(random: np.random.Generator, width: int, height: int) -> tuple[str, bytes]:
    tile = [int(random.choice((1, 64, width, height, 0xFFFFFFFF))) for _ in range(2)]
    colours = int(random.choice((1, 3, 4, 16384)))
    size = struct.pack(">H8IH", 0, width, height, 0, 0, *tile, 0, 0, colours) + bytes((7, 1, 1)) * colours
    levels = int(random.choice((0, 5, 32, 255)))
    custom = int(random.integers(2))
    blocks = bytes((0, 1, 1)) + bytes((levels, int(random.choice((0, 4, 8))), int(random.choice((0, 4, 8))), 0, 0))
    # Precincts of one pixel.
    style = bytes((custom, 0)) + blocks + (bytes(levels + 1) if custom else b"")
    quality = bytes((0x40,)) + bytes((0x40,)) * (3 * levels + 1)
    segments = b"".join(
        marker + struct.pack(">H", len(body) + 2) + body
        for marker, body in ((b"\xff\x51", size), (b"\xff\x52", style), (b"\xff\x5c", quality))
    )
    data = bytes(100)
    part = (
        b"\xff\x90" + struct.pack(">HHIBB", 10, 0, int(random.choice((14 + len(data), 0, 0xFFFFFFFF))), 0, 1) + b"\xff\x93" + data
    )
    return ".j2k", b"\xff\x4f" + segments + part + b"\xff\xd9"


def _gif(random: np.random.Generator, width: int, height: int) -> tuple[str, bytes]:
    across, down = width & 0xFFFF, height & 0xFFFF
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, across, down, 0) + b"\x08" + b"\xff" + random.bytes(255) + b"\0"
    frames = frame * int(random.choice((1, 2, 500)))
    return ".gif", b"GIF89a" + struct.pack("<HHBBB", across, down, 0xF7, 0, 0) + random.bytes(768) + frames + b"\x3b"


def _text(random: np.random.Generator, width: int, height: int) -> tuple[str, bytes]:
    """Return a file whose header is text."""
    kind = int(random.integers(5))
    pixels = bytes(int(random.choice((0, 100, 10_000))))
    if kind == 0:
        return ".hdr", b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y %d +X %d\n" % (height, width) + b"\x02\x02\x7f\xff" + pixels
    if kind == 1:
        depth = int(random.choice((1, 3, 65535)))
        return ".pam", b"P7\nWIDTH %d\nHEIGHT %d\nDEPTH %d\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n" % (width, height, depth) + pixels
    if kind == 2:
        return ".pfm", b"PF\n%d %d\n-1.0\n" % (width, height) + pixels
    if kind == 3:
        return ".ras", struct.pack(
            ">8I", 0x59A66A95, width, height, int(random.choice((1, 8, 24, 32))), 0xFFFFFFFF, 1, 1, 0xFFFFFFF0
        ) + pixels
    letter = int(random.integers(1, 7))
    return ".ppm", b"P%d\n%d %d\n%d\n" % (letter, width, height, int(random.choice((0, 1, 255, 65535, 10**9)))) + pixels


_ABSURD: tuple[Callable[[np.random.Generator, int, int], tuple[str, bytes]], ...] = (
    _png, _jpeg, _webp, _bmp, _tiff, _jp2, _gif, _text, _text
)  # fmt: skip
