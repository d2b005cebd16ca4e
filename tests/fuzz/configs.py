"""Damaged and odd configurations; the same seed yields the same ones."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import Field, fields
from typing import Any

from maskedge.config import load_config, section_class, section_names, to_toml

_NUMBERS = (
    "0", "1", "-1", "2", "5", "30", "100", "1000", "100000", "2147483648", "9223372036854775807", "9223372036854775808",
    "18446744073709551616", "1" + "0" * 30, "1" + "0" * 400, "9" * 4300, "9" * 5000, "-" + "9" * 5000, "0x" + "f" * 6000,
    "0b" + "1" * 200,
    "0o777", "1_000", "0.1", "-0.0", "1e3", "1e-300", "1e308", "1e400", "-1e400", "inf", "-inf", "+inf", "nan", "-nan", "0.5",
    "0.999",
    "5e-324", "1e", "01", "1__0", "+5", ".5", "5.",
)  # fmt: skip
_TEXTS = (
    '""', '"demo"', '"a"', "'a'", '"\\u0000"', '"\\u0007"', '"\\n"', '"\\uD800"', '"\\U0010FFFF"', '"é"', '"../x"',
    '"~nobody-here/x"', '"/dev/full"',
    '"/proc/self/mem"', '"/nowhere/at/all"', '"none.onnx"', '"out.mp4"', '"out.jsonl"', '"-"', '"rtsp://a:b@127.0.0.1:1/x"',
    '"gst:fakesrc"',
    '"http://[::1"', '"mqtt://127.0.0.1:1"', '"mqtts://"', '"127.0.0.1:0"', '":99999"', '"[::1]:0"', '"0.0.0.0:0"', '"with_mask"',
    '"haar"', '"cnn"',
    '"yolo"', '"info"', '"json"', '"MJPG"', '"door=0,0 1,0 1,1"', '"0,0 1,0 1,1"', '"x=0,0 nan,0 1,1"', '"1e400,0 1,0 1,1"',
    '"%s%n{0}"', '"$HOME"',
    '"""\nlines\n"""', "'''\nlines'''", '"' + "a" * 5000 + '"', '"' + "0,0 " * 2000 + '"', '"' + "\\\\" * 300 + '"',
)  # fmt: skip
_OTHERS = (
    "true", "false", "True", "1979-05-27T07:32:00Z", "1979-05-27", "07:32:00", "9999-99-99", "[]", "{}", "[1, 2]", '["a", 1]',
    "[[]]", "[true]",
    '["with_mask", "without_mask"]', '["event", "mqtt", "webhook", "snapshot", "clip"]', '["door=0,0 1,0 1,1"]', "{a = 1}",
    "{a.b.c = {}}", "", "null", "[",
    "]", "{", '"', "'", '"""', "[" * 40 + "]" * 40, "[" * 100_000, "[" * 2000 + "]" * 2000, "{a=" * 500 + "1" + "}" * 500,
    "[" + "1," * 20_000 + "]", '["a"' + ',"a"' * 2000 + "]",
)  # fmt: skip
_KINDS = ("no_mask_fraction", "person_without_mask", "too_many_people", "camera_lost", "", "x")


