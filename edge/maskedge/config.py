"""The configuration of `edge-run`: defaults < edge.toml < environment < flags, as one frozen object (docs/configuration.md)."""

from __future__ import annotations

import contextlib
import difflib
import json
import math
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from importlib import import_module
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

from maskedge.support.files import read_text

from .errors import MaskedgeError, UsageError
from .settings import MASK, Range, check_settings, check_value, shown

if TYPE_CHECKING:
    from maskedge.alerts.rules import AlertRule
    from maskedge.sinks.clips import ClipsConfig
    from maskedge.sinks.events import EventsConfig
    from maskedge.sinks.mqtt.sink import MqttConfig
    from maskedge.sinks.snapshots import SnapshotsConfig
    from maskedge.sinks.web import WebConfig
    from maskedge.sources.config import SourceConfig

    from .zones import ZonesConfig

PREFIX = "MASKEDGE_"
MOST_BYTES = 256 * 1024
"""Size of an edge.toml, at most."""
_MOST_DEPTH = 16
"""Lists and tables inside one another, and parts of a dotted key, at most."""
_MOST_RULES = 100
_TOKENS = re.compile(r'''"""(?:\\.|[^\\])*?"""|'{3}.*?'{3}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|\#[^\n]*|[\[\]{}]''', re.DOTALL)
"""Texts, comments and brackets of a TOML file."""
_LONG_KEY = re.compile(rf"(?<![\w-])(?:[\w-]+[ \t]*\.[ \t]*){{{_MOST_DEPTH}}}")


@dataclass(frozen=True)
class ModelConfig:
    """The section `[model]`."""

    file: Path | None = field(default=None, metadata={"help": "classifier .onnx file; default: the bundled one"})
    labels: tuple[str, ...] = field(
        default=(), metadata={"help": "labels to answer with, two or more of the model's; empty: all that it has"}
    )

    def __post_init__(self) -> None:
        check_settings(self, "model")


@dataclass(frozen=True)
class DetectConfig:
    """The section `[detect]`."""

    detector: str = field(default="haar", metadata={"help": "how faces are found (edge-run --help lists the names)"})
    cascade: Path | None = field(default=None, metadata={"help": "cascade .xml file to find faces with, instead of detector"})
    detector_model: Path | None = field(
        default=None, metadata={"help": "detector .onnx file to find faces with, instead of detector"}
    )
    every: int = field(
        default=5,
        metadata={
            "help": "look for faces in every so many frames of a video, sooner at a low rate; in between, tracks carry them",
            "range": Range(1, 10_000),
        },
    )
    face_threshold: float | None = field(
        default=None,
        metadata={
            "help": "how surely a candidate must be a face, 0 to 1; default: what is best for the detector",
            "range": Range(0, 1),
        },
    )
    min_face_size: int | None = field(
        default=None, metadata={"help": "side in pixels of the smallest face; default: whatever is found", "range": Range(1, 16384)}
    )

    def __post_init__(self) -> None:
        check_settings(self, "detect")
        if self.cascade and self.detector_model:
            raise UsageError("faces are found with one of --cascade and --detector-model: leave the other out.")


@dataclass(frozen=True)
class OutputConfig:
    """The section `[output]`."""

    show: bool | None = field(default=None, metadata={"help": "open a window; default: when there is a display"})
    save: str | None = field(
        default=None,
        metadata={
            "help": "write the annotated video (.mp4, .mkv, .avi); for pictures also a folder or a picture file",
            "free": True,
        },
    )
    overwrite: bool = field(default=False, metadata={"help": "replace outputs that exist already"})
    max_frames: int | None = field(default=None, metadata={"help": "stop after so many frames", "range": Range(1, 10**12)})

    def __post_init__(self) -> None:
        check_settings(self, "output")


