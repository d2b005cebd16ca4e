"""Checks of a picture file's header, made before a decoder allocates memory according to it.

A damaged or hostile file may claim chunks of gigabytes or a picture of 65,000 x 65,000 pixels.
Decoders trust these claims. This module compares every length that a decoder would use to allocate
or seek with the size of the file, and estimates the memory for decoding.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

MAX_PIXELS = 120_000_000
"""Maximum number of pixels of a picture. It admits pictures of 108-megapixel phones."""
_BASE_MEMORY = 210_000_000
_SMALL_FILE = 2_000_000
_MEMORY_FACTOR = 28
"""Limit of the memory for decoding: `_BASE_MEMORY` bytes for files up to `_SMALL_FILE` bytes, plus
`_MEMORY_FACTOR` bytes for each further byte. A photograph of many pixels is a large file. A small
file that claims many pixels is damaged, or made to exhaust memory."""
_MAX_SCANS = 64
"""Maximum number of scans in a progressive JPEG file. Encoders write about ten. Each scan costs a
pass over the picture."""

CONVERT = "convert it to JPEG or PNG"
"""Remedy for a picture that cannot be decoded."""
_HEAD = 64
"""Number of bytes that identify the format of a file."""

_READ = re.compile(
    rb"(?P<jpeg>\xff\xd8\xff)|(?P<png>\x89PNG\r\n\x1a\n)|(?P<gif>GIF8[79]a)|(?P<webp>RIFF....WEBP)|"
    rb"(?P<bmp>BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0)|(?P<tiff>II[*+]\0|MM\0[*+])|"
    rb"(?P<jp2>\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51)|(?P<pnm>P[1-6Ff]\s+[\d#]|P7\s+[#A-Z])|"
    rb"(?P<ras>\x59\xa6\x6a\x95)|(?P<hdr>\#\?(?:RADIANCE|RGBE))",
    re.DOTALL,
)
_NOT_READ = (
    (re.compile(rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n"), "JPEG XL"),
    (re.compile(rb"\x76\x2f\x31\x01"), "OpenEXR"),
    (re.compile(rb"8BPS\0"), "Photoshop"),
    (re.compile(rb"(?s)FUJIFILMCCD-RAW|FOVb|II[*]\0.{4}CR|IIRO|IIRS|MMOR|IIU\0|\0MRM"), "camera raw"),
)
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"avci", b"avcs", b"mif1", b"mif2", b"msf1"}
_RAW_SUFFIXES = [
    "3fr",
    "arw",
    "cr2",
    "cr3",
    "crw",
    "dcr",
    "dng",
    "erf",
    "fff",
    "iiq",
    "kdc",
    "mef",
    "mos",
    "mrw",
    "nef",
    "nrw",
    "orf",
    "pef",
    "raf",
    "rw2",
    "rwl",
    "sr2",
    "srf",
    "srw",
    "x3f",
]
_SUFFIXES = {
    **dict.fromkeys((".heic", ".heif", ".hif", ".avci", ".heics", ".heifs"), "HEIC"),
    **dict.fromkeys((f".{suffix}" for suffix in _RAW_SUFFIXES), "camera raw"),
    ".jxl": "JPEG XL",
    ".exr": "OpenEXR",
    ".psd": "Photoshop",
}
_TITLES = {
    "jpeg": "JPEG", "png": "PNG", "gif": "GIF", "webp": "WebP", "bmp": "BMP", "tiff": "TIFF", "jp2": "JPEG 2000", "pnm": "PNM",
    "ras": "Sun raster", "hdr": "Radiance HDR", "avif": "AVIF",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Header:
    """Claims of a picture file.

    Attributes:
        format: Name of the format, such as `JPEG`.
        width: Width in pixels.
        height: Height in pixels.
        memory: Estimated peak memory that OpenCV needs to decode it, in bytes.
    """

    format: str
    width: int
    height: int
    memory: int


def sniff(head: bytes) -> str | None:
    """Return the format of a picture by its first 64 bytes, such as `JPEG`, or None if unknown."""
    head = head[:_HEAD]
    for pattern, name in _NOT_READ:
        if pattern.match(head):
            return name
    if head[4:8] == b"ftyp":
        brands = [head[8:12], *(head[at : at + 4] for at in range(16, min(len(head), int.from_bytes(head[:4], "big")), 4))]
        if brands[0] == b"crx ":
            return "camera raw"
        if b"avif" in brands or b"avis" in brands:
            return "AVIF"
        return "HEIC" if brands[0] in _HEIF_BRANDS else None
    found = _READ.match(head)
    return _TITLES[str(found.lastgroup)] if found else None


def named_unread(suffix: str) -> str | None:
    """Return the unsupported format for a suffix such as `.heic`, or None for another suffix."""
    return _SUFFIXES.get(suffix.lower())


def not_read(name: str) -> str:
    """Return a message with a remedy: the format `name` is not supported."""
    if name == "HEIC":
        return f"is a HEIC picture, which is not supported: {CONVERT} (on an iPhone: Settings, Camera, Formats, Most Compatible)"
    return (
        f"is a {name} file, which is not supported: {CONVERT}"
        if name == "camera raw"
        else f"is in the format {name}, which is not supported: {CONVERT}"
    )


def check_header(content: bytes) -> Header:
    """Check a picture file before it is decoded.

    Args:
        content: The whole file.

    Raises:
        ValueError: The format is not supported, or the file is cut off, damaged, or too large to
            decode. The message names the cause.
    """
    name = sniff(content)
    if name is None:
        raise ValueError("is not a picture that OpenCV can decode, or is damaged")
    if name not in _PARSERS:
        raise ValueError(not_read(name))
    try:
        width, height, memory = _PARSERS[name](content)
    except (struct.error, IndexError) as error:
        raise ValueError(f"is cut off within its header ({name})") from error
    if not (width and height):
        raise ValueError(f"is damaged: it claims {width} x {height} pixels")
    if width * height > MAX_PIXELS:
        raise ValueError(
            f"claims {width:,} x {height:,} pixels, and the maximum is {MAX_PIXELS // 1_000_000} million: make it smaller"
        )
    if memory > _BASE_MEMORY + _MEMORY_FACTOR * max(0, len(content) - _SMALL_FILE):
        raise ValueError(
            f"claims {width:,} x {height:,} pixels in a file of {len(content) / 1e6:.1f} MB, which would take "
            f"{memory / 1e6:.0f} MB of memory as {name}: make it smaller, or {CONVERT}"
        )
    return Header(name, width, height, memory)


def _name(kind: bytes) -> str:
    return kind.decode("latin-1").encode("unicode_escape").decode()


def _damaged(what: str) -> ValueError:
    return ValueError(f"is damaged: {what}")


def _need(content: bytes, end: int, what: str, within: int | None = None) -> None:
    """Raise `ValueError` if the file or the parent ends before `end`, the end of `what`."""
    if end > (len(content) if within is None else within):
        raise ValueError(f"is cut off or damaged: its {what} would end at byte {end:,}, but the file has {len(content):,}")


# Each parser returns width, height, and the bytes that OpenCV needs to decode the picture. The
# bytes were measured with OpenCV 4.14. The decoder fills one picture and the Python binding copies
# it, which takes 6 bytes per pixel. The memory of the decoder itself is added.
_RESULT = 6


def _jpeg(content: bytes) -> tuple[int, int, int]:
    at, frame = 2, None
    while True:
        if content[at] != 0xFF:
            raise _damaged("a JPEG marker is missing")
        marker = content[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:
            at += 2
            continue
        if marker == 0xD9:
            raise _damaged("it ends before its picture begins")
        (length,) = struct.unpack_from(">H", content, at + 2)
        if length < 2:
            raise _damaged("a JPEG segment has no length")
        _need(content, at + 2 + length, "segment")
        if marker == 0xDA:
            break
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            frame = (marker, *struct.unpack_from(">HHB", content, at + 5))
            shares = content[at + 10 : at + 2 + length]
        at += 2 + length
    if frame is None:
        raise _damaged("it has no size")
    marker, height, width, components = frame
    if len(shares) != 3 * components or components not in (1, 3, 4):
        raise _damaged(f"it has {components} colours")
    sampling = [(share >> 4, share & 15) for share in shares[1::3]]
    if not all(1 <= across <= 4 and 1 <= down <= 4 for across, down in sampling):
        raise _damaged("the sampling factors of its colours are invalid")
    scans = content.count(b"\xff\xda", at)
    if scans > _MAX_SCANS:
        raise _damaged(f"it has {scans:,} scans")
    each = _RESULT
    if marker not in (0xC0, 0xC1, 0xC9) or content[at + 4] < components:
        # The decoder holds all coefficients until the last scan.
        block = max(across for across, _ in sampling) * max(down for _, down in sampling)
        each = max(_RESULT, 3 + math.ceil(2 * sum(across * down for across, down in sampling) / block))
    # The decoder rounds the sides of a picture up to whole blocks.
    return width, height, each * (width + 32) * (height + 32)


def _png(content: bytes) -> tuple[int, int, int]:
    size = (0, 0)
    animated = False
    each = _RESULT
    for kind, start, length in _png_chunks(content):
        if kind == b"IHDR":
            width, height, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", content, start)
            samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour)
            if length != 13 or samples is None or depth not in (1, 2, 4, 8, 16) or interlaced > 1:
                raise _damaged("its header is invalid")
            size = width, height
            each += samples * depth // 8 if interlaced else 0
        animated |= kind == b"acTL"
    return *size, (each + (12 if animated else 0)) * size[0] * size[1]


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, start and length of each chunk."""
    at, kind = 8, b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", content, at)
        if at == 8 and kind != b"IHDR":
            raise _damaged("it does not begin with its header")
        _need(content, at + 12 + length, f"chunk {_name(kind)}")
        yield kind, at + 8, length
        at += 12 + length


