"""The configuration of `edge-run` as one frozen object (docs/configuration.md).

Values come from defaults, edge.toml, environment variables and flags. A later place replaces the
value of an earlier one.
"""

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

from maskedge.sinks.output_settings import OutputConfig
from maskedge.support.files import read_text

from .errors import MaskedgeError, UsageError
from .settings import DOMAINS, MASK, OPERATING_POINTS, PRECISIONS, Range, check_settings, check_value, shown

if TYPE_CHECKING:
    from maskedge.alerts.rules import AlertRule
    from maskedge.sources.config import SourceConfig

    from .zones import ZonesConfig

PREFIX = "MASKEDGE_"
MOST_BYTES = 256 * 1024
"""Maximum size of an edge.toml in bytes."""
_MOST_DEPTH = 16
"""Maximum nesting depth of lists and tables, and maximum number of parts of a dotted key."""
_MOST_RULES = 100
"""Maximum number of alert rules."""
_TOKENS = re.compile(r'''"""(?:\\.|[^\\])*?"""|'{3}.*?'{3}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|\#[^\n]*|[\[\]{}]''', re.DOTALL)
"""Strings, comments and brackets of a TOML file."""
_LONG_KEY = re.compile(rf"(?<![\w-])(?:[\w-]+[ \t]*\.[ \t]*){{{_MOST_DEPTH}}}")


@dataclass(frozen=True)
class ModelConfig:
    """The section `[model]`."""

    file: Path | None = field(default=None, metadata={"help": "classifier .onnx file; default: the bundled one"})
    labels: tuple[str, ...] = field(
        default=(), metadata={"help": "labels to choose from, two or more of the model's; empty: all of them"}
    )
    precision: str = field(
        default="auto",
        metadata={
            "help": f"precision of the bundled classifier and of the detector cnn: {', '.join(PRECISIONS)}; auto: int8 on a "
            "processor with dot products of bytes; edge-bench tune measures both",
        },
    )

    def __post_init__(self) -> None:
        check_settings(self, "model")
        if self.precision not in PRECISIONS:
            raise UsageError(f"model.precision is one of {', '.join(PRECISIONS)}; got {shown(self.precision)}.")


@dataclass(frozen=True)
class DetectConfig:
    """The section `[detect]`."""

    detector: str = field(
        default="haar",
        metadata={"help": "face detector: a name (edge-run --help lists them), a cascade .xml or a network .onnx file"},
    )
    cascade: Path | None = field(default=None, metadata={"help": "cascade .xml file, instead of detector"})
    detector_model: Path | None = field(default=None, metadata={"help": "detector .onnx file, instead of detector"})
    every: int = field(
        default=5,
        metadata={
            "help": "detect faces in every Nth frame of a video, more often at a low rate; tracks follow them in between",
            "range": Range(1, 10_000),
        },
    )
    sync: bool | None = field(
        default=None,
        metadata={
            "help": "wait for the detection of each frame that has one, so that the results do not depend on the speed of the "
            "machine; default: files wait, live sources do not; anonymize always waits"
        },
    )
    motion_gate: bool = field(
        default=True,
        metadata={
            "help": "search only the changed parts of the picture, and all of it in every fifth detection; anonymize searches "
            "all of it"
        },
    )
    operating_point: str | None = field(
        default=None,
        metadata={
            "help": f"face threshold that the model carries for the detector, by name: {', '.join(OPERATING_POINTS)}; default: "
            f"{OPERATING_POINTS[0]}, or the detector's own threshold if the model carries none; face_threshold replaces it"
        },
    )
    domain: str | None = field(
        default=None,
        metadata={
            "help": f"kind of pictures for which the operating point was chosen: {', '.join(DOMAINS)}; default: {DOMAINS[0]}",
        },
    )
    face_threshold: float | None = field(
        default=None,
        metadata={
            "help": "lowest face score that counts, 0 to 1; default: that of the operating point",
            "range": Range(0, 1),
        },
    )
    min_face_size: int | None = field(
        default=None,
        metadata={
            "help": "side of the smallest face in pixels (geometric mean of width and height); default: no limit",
            "range": Range(1, 16384),
        },
    )

    def __post_init__(self) -> None:
        check_settings(self, "detect")
        for name, value, known in (("operating_point", self.operating_point, OPERATING_POINTS), ("domain", self.domain, DOMAINS)):
            if value is not None and value not in known:
                raise UsageError(f"detect.{name} is one of {', '.join(known)}; got {shown(value)}.")
        if self.cascade and self.detector_model:
            raise UsageError("--cascade and --detector-model exclude each other: leave one of them out.")