@dataclass(frozen=True)
class PrivacyConfig:
    """The section `[privacy]` (docs/privacy.md)."""

    anonymize: bool = field(
        default=False, metadata={"help": "make faces unrecognisable in every picture that is shown, kept or sent"}
    )
    stats_only: bool = field(
        default=False, metadata={"help": "leave where faces are, and who is who, out of all that is written or sent"}
    )
    no_reidentification: bool = field(
        default=False,
        metadata={"help": "compute nothing that could distinguish people: a person who comes back is counted as a new one"},
    )


@dataclass(frozen=True)
class LimitsConfig:
    """The section `[limits]`."""

    threads: int | None = field(
        default=None, metadata={"help": "threads of ONNX Runtime and OpenCV; default: 1 and 2", "range": Range(1, 256)}
    )
    max_fps: float | None = field(
        default=None, metadata={"help": "frames of a live source that are answered a second, at most", "range": Range(0.1, 1000)}
    )
    cpu_budget: float | None = field(
        default=None,
        metadata={
            "help": "percent of one core that may be used (100: one core); a live loop slows down to keep it",
            "range": Range(1, 102_400),
        },
    )

    def __post_init__(self) -> None:
        check_settings(self, "limits")


LOG_FORMATS = ("text", "json")
LOG_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True)
class LogConfig:
    """The section `[log]`."""

    format: str = field(default="text", metadata={"help": f"how log lines are written: {', '.join(LOG_FORMATS)}"})
    level: str = field(default="info", metadata={"help": f"the least that is said: {', '.join(LOG_LEVELS)}"})
    quiet: bool = field(default=False, metadata={"help": "no progress and no summary; errors are still said"})

    def __post_init__(self) -> None:
        check_settings(self, "log")
        for name, value, known in (("format", self.format, LOG_FORMATS), ("level", self.level, LOG_LEVELS)):
            if value not in known:
                raise UsageError(f"log.{name} is one of {', '.join(known)}; got {shown(value)}.")


@dataclass(frozen=True)
class EdgeConfig:
    """All that can be set, one attribute a section of edge.toml."""

    source: SourceConfig
    model: ModelConfig
    detect: DetectConfig
    zones: ZonesConfig
    output: OutputConfig
    events: EventsConfig
    web: WebConfig
    mqtt: MqttConfig
    snapshots: SnapshotsConfig
    clips: ClipsConfig
    privacy: PrivacyConfig
    limits: LimitsConfig
    log: LogConfig
    alerts: tuple[AlertRule, ...]


# Each section lives beside what it configures, and is loaded when a configuration is: --help needs none of it.
_HOMES = {
    "source": ("maskedge.sources.config", "SourceConfig"),
    "model": (__name__, "ModelConfig"),
    "detect": (__name__, "DetectConfig"),
    "zones": ("maskedge.zones", "ZonesConfig"),
    "output": (__name__, "OutputConfig"),
    "events": ("maskedge.sinks.events", "EventsConfig"),
    "web": ("maskedge.sinks.web", "WebConfig"),
    "mqtt": ("maskedge.sinks.mqtt.sink", "MqttConfig"),
    "snapshots": ("maskedge.sinks.snapshots", "SnapshotsConfig"),
    "clips": ("maskedge.sinks.clips", "ClipsConfig"),
    "privacy": (__name__, "PrivacyConfig"),
    "limits": (__name__, "LimitsConfig"),
    "log": (__name__, "LogConfig"),
}
_ALERTS = ("maskedge.alerts.rules", "AlertRule")
SECTIONS = tuple(_HOMES)
_CHOICES = (("source.uri", "source.uri_file", "source.camera"), ("detect.detector", "detect.cascade", "detect.detector_model"))
"""Keys of which one is meant at a time."""


@dataclass(frozen=True)
class Loaded:
    """A configuration, and where it came from.

    Attributes:
        config: The configuration.
        file: The edge.toml, None where none was given.
        origins: Where each value that is no default came from, by `section.key`: a file, a variable, a flag.
    """

    config: EdgeConfig
    file: Path | None
    origins: Mapping[str, str]