def without_ancillary_chunks(content: bytes) -> bytes:
    """Remove compressed texts and colour profiles from a checked PNG file.

    Each of these chunks may expand to megabytes.
    """
    dropped = [
        (start - 8, start + length + 4) for kind, start, length in _png_chunks(content) if kind in (b"zTXt", b"iTXt", b"iCCP")
    ]
    parts, at = [], 0
    for start, end in dropped:
        parts.append(content[at:start])
        at = end
    return b"".join([*parts, content[at:]]) if dropped else content


def _gif(content: bytes) -> tuple[int, int, int]:
    width, height, flags = struct.unpack_from("<HHB", content, 6)
    at = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    frames = 0
    while content[at] != 0x3B:
        kind = content[at]
        if kind == 0x21:
            at += 2
        elif kind == 0x2C:
            left, top, across, down, flags = struct.unpack_from("<HHHHB", content, at + 1)
            if left + across > width or top + down > height:
                raise _damaged("a frame exceeds its size")
            frames += 1
            at += 11 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
        else:
            raise _damaged("a block has an unknown type")
        while content[at]:
            at += 1 + content[at]
        at += 1
    if not frames:
        raise _damaged("it holds no picture")
    return width, height, 13 * width * height


def _webp(content: bytes) -> tuple[int, int, int]:
    (length,) = struct.unpack_from("<I", content, 4)
    end = 8 + length
    _need(content, end, "RIFF chunk")
    at, size, animated = 12, (0, 0), False
    while at + 8 <= end:
        kind, length = struct.unpack_from("<4sI", content, at)
        _need(content, at + 8 + length, "chunk", end)
        if kind == b"VP8X":
            size = (
                1 + int.from_bytes(content[at + 12 : at + 15], "little"),
                1 + int.from_bytes(content[at + 15 : at + 18], "little"),
            )
            animated = bool(content[at + 8] & 2)
        elif kind in (b"VP8 ", b"VP8L", b"ANMF"):
            own = _webp_frame(content, kind, at + 8)
            if size != (0, 0) and (own[0] > size[0] or own[1] > size[1]):
                raise _damaged("a frame exceeds its size")
            size = own if size == (0, 0) else size
        at += 8 + length + (length & 1)
    return *size, (20 if animated else 10) * size[0] * size[1]