@dataclass(frozen=True)
class PrivacyConfig:
    """The section `[privacy]` (docs/privacy.md)."""

    anonymize: bool = field(default=False, metadata={"help": "pixelate faces in every picture that is shown, stored or sent"})
    stats_only: bool = field(
        default=False, metadata={"help": "leave positions and identities of people out of everything that is written or sent"}
    )
    no_reidentification: bool = field(
        default=False,
        metadata={"help": "compute nothing that distinguishes people; a person who returns counts as a new one"},
    )


@dataclass(frozen=True)
class LimitsConfig:
    """The section `[limits]`."""

    threads: int | None = field(
        default=None, metadata={"help": "threads of ONNX Runtime and of OpenCV; default: 1 and 2", "range": Range(1, 256)}
    )
    max_fps: float | None = field(
        default=None,
        metadata={"help": "highest number of processed frames per second of a live source", "range": Range(0.1, 1000)},
    )
    cpu_budget: float | None = field(
        default=None,
        metadata={
            "help": "CPU budget in percent of one core (100: one core); a live loop slows down to stay within it",
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

    format: str = field(default="text", metadata={"help": f"format of log lines: {', '.join(LOG_FORMATS)}"})
    level: str = field(default="info", metadata={"help": f"lowest level that is logged: {', '.join(LOG_LEVELS)}"})
    quiet: bool = field(default=False, metadata={"help": "no progress and no summary; errors are still logged"})

    def __post_init__(self) -> None:
        check_settings(self, "log")
        for name, value, known in (("format", self.format, LOG_FORMATS), ("level", self.level, LOG_LEVELS)):
            if value not in known:
                raise UsageError(f"log.{name} is one of {', '.join(known)}; got {shown(value)}.")


@dataclass(frozen=True)
class EdgeConfig:
    """All settings, one attribute per section of edge.toml.

    Attributes:
        source: Where frames come from.
        model: The classifier.
        detect: The face detector.
        zones: Parts of the picture that count.
        privacy: Limits on what leaves the program.
        limits: Limits on the use of the machine.
        log: The log.
        alerts: The alert rules.
        sections: Sections that outputs and alert actions declare, by name. Each section is also an
            attribute, such as `config.web.serve`.
    """

    source: SourceConfig
    model: ModelConfig
    detect: DetectConfig
    zones: ZonesConfig
    privacy: PrivacyConfig
    limits: LimitsConfig
    log: LogConfig
    alerts: tuple[AlertRule, ...]
    sections: Mapping[str, Any]

    def __getattr__(self, name: str) -> Any:
        # Python calls this only for names that are not fields. `sections` is missing while an
        # object is unpickled or copied.
        sections = self.__dict__.get("sections", {})
        if name not in sections:
            raise AttributeError(name)
        return sections[name]


# These modules are imported when a configuration is loaded. `--help` does not need them.
_FIRST = {
    "source": ("maskedge.sources.config", "SourceConfig"),
    "model": (__name__, "ModelConfig"),
    "detect": (__name__, "DetectConfig"),
    "zones": ("maskedge.zones", "ZonesConfig"),
}
_LAST = {"privacy": (__name__, "PrivacyConfig"), "limits": (__name__, "LimitsConfig"), "log": (__name__, "LogConfig")}
_LIGHT = {
    "model": ModelConfig,
    "detect": DetectConfig,
    "output": OutputConfig,
    "privacy": PrivacyConfig,
    "limits": LimitsConfig,
    "log": LogConfig,
}
"""Sections whose keys `--help` describes."""
_CHOICES = (("source.uri", "source.uri_file", "source.camera"), ("detect.detector", "detect.cascade", "detect.detector_model"))
"""Groups of keys that exclude each other."""


@dataclass(frozen=True)
class Loaded:
    """A configuration and its origins.

    Attributes:
        config: The configuration.
        file: The edge.toml; None if there is none.
        origins: Origin of each value that is not a default, by `section.key`: a file, a variable or
            a flag.
    """

    config: EdgeConfig
    file: Path | None
    origins: Mapping[str, str]


def load_config(
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Loaded:
    """Load the configuration.

    Args:
        file: An edge.toml.
        environment: Environment variables; `MASKEDGE_SECTION_KEY` sets a key. None: the environment
            of the process.
        flags: Values of flags by `section.key`; None for a flag that was not given.

    Raises:
        UsageError: A key is unknown, a value is not valid (type, range, meaning), or the file
            cannot be read.
    """
    try:
        return _load(file, os.environ if environment is None else environment, flags or {})
    except (MaskedgeError, ImportError):
        raise  # an ImportError means a broken installation, not a broken file
    except Exception as error:
        # A reload must not end a running program, whatever the file contains.
        raise UsageError(
            f"the configuration{f' {file}' if file else ''} cannot be used ({type(error).__name__}: {shown(str(error))})."
        ) from error


def _load(file: Path | None, environment: Mapping[str, str], flags: Mapping[str, Any]) -> Loaded:
    values: dict[str, dict[str, Any]] = {section: {} for section in section_names()}
    origins: dict[str, str] = {}
    layers: dict[str, str] = {}
    rules: list[Any] = []

    def put(path: str, value: Any, origin: str, layer: str) -> None:
        section, _, key = path.partition(".")
        values[section][key] = value
        origins[path], layers[path] = origin, layer
        # A key of a later layer replaces the other keys of its group.
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
    built = {section: cls(**values[section]) for section, cls in sections().items()}
    core = {name: built.pop(name) for name in (*_FIRST, *_LAST)}
    return Loaded(EdgeConfig(**core, alerts=tuple(rules), sections=built), file, origins)


def sections() -> dict[str, type[Any]]:
    """Return the dataclass of each section, in the order of edge.toml.

    Outputs (`maskedge.sinks.SINKS`) and alert actions (`maskedge.alerts.registry.ACTIONS`) declare
    their own sections.
    """
    from maskedge.alerts.registry import ACTIONS
    from maskedge.sinks import sink_classes

    found: dict[str, type[Any]] = {name: _load_class(*home) for name, home in _FIRST.items()}
    owners = [(sink.section, sink.settings_class) for sink in sink_classes()]
    owners += [(action.section, action.settings_class) for action in ACTIONS]
    found |= {name: cls for name, cls in owners if cls is not None}
    return found | {name: _load_class(*home) for name, home in _LAST.items()}


def section_names() -> tuple[str, ...]:
    """Return the names of the sections, in the order of edge.toml."""
    return tuple(sections())


def section_class(section: str) -> type[Any]:
    """Return the dataclass of a section; for `alerts`, the dataclass of a rule."""
    if section == "alerts":
        from maskedge.alerts.registry import rule_class

        return rule_class()
    return sections()[section]


def _load_class(module: str, name: str) -> type[Any]:
    loaded: type[Any] = getattr(import_module(module), name)
    return loaded


def _read_toml(file: Path) -> dict[str, Any]:
    toml = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        text = read_text(file.expanduser(), MOST_BYTES)
    except OSError as error:
        raise UsageError(f"the configuration {file} cannot be read ({error.strerror}): check the path after --config.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"the configuration {file} is not text in UTF-8.") from error
    _check_depth(text, file)
    try:
        content: dict[str, Any] = toml.loads(text)
    except ValueError as error:
        # A TOMLDecodeError, or a number with more digits than Python accepts.
        raise UsageError(f"the configuration {file} is not TOML: {str(error).rstrip('.')[:200]}.") from error
    return content


def _check_depth(text: str, file: Path) -> None:
    """Refuse deep nesting before the text is parsed.

    The parser is recursive, and its time is quadratic in the length of a dotted key.

    Raises:
        UsageError: The text is nested deeper than any configuration needs.
    """
    depth = 0
    for token in _TOKENS.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        if depth > _MOST_DEPTH:
            raise UsageError(f"the configuration {file} nests lists or tables more than {_MOST_DEPTH} deep: no key needs that.")
    if _LONG_KEY.search(_TOKENS.sub(lambda token: token[0] if token[0] in "[]{}" else "_", text)):
        raise UsageError(f"the configuration {file} holds a key of more than {_MOST_DEPTH} parts: no key has so many.")


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
    """Yield name, section, key and text of each variable `MASKEDGE_SECTION_KEY`."""
    known = section_names()
    for name, text in sorted(environment.items()):
        if not name.startswith(PREFIX):
            continue
        section, _, key = name.removeprefix(PREFIX).lower().partition("_")
        if section in known and key:
            yield name, section, key, text
        elif key and (close := difflib.get_close_matches(section, known, 1, 0.75)):
            raise UsageError(f"the variable {name} names no section: did you mean {PREFIX}{close[0].upper()}_{key.upper()}?")


def _check_section(section: str, where: str) -> None:
    known = (*section_names(), "alerts")
    if section not in known:
        raise UsageError(f"{where}: there is no section [{shown(section)[1:-1]}]{_nearest(section, known)}")


def _nearest(name: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(name[:100], known, 1, 0.5)
    return f": did you mean {close[0]}?" if close else f"; known are {', '.join(known)}."


def _typed(section: str, key: str, value: Any, where: str, *, parse: bool = False) -> Any:
    """Convert a value to the type of its key.

    Args:
        section: Section of the key.
        key: Name of the key.
        value: A TOML value, or the text of a variable.
        where: Place of the value, for messages.
        parse: True for the text of a variable.

    Raises:
        UsageError: The key is unknown, or the value does not fit.
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
    """Convert a TOML value to the type `hint`. Raises ValueError if it does not fit."""
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
    """Parse the text of a variable as the type `hint`. Raises ValueError if it does not fit."""
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
    """Return True if the value of a key must never be shown."""
    return bool(entry.metadata.get("secret"))


def secrets_of(config: EdgeConfig) -> set[str]:
    """Return the secrets of a configuration: values of secret keys, and passwords in addresses."""
    from maskedge.sources.address import secrets_in

    found: set[str] = set()
    for section in (*(getattr(config, name) for name in section_names()), *config.alerts):
        for entry in fields(section):
            value = getattr(section, entry.name)
            for text in value if isinstance(value, tuple) else (value,):
                if isinstance(text, str):
                    found |= {text} if is_secret(entry) else secrets_in(text) if _is_address(text) else set()
    if config.source.uri_file is not None:
        # If the file cannot be read, the run reports it.
        with contextlib.suppress(UsageError):
            found |= secrets_in(config.source.address)
    return found


def _is_address(text: str) -> bool:
    return "://" in text or text.lstrip().lower().startswith("gst:")


def _hide(value: Any) -> Any:
    """Mask the secrets in an address or in a list of texts."""
    from maskedge.sources.address import without_password

    if isinstance(value, tuple):
        return tuple(map(_hide, value))
    return without_password(value, MASK) if isinstance(value, str) and _is_address(value) else value


def to_toml(loaded: Loaded) -> str:
    """Format a configuration as an edge.toml with comments.

    Loading the text gives the same configuration, except for secrets, which are masked.
    """
    lines = ["# The configuration of edge-run (docs/configuration.md). A key behind '#' is not set; its line can be filled in."]
    for section in section_names():
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
    # JSON strings are valid in TOML except for one control character.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def changed_keys(old: EdgeConfig, new: EdgeConfig) -> list[str]:
    """Return the keys whose values differ, as `section.key`; `alerts` if the rules differ."""
    changed = ["alerts"] if old.alerts != new.alerts else []
    for section in section_names():
        before, after = getattr(old, section), getattr(new, section)
        changed += [
            f"{section}.{entry.name}" for entry in fields(after) if getattr(before, entry.name) != getattr(after, entry.name)
        ]
    return changed


def field_of(path: str) -> Field[Any] | None:
    """Return the field of `section.key`; None if finding it would load OpenCV."""
    section, _, key = path.partition(".")
    if section not in _LIGHT:
        return None
    (entry,) = (entry for entry in fields(_LIGHT[section]) if entry.name == key)
    return entry