def load_config(
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Loaded:
    """Put the configuration together.

    Args:
        file: An edge.toml.
        environment: Variables, of which `MASKEDGE_SECTION_KEY` are read; the process's own when left out.
        flags: Values of flags by `section.key`; None where a flag was not given.

    Raises:
        UsageError: A key is unknown, a value is of another type, out of its range or makes no sense, or the file cannot be read.
    """
    try:
        return _load(file, os.environ if environment is None else environment, flags or {})
    except (MaskedgeError, ImportError):
        raise  # a broken installation is no fault of the file
    except Exception as error:
        # Whatever a file may hold: a running program asks for it too, and must not end by it.
        raise UsageError(
            f"the configuration{f' {file}' if file else ''} cannot be used ({type(error).__name__}: {shown(str(error))})."
        ) from error


def _load(file: Path | None, environment: Mapping[str, str], flags: Mapping[str, Any]) -> Loaded:
    values: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    origins: dict[str, str] = {}
    layers: dict[str, str] = {}
    rules: list[Any] = []

    def put(path: str, value: Any, origin: str, layer: str) -> None:
        section, _, key = path.partition(".")
        values[section][key] = value
        origins[path], layers[path] = origin, layer
        # A choice is made anew by what comes later, whichever of its keys that uses.
        for other in next((choice for choice in _CHOICES if path in choice), ()):
            if layers.get(other, layer) != layer:
                values[section].pop(other.partition(".")[2])
                del origins[other], layers[other]

    if file is not None:
        for section, content in _read_toml(file).items():
            if section == "alerts":
                rules = _read_rules(content, file)
                continue
            _check_section(section, f"{file}")
            if not isinstance(content, dict):
                raise UsageError(f"{file}: {section} is a section: write [{section}] and its keys below.")
            for key, value in content.items():
                put(f"{section}.{key}", _typed(section, key, value, f"{file}: {section}.{key}"), str(file), "file")
    for name, section, key, text in _variables(environment):
        put(f"{section}.{key}", _typed(section, key, text, name, parse=True), name, "variable")
    for path, value in flags.items():
        if value is not None:
            put(path, value, "flag", "flag")
    sections = {section: section_class(section)(**values[section]) for section in SECTIONS}
    return Loaded(EdgeConfig(**sections, alerts=tuple(rules)), file, origins)


def section_class(section: str) -> type[Any]:
    """Give the dataclass of a section; `alerts` names that of a rule."""
    module, name = _ALERTS if section == "alerts" else _HOMES[section]
    found: type[Any] = getattr(import_module(module), name)
    return found


def _read_toml(file: Path) -> dict[str, Any]:
    toml = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        text = read_text(file.expanduser(), MOST_BYTES)
    except OSError as error:
        raise UsageError(f"the configuration {file} cannot be read ({error.strerror}): check the path after --config.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"the configuration {file} is no text in UTF-8.") from error
    _check_depth(text, file)
    try:
        content: dict[str, Any] = toml.loads(text)
    except ValueError as error:
        # A TOMLDecodeError, or a number of more digits than Python takes.
        raise UsageError(f"the configuration {file} is no TOML: {str(error).rstrip('.')[:200]}.") from error
    return content


def _check_depth(text: str, file: Path) -> None:
    """Refuse nesting before it is parsed: the parser is recursive, and takes the square of a dotted key's length.

    Raises:
        UsageError: It is deeper than any configuration.
    """
    depth = 0
    for token in _TOKENS.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        if depth > _MOST_DEPTH:
            raise UsageError(
                f"the configuration {file} nests lists or tables more than {_MOST_DEPTH} deep: no key of it needs that."
            )
    if _LONG_KEY.search(_TOKENS.sub(lambda token: token[0] if token[0] in "[]{}" else "_", text)):
        raise UsageError(f"the configuration {file} holds a key of more than {_MOST_DEPTH} parts: no key of it has so many.")


def _read_rules(content: Any, file: Path) -> list[Any]:
    if not isinstance(content, list) or not all(isinstance(table, dict) for table in content):
        raise UsageError(f"{file}: alert rules are tables: write [[alerts]] and the keys of a rule below.")
    if len(content) > _MOST_RULES:
        raise UsageError(f"{file}: {len(content)} alert rules are too many: {_MOST_RULES} at most.")
    rules = []
    for number, table in enumerate(content, 1):
        where = f"{file}: alerts[{number}]"
        rules.append(
            section_class("alerts")(**{key: _typed("alerts", key, value, f"{where}.{key}") for key, value in table.items()})
        )
    return rules


def _variables(environment: Mapping[str, str]) -> Iterator[tuple[str, str, str, str]]:
    """Give name, section, key and text of each variable of ours."""
    for name, text in sorted(environment.items()):
        if not name.startswith(PREFIX):
            continue
        section, _, key = name.removeprefix(PREFIX).lower().partition("_")
        if section in SECTIONS and key:
            yield name, section, key, text
        elif key and (close := difflib.get_close_matches(section, SECTIONS, 1, 0.75)):
            raise UsageError(f"the variable {name} names no section: did you mean {PREFIX}{close[0].upper()}_{key.upper()}?")


def _check_section(section: str, where: str) -> None:
    known = (*SECTIONS, "alerts")
    if section not in known:
        raise UsageError(f"{where}: there is no section [{shown(section)[1:-1]}]{_nearest(section, known)}")


def _nearest(name: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(name[:100], known, 1, 0.5)
    return f": did you mean {close[0]}?" if close else f"; known are {', '.join(known)}."


def _typed(section: str, key: str, value: Any, where: str, *, parse: bool = False) -> Any:
    """Bring a value to the type of its key.

    Args:
        section: Its section.
        key: Its key.
        value: As TOML gives it, or text.
        where: What to call the place in a refusal.
        parse: True for the text of a variable.
    """
    cls = section_class(section)
    known = {entry.name: entry for entry in fields(cls)}
    if key not in known:
        place = f"{where}: {'an alert rule has no key' if section == 'alerts' else f'[{section}] has no key'} {shown(key)}"
        raise UsageError(f"{place}{_nearest(key, tuple(known))}")
    hint = get_type_hints(cls)[key]
    try:
        typed = _parse(value, hint) if parse else _convert(value, hint)
    except (ValueError, OverflowError, RecursionError):
        bounds = known[key].metadata.get("range")
        kind = _describe(hint) + (f" {bounds}" if bounds else "")
        raise UsageError(f"{where} takes {kind}, got {MASK if is_secret(known[key]) else shown(value)}.") from None
    check_value(known[key], typed, where)
    return typed


def _options(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _convert(value: Any, hint: Any) -> Any:
    """Bring a value of TOML to `hint`. ValueError where it does not fit."""
    for option in _options(hint):
        if get_origin(option) is tuple:
            if isinstance(value, list):
                return tuple(_convert(item, get_args(option)[0]) for item in value)
        elif option is Path:
            if isinstance(value, str) and value and "\0" not in value:
                return Path(value)
        elif option is float:
            if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
                return float(value)
        elif option is int:
            if isinstance(value, int) and not isinstance(value, bool):
                return value
        elif option in (bool, str) and isinstance(value, option):
            return value
    raise ValueError


def _parse(text: str, hint: Any) -> Any:
    """Read the text of a variable as `hint`. ValueError where it does not fit."""
    for option in _options(hint):
        if option is type(None):
            continue
        if get_origin(option) is tuple:
            return tuple(_parse(part.strip(), get_args(option)[0]) for part in text.split(";") if part.strip())
        if option is bool:
            word = text.strip().lower()
            if word in ("1", "true", "yes", "on", "0", "false", "no", "off"):
                return word in ("1", "true", "yes", "on")
            raise ValueError
        return _convert(text if option is Path else option(text), option)
    raise ValueError


def _describe(hint: Any) -> str:
    words = {str: "text", int: "a whole number", float: "a number", bool: "true or false", Path: "a path (text)"}
    option = next(option for option in _options(hint) if option is not type(None))
    if get_origin(option) is tuple:
        return f"a list of {words[get_args(option)[0]].removeprefix('a ')}"
    return words[option]


def is_secret(entry: Field[Any]) -> bool:
    """Tell whether the value of a key must never be shown."""
    return bool(entry.metadata.get("secret"))


def secrets_of(config: EdgeConfig) -> set[str]:
    """Give all texts of a configuration that must never be shown: secret values, and passwords and keys in addresses."""
    from maskedge.sources.address import secrets_in

    found: set[str] = set()
    for section in (*(getattr(config, name) for name in SECTIONS), *config.alerts):
        for entry in fields(section):
            value = getattr(section, entry.name)
            for text in value if isinstance(value, tuple) else (value,):
                if isinstance(text, str):
                    found |= {text} if is_secret(entry) else secrets_in(text) if _is_address(text) else set()
    if config.source.uri_file is not None:
        # Whether the file can be read is the run's to say.
        with contextlib.suppress(UsageError):
            found |= secrets_in(config.source.address)
    return found


def _is_address(text: str) -> bool:
    return "://" in text or text.lstrip().lower().startswith("gst:")


def _hide(value: Any) -> Any:
    """Mask the secrets in an address, or in a list of texts."""
    from maskedge.sources.address import without_password

    if isinstance(value, tuple):
        return tuple(map(_hide, value))
    return without_password(value, MASK) if isinstance(value, str) and _is_address(value) else value


def to_toml(loaded: Loaded) -> str:
    """Write a configuration as an edge.toml with comments, which loads to the same configuration. Secrets are masked."""
    lines = ["# The configuration of edge-run (docs/configuration.md). A key behind '#' is not set; its line can be filled in."]
    for section in SECTIONS:
        lines += ["", f"[{section}]", *_section_lines(getattr(loaded.config, section), section, loaded.origins)]
    for rule in loaded.config.alerts:
        lines += ["", "[[alerts]]", *_section_lines(rule, "alerts", {})]
    return "\n".join(lines) + "\n"


def _section_lines(values: Any, section: str, origins: Mapping[str, str]) -> Iterator[str]:
    for entry in fields(values):
        value = getattr(values, entry.name)
        origin = origins.get(f"{section}.{entry.name}")
        bounds = entry.metadata.get("range")
        yield f"# {entry.metadata.get('help', '')}{f' ({bounds})' if bounds else ''}{f' (from {origin})' if origin else ''}"
        if is_secret(entry):
            yield f'# {entry.name} = "{MASK}"' if value is not None else f"# {entry.name} ="
        elif value is None:
            yield f"# {entry.name} ="
        elif (hidden := _hide(value)) != value:
            yield f"# {entry.name} = {_toml_value(hidden)}"
        else:
            yield f"{entry.name} = {_toml_value(value)}"


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(_toml_value(item) for item in value)}]"
    if isinstance(value, int | float):
        return repr(value)
    # JSON's strings are TOML's, but for one control character.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def changed_keys(old: EdgeConfig, new: EdgeConfig) -> list[str]:
    """Name the keys, as `section.key`, in which two configurations differ; `alerts` stands for the rules as a whole."""
    changed = ["alerts"] if old.alerts != new.alerts else []
    for section in SECTIONS:
        before, after = getattr(old, section), getattr(new, section)
        changed += [
            f"{section}.{entry.name}" for entry in fields(after) if getattr(before, entry.name) != getattr(after, entry.name)
        ]
    return changed


def field_of(path: str) -> Field[Any] | None:
    """Give the field of `section.key`, of the sections that are defined here; None of the others."""
    section, _, key = path.partition(".")
    if _HOMES[section][0] != __name__:
        return None
    (entry,) = (entry for entry in fields(section_class(section)) if entry.name == key)
    return entry