def _webp_frame(content: bytes, kind: bytes, at: int) -> tuple[int, int]:
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", content, at + 1)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", content, at + 6)
        return width & 0x3FFF, height & 0x3FFF
    _need(content, at + 16, "frame")
    return 1 + int.from_bytes(content[at + 6 : at + 9], "little"), 1 + int.from_bytes(content[at + 9 : at + 12], "little")


def _bmp(content: bytes) -> tuple[int, int, int]:
    start, header = struct.unpack_from("<II", content, 10)
    if header == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", content, 18)
        packing = 0
    else:
        width, height, _, bits, packing = struct.unpack_from("<iiHHI", content, 18)
    width, height = abs(width), abs(height)
    if bits not in (1, 2, 4, 8, 15, 16, 24, 32):
        raise _damaged(f"it has {bits} bits per pixel")
    _need(content, 14 + header, "header")
    # Compressions 1 and 2 are run-length codes, so the size of their data is not known in advance.
    _need(content, start + ((width * bits + 31) // 32 * 4 * height if packing not in (1, 2) else 1), "pixel data")
    return width, height, _RESULT * width * height


_TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_TIFF_INTEGERS = {1: "B", 3: "H", 4: "I", 16: "Q"}


def _tiff(content: bytes) -> tuple[int, int, int]:
    order = "<" if content[:1] == b"I" else ">"
    large = content[2:4] in (b"+\0", b"\0+")
    (first,) = struct.unpack_from(order + ("Q" if large else "I"), content, 8 if large else 4)
    (count,) = struct.unpack_from(order + ("Q" if large else "H"), content, first)
    first += 8 if large else 2
    entry = 20 if large else 12
    _need(content, first + entry * count, "directory")
    values: dict[int, tuple[int, ...]] = {}
    for at in range(first, first + entry * count, entry):
        tag, kind, number = struct.unpack_from(order + ("HHQ" if large else "HHI"), content, at)
        size = _TIFF_SIZES.get(kind, 1) * number
        inside = size <= (8 if large else 4)
        where = (
            at + (12 if large else 8)
            if inside
            else struct.unpack_from(order + ("Q" if large else "I"), content, at + (12 if large else 8))[0]
        )
        _need(content, where + size, f"value of tag {tag}")
        if tag in _TIFF_TAGS and kind in _TIFF_INTEGERS:
            values[tag] = struct.unpack_from(f"{order}{number}{_TIFF_INTEGERS[kind]}", content, where)
    width, height = (max(values.get(tag, (0,)), default=0) for tag in (256, 257))
    samples, bits = (max(values.get(tag, (1,)), default=1) for tag in (277, 258))
    if samples > 16 or bits > 64 or (values.get(277) and len(values.get(258, ())) > 16):
        raise _damaged(f"it has {samples} colours of {bits} bits")
    # Positions of the strips or tiles, and the decoded size of each.
    for places, sizes in ((273, 279), (324, 325)):
        for start, size in zip(values.get(places, ()), values.get(sizes, ()), strict=False):
            _need(content, start + size, "strip")
    across, down = (max(values.get(tag, (0,)), default=0) for tag in (322, 323))
    part = across * down if 322 in values else width * min(height, max(values.get(278, (height,)), default=height))
    return width, height, _RESULT * width * height + 2 * part * samples * max(8, bits) // 8


_TIFF_TAGS = (256, 257, 258, 273, 277, 278, 279, 322, 323, 324, 325)


def _jp2(content: bytes) -> tuple[int, int, int]:
    at = 0 if content[:2] == b"\xff\x4f" else _jp2_codestream(content)
    if content[at : at + 4] != b"\xff\x4f\xff\x51":
        raise _damaged("its codestream has no size marker")
    right, bottom, left, top, tile_width, tile_height, tile_left, tile_top, components = struct.unpack_from(">8IH", content, at + 8)
    if not (left < right and top < bottom and tile_width and tile_height and components and tile_left <= left and tile_top <= top):
        raise _damaged("its size is invalid")
    if components > 4:
        raise _damaged(f"it has {components} colours")
    width, height = right - left, bottom - top
    tiles = math.ceil((right - tile_left) / tile_width) * math.ceil((bottom - tile_top) / tile_height)
    depth = max((content[at + 42 + 3 * number] & 0x7F) + 1 for number in range(components))
    steps = [content[at + 43 + 3 * number + side] for number in range(components) for side in (0, 1)]
    if depth > 38 or not all(steps):
        raise _damaged("its colours are invalid")
    extra = 0
    while content[at] == 0xFF and content[at + 1] != 0x90:
        marker = content[at + 1]
        if marker == 0x4F:
            at += 2
            continue
        (length,) = struct.unpack_from(">H", content, at + 2)
        _need(content, at + 2 + length, "segment")
        if marker in (0x52, 0x53):
            extra = max(extra, _jp2_blocks(content, at, width, height, components))
        at += 2 + max(2, length)
    memory = (4 + 4 * components) * width * height
    return width, height, memory + extra + tiles * (6000 + 2000 * components)


def _jp2_blocks(content: bytes, at: int, width: int, height: int, components: int) -> int:
    """Estimate the memory for code blocks and precincts, from a COD or COC marker."""
    start = at + (9 if content[at + 1] == 0x52 else 6)
    custom = content[at + 4] & 1 if content[at + 1] == 0x52 else content[at + 5] & 1
    levels, block_width, block_height = content[start], 2 + (content[start + 1] & 15), 2 + (content[start + 2] & 15)
    if levels > 32 or block_width + block_height > 12:
        raise _damaged("its code blocks are invalid")
    precincts = [(size & 15, size >> 4) for size in content[start + 5 : start + 6 + levels]] if custom else [(15, 15)]
    least = min(min(one[0], block_width) + min(one[1], block_height) for one in precincts or [(15, 15)])
    return components * 400 * (width * height >> least)


def _boxes(content: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, start and end of the content of each box (ISO base media, JPEG 2000)."""
    while at + 8 <= end:
        length, kind = struct.unpack_from(">I4s", content, at)
        start = at + 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", content, start)
            start += 8
        stop = end if length == 0 else at + length
        if stop < start:
            raise _damaged("a box has no length")
        _need(content, stop, f"box {_name(kind)}", end)
        yield kind, start, stop
        at = stop


def _jp2_codestream(content: bytes) -> int:
    for kind, start, _ in _boxes(content, 0, len(content)):
        if kind == b"jp2c":
            return start
    raise _damaged("it holds no picture")


def _avif(content: bytes) -> tuple[int, int, int]:
    sizes: list[tuple[int, int]] = []
    seen: set[bytes] = set()
    try:
        for kind, start, stop in _boxes(content, 0, len(content)):
            seen.add(kind)
            if kind == b"meta":
                sizes += _avif_sizes(content, start + 4, stop)
    except ValueError:
        # Bytes that follow a complete file are not necessarily boxes.
        if not seen >= {b"meta", b"mdat"}:
            raise
    if not sizes:
        raise _damaged("it has no size")
    width, height = max(size[0] for size in sizes), max(size[1] for size in sizes)
    return width, height, 17 * width * height


def _avif_sizes(content: bytes, start: int, stop: int) -> Iterator[tuple[int, int]]:
    for kind, inner, end in _boxes(content, start, stop):
        if kind in (b"iprp", b"ipco"):
            yield from _avif_sizes(content, inner, end)
        elif kind == b"ispe":
            yield struct.unpack_from(">II", content, inner + 4)


def _pnm(content: bytes) -> tuple[int, int, int]:
    kind = chr(content[1])
    if kind == "7":
        found = re.match(rb"P7\s(?:(?:[A-Z]+[ \t]+\S+|#[^\n]*)\s*\n)*ENDHDR\n", content[:4096])
        if not found:
            raise _damaged("its header is invalid")
        facts = dict(re.findall(rb"([A-Z]+)[ \t]+(\d+)", found[0]))
        width, height, depth, peak = (int(facts.get(name, b"0")[:10]) for name in (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL"))
        _need(content, found.end() + width * height * depth * (2 if peak > 255 else 1), "pixel data")
        return width, height, (_RESULT + 2 * depth) * width * height
    blank = rb"(?:\s|#[^\n]*\n)+"
    # The pixels of a bitmap follow its size: digits among them are not a greatest value.
    greatest = rb"" if kind in "14" else blank + (rb"\S{1,40}" if kind in "Ff" else rb"(\d{1,10})")
    found = re.match(rb"P." + blank + rb"(\d{1,10})" + blank + rb"(\d{1,10})" + greatest, content[:4096])
    if not found:
        raise _damaged("its header is invalid")
    width, height = int(found[1]), int(found[2])
    samples = 3 if kind in "36F" else 1
    if kind in "123":
        least = width * height * samples
    elif kind == "4":
        least = (width + 7) // 8 * height
    elif kind in "56":
        least = width * height * samples * (2 if int(found[3]) > 255 else 1)
    elif kind in "Ff":
        least = width * height * samples * 4
    else:
        raise _damaged("its header is invalid")
    _need(content, found.end() + least, "pixel data")
    return width, height, (36 if kind in "Ff" else _RESULT) * width * height


def _ras(content: bytes) -> tuple[int, int, int]:
    width, height, bits, _, kind, _, colours = struct.unpack_from(">7I", content, 4)
    if bits not in (1, 8, 24, 32) or kind > 3:
        raise _damaged("its header is invalid")
    # Pictures of type 2 are run-length encoded.
    least = (width * bits + 15) // 16 * 2 * height if kind != 2 else 1
    _need(content, 32 + colours + least, "pixel data")
    return width, height, _RESULT * width * height


def _hdr(content: bytes) -> tuple[int, int, int]:
    found = re.search(rb"\n\n([-+][XY]) (\d{1,9}) ([-+][XY]) (\d{1,9})\n", content[:4096])
    if not found:
        raise _damaged("its header is invalid")
    return int(found[4]), int(found[2]), 16 * int(found[2]) * int(found[4])


_PARSERS: dict[str, Callable[[bytes], tuple[int, int, int]]] = {
    "JPEG": _jpeg, "PNG": _png, "GIF": _gif, "WebP": _webp, "BMP": _bmp, "TIFF": _tiff, "JPEG 2000": _jp2, "PNM": _pnm,
    "Sun raster": _ras, "Radiance HDR": _hdr, "AVIF": _avif,
}  # fmt: skip