def cases(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of `count` configurations."""
    source = random.Random(seed)  # noqa: S311  (no secret)
    base = to_toml(load_config(None, {})).encode()
    for number in range(count):
        content = _MAKERS[source.randrange(len(_MAKERS))](source, base)
        yield f"{number:05}.toml", content


def _sections(source: random.Random, base: bytes) -> bytes:
    """Return known keys with values of any kind."""
    return "\n".join(_section(source, name) for name in source.sample(section_names(), source.randint(1, 5))).encode(
        errors="surrogatepass"
    )


def _section(source: random.Random, name: str, head: str | None = None) -> str:
    entries = fields(section_class(name))
    chosen = source.sample(entries, min(len(entries), source.randint(1, 4)))
    values = (_good(source, entry) if source.random() < 0.7 else _value(source, str(entry.type)) for entry in chosen)
    lines = [f"{entry.name} = {value}" for entry, value in zip(chosen, values, strict=True)]
    return "\n".join([head or f"[{name}]", *lines])


def _good(source: random.Random, entry: Field[Any]) -> str:
    """Return a value that the key accepts on its own."""
    bounds, kind = entry.metadata.get("range"), str(entry.type)
    if bounds is not None:
        low, high = bounds.low, bounds.high
        near = source.choice((low, high, min(high, low + 10 ** source.uniform(-3, 6)), source.uniform(low, high)))
        return str(math.ceil(near)) if "int" in kind else repr(float(near))
    if "bool" in kind:
        return source.choice(("true", "false"))
    if "tuple" in kind:
        good = {
            "roi": '["door=0,0 1,0 1,1"]', "actions": '["event"]', "command": '["true"]', "labels": '["with_mask", "without_mask"]',
        }  # fmt: skip
        return good.get(entry.name, "[]")
    good = {
        "uri": '"demo"', "file": '"events.jsonl"', "save": '"out.mkv"', "serve": '"127.0.0.1:0"', "format": '"json"',
        "level": '"debug"',
        "url": '"mqtt://127.0.0.1:1"', "detector": source.choice(('"cnn"', '"haar"', '"haar-stock"')), "folder": '"kept"',
        "spool": '"spool"',
        "when": f'"{source.choice(_KINDS)}"', "suffix": '".mkv"', "fourcc": '"MJPG"', "name": f'"rule {source.randrange(99)}"',
        "zone": '"door"',
    }  # fmt: skip
    return good.get(entry.name, _value(source, kind))


def _value(source: random.Random, kind: str) -> str:
    if source.random() < 0.2:
        return source.choice(source.choice((_NUMBERS, _TEXTS, _OTHERS)))
    if "tuple" in kind:
        return f"[{', '.join(source.choice(_TEXTS) for _ in range(source.randint(0, 4)))}]"
    if "int" in kind or "float" in kind:
        return source.choice(_NUMBERS)
    return source.choice(_OTHERS[:3] if "bool" in kind else _TEXTS)


def _rules(source: random.Random, base: bytes) -> bytes:
    """Return alert rules, and a zone for them."""
    parts = ['[zones]\nroi = ["door=0,0 1,0 1,1"]']
    for number in range(source.choice((1, 1, 2, 5, 150))):
        rule = _section(source, "alerts", "[[alerts]]")
        if source.random() < 0.8 and "name =" not in rule:
            rule += f'\nname = "rule {number}"'
        if source.random() < 0.8 and "when =" not in rule:
            rule += f'\nwhen = "{source.choice(_KINDS)}"'
        if source.random() < 0.5 and "threshold =" not in rule:
            rule += "\nthreshold = 0.5"
        parts.append(rule)
    return "\n".join(parts).encode(errors="surrogatepass")


def _changed(source: random.Random, base: bytes) -> bytes:
    """Return the defaults with some bytes changed."""
    content = bytearray(base)
    for _ in range(source.choice((1, 1, 2, 5, 50))):
        at = source.randrange(len(content))
        match source.randrange(5):
            case 0:
                content[at] = source.randrange(256)
            case 1:
                del content[at : at + source.choice((1, 2, 10, 500))]
            case 2:
                content[at:at] = bytes(source.choices(b"[]{}=\"'.,#\n\\\0\xff 0129eE_-+", k=source.choice((1, 3, 20))))
            case 3:
                content[at:at] = content[at : at + source.choice((5, 50, 500))]
            case _:
                content[at:at] = source.choice((_NUMBERS, _TEXTS, _OTHERS))[0].encode()
        content = content or bytearray(b"x")
    return bytes(content)


def _uncommented(source: random.Random, base: bytes) -> bytes:
    """Return the defaults, with values for some keys without a default."""
    lines = []
    for line in base.decode().splitlines():
        if line.startswith("# ") and line.endswith(" =") and source.random() < 0.1:
            lines.append(f"{line[2:]} {source.choice(_TEXTS + _NUMBERS)}")
        else:
            lines.append(line)
    return "\n".join(lines).encode(errors="surrogatepass")


def _shapes(source: random.Random, base: bytes) -> bytes:
    """Return a text that strains a parser."""
    size = source.choice((17, 100, 1000, 20_000, 100_000))
    key = source.choice(("a", "detect", '""', "'a.b'"))
    return source.choice(
        (
            b"[" + b".".join([b"a"] * size) + b"]",
            ".".join([key] * size).encode() + b" = 1",
            b"[detect]\nevery = " + b"[" * size,
            b"[detect]\n" + b"every = 2\n" * size,
            b"[detect]\nevery = " + b"9" * size,
            b'[log]\nlevel = "' + b"a" * size,
            b'[log]\nlevel = """' + b'\\"""' * size,
            b"[[alerts]]\n" * size,
            b"[[" * size,
            b"#" * size,
            b"\n" * size,
            b"\xef\xbb\xbf[detect]\nevery = 2",
            b"[detect]\r\nevery = 2\r\n" + b"\r" * size,
            b"[detect]\nevery = 2\x00",
            b"x" * 300_000,
            b"",
            b'"' * size,
            b"'" * size,
            b"a = {" + b"b = {" * size,
            json.dumps({"detect": {"every": 2}}).encode(),
            "[detect]\nevery = \uff12".encode(),
            "[detect]\nevery = 2".encode("utf-16"),
        )
    )


def _noise(source: random.Random, base: bytes) -> bytes:
    return source.randbytes(source.choice((1, 10, 100, 5000)))


_MAKERS: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    _sections, _sections, _sections, _sections, _rules, _rules, _changed, _changed, _uncommented, _uncommented, _shapes, _noise,
)  # fmt: skip
