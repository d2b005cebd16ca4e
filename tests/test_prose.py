"""Words and phrases that the project replaced stay out of names, documents, help texts, comments and pages.

Each word has one term that takes its place. The names of the wire keep theirs: keys of events, reports, metrics.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click
import pytest

from helpers.commands import all_commands
from helpers.support import ROOT

CODE = ("edge", "train", "export", "benchmarks", "fleet", "tests/helpers", "tests/platforms", "tests/fuzz")
"""Folders whose Python is read."""
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "docs/*.md", "workstation/*.md", "fleet/*.md", "edge/maskedge/models/*.md")
PAGES = ("edge/**/*.html", "edge/**/*.js", "fleet/**/*.html", "fleet/**/*.js")

NAMES = {
    "happening": "event",
    "happenings": "events",
    "tell": "publish",
    "told": "published",
    "news": "events",
    "announce": "publish",
    "likeness": "similarity",
    "restless": "redetect_frames",
    "settled": "is_stable",
    "keen": "sensitive",
    "film": "video",
    "films": "videos",
    "album": "MediaFolder",
    "tally": "DetectionCounts",
    "finder": "detector",
    "finders": "detectors",
    "governor": "rate_limiter",
    "sayings": "messages",
    "surely": "confidence",
}
"""Words that no defined name has as one of its parts: `open_film` and `FilmWriter` both have `film`."""
WHOLE_NAMES = {
    "Answer": "FrameResult",
    "Found": "Detection",
    "_Seen": "Detection",
    "_Candidate": "Detection",
    "Controls": "RunContext",
    "Wiring": "build_run",
    "Stop": "StopRequest",
    "Outcome": "RunResult",
    "Keep": "Retention",
    "Look": "Descriptor",
    "LabelLook": "LabelStyle",
    "look": "classify, style or descriptor",
    "look_of": "describe",
    "_look": "_run_detection",
    "_look_anew": "_run_detection",
    "_look_closer": "_refine",
    "_ask_again": "_verify_tracks",
    "_together": "_fuse_scores",
    "ask_for": "set_threshold",
    "least_face": "face_threshold",
    "min_face": "min_face_size",
    "standing": "voted_label",
    "sure": "confidence",
    "say": "log",
    "said": "logged",
    "chain": "end_to_end",
    "passes": "rounds",
    "turned": "rotation",
    "notify": "sd_notify",
}
"""Names that nothing defined has."""
MODULES = (
    *("album", "atlas", "chain", "exported", "film", "finders", "governor", "grow", "happenings", "limits", "look"),
    *("notify", "probe", "relations", "start", "tally"),
)
"""Names that no module has."""
PHRASES = {
    r"\bhappenings?\b": "event",
    r"\bnews\b": "event",
    r"\blikeness(es)?\b": "similarity",
    r"\btall(y|ies)\b": "counts",
    r"\balbums?\b": "folder",
    r"\bfinders?\b": "detector",
    r"\bfilm(s|ed|ing)?\b": "video",
    r"\bkeen(er|est)?\b": "sensitive",
    r"\brestless\b": "unstable",
    r"\bleast_face\b": "face_threshold",
    r"\bmin_face\b": "min_face_size",
    r"\bhow sure(ly)?\b": "confidence",
    r"\b(surely|surer|surest)\b": "confidence",
    r"\bstanding (label|answer|vote)\b": "voted label",
    r"\b(the|whole|our) chain\b(?! of trust)": "pipeline",
    r"\b(say|says|said|saying) (it )?(in )?(a|one) sentence\b": "log, message",
    r"\b(say|says|said|told) once\b": "logged once",
    r"\bknock(s|ed|ing)? at\b": "connect",
    r"\b(let|lets|letting) go of\b": "release",
    r"\bfor who\b": "for you",
    r"\bin front of the camera now\b": "Now",
    r"(?-i:\bWhat happened\b)": "Events",
    r"(?-i:\bWhere results go\b)": "Outputs",
    r"\bpictures looked at\b": "Frames",
    r"\bas newer ones were there\b": "Dropped",
    r"\bof it, looking\b": "Detection",
    r"\blook at the whole clip\b": "Analyse",
    r"\bmust an answer be\b": "Threshold",
}
"""Phrases of prose, as regular expressions that ignore case."""
OPENINGS = r"(Tell|Tells|Give|Gives|Say|Says|Let|What|Whether|Who|The same)\b"
"""First words that no docstring has: it says what the thing does or is."""

WIRE_WORDS = ("maskedge_happenings_total", "film_s", "least_face", "min_face", "happening", "happenings")
"""Names of keys and metrics: in prose, they stand in backticks or quotes, or are part of a longer name."""
KEPT_NAMES = ("film_s", "_film_s", "cpu_governor")
"""Names with such a word that stay: a key of events, and the term of Linux."""


@dataclass(frozen=True, order=True)
class Finding:
    """A retired word.

    Attributes:
        path: File, relative to the checkout.
        line: Line of the file, from 1; 0 for a name of the file itself.
        text: The word, and what takes its place.
    """

    path: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


@cache
def sources() -> tuple[Path, ...]:
    return tuple(path for folder in CODE for path in sorted((ROOT / folder).rglob("*.py")))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def parts(name: str) -> list[str]:
    """Split a name into its words, in lower case: `openFilm`, `open_film` and `OpenFilm` are alike."""
    return [part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]


def definitions(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the line and name of everything that a module defines: not what it only uses."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id if isinstance(node, ast.Name) else node.attr
        elif isinstance(node, ast.alias) and node.asname:
            yield node.lineno, node.asname


def in_name(name: str) -> str:
    """Return the retired word in a name with its replacement; empty when there is none."""
    if name in WHOLE_NAMES or name.lstrip("_") in WHOLE_NAMES:
        return f"{name} -> {WHOLE_NAMES.get(name) or WHOLE_NAMES[name.lstrip('_')]}"
    return next((f"{name}: {word} -> {NAMES[word]}" for word in parts(name) if word in NAMES), "")


def name_findings() -> Iterator[Finding]:
    for path in sources():
        if path.stem in MODULES:
            yield Finding(relative(path), 0, f"module {path.stem}")
        for line, name in definitions(ast.parse(path.read_text(encoding="utf-8"))):
            if name not in KEPT_NAMES and (word := in_name(name)):
                yield Finding(relative(path), line, word)


def in_prose(text: str) -> Iterator[tuple[int, str]]:
    """Yield the retired phrases of a text: number of the line, from 0, and phrase with its replacement."""
    wire = "|".join(WIRE_WORDS)
    # The wire's names as such, blanked at the same length; then line breaks count as blanks.
    text = re.sub(
        rf"([`'\"])({wire})\1|\bkinds=[\w,]+|\b(?:{wire})(?=\w*[=:\"])|\bmaskedge_happenings_total\b",
        lambda match: "_" * len(match[0]),
        text,
    )
    for pattern, instead in PHRASES.items():
        for match in re.finditer(pattern.replace(" ", r"\s+"), text, flags=re.IGNORECASE):
            yield text.count("\n", 0, match.start()), f"{' '.join(match[0].split())} -> {instead}"


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield what a reader reads in a Python file, with its line: docstrings, messages and comments."""
    content = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value
    for token in tokenize.generate_tokens(io.StringIO(content).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def code_findings() -> Iterator[Finding]:
    for path in sources():
        for line, text in texts(path):
            yield from (Finding(relative(path), line + further, word) for further, word in in_prose(text))


def document_findings(patterns: tuple[str, ...]) -> Iterator[Finding]:
    for path in sorted(path for pattern in patterns for path in ROOT.glob(pattern)):
        yield from (Finding(relative(path), line + 1, word) for line, word in in_prose(path.read_text(encoding="utf-8")))


def help_findings() -> Iterator[Finding]:
    for name, command in all_commands():
        options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
        for text in (command.help, command.short_help, command.epilog, *(option.help for option in options)):
            yield from (Finding(name, 0, word) for _, word in in_prose(text or ""))
        for option in options:
            words = [word for flag in option.opts for word in parts(flag) if word in NAMES]
            yield from (Finding(name, 0, f"{option.opts[-1]}: {word} -> {NAMES[word]}") for word in words)


def opening_findings() -> Iterator[Finding]:
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                first = ast.get_docstring(node) or ""
                if match := re.match(OPENINGS, first):
                    yield Finding(relative(path), getattr(node, "lineno", 1), f"docstring begins: {match[0]}")


KINDS = {
    "names": name_findings,
    "documents": lambda: document_findings(DOCUMENTS),
    "help": help_findings,
    "comments, docstrings and messages": code_findings,
    "pages": lambda: document_findings(PAGES),
    "first words of docstrings": opening_findings,
}


@pytest.mark.parametrize("kind", KINDS)
def test_no_retired_word_is_left(kind: str) -> None:
    assert [str(finding) for finding in sorted(set(KINDS[kind]()))] == []


def test_words_are_recognised() -> None:
    assert in_name("open_film")
    assert in_name("FilmWriter")
    assert in_name("_look")
    assert not in_name("filmstrip")
    assert not in_name("outlook")
    assert [word for _, word in in_prose("It was\nsaid once, as\nthe log key `happening`.")] == ["said once -> logged once"]
    assert not list(in_prose("`maskedge_happenings_total` counts; the view finds; tell, look, say and live are fine."))
