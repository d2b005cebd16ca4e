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
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from importlib import import_module
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

from maskedge.sinks.output_settings import OutputConfig
from maskedge.support.files import expand_home, read_text

from .errors import MaskedgeError, UsageError
from .settings import (
    DOMAINS,
    MASK,
    OPERATING_POINTS,
    PRECISIONS,
    PROVIDERS,
    Range,
    check_name,
    check_settings,
    check_value,
    shown,
)

if TYPE_CHECKING:
    from maskedge.alerts.rules import AlertRule
    from maskedge.sinks.mqtt.fleet import FleetConfig
    from maskedge.sources.config import SourceConfig

    from .tracking.lines import LineConfig
    from .zones import ZonesConfig

PREFIX = "MASKEDGE_"
MOST_BYTES = 256 * 1024
"""Maximum size of an edge.toml in bytes."""
_MOST_DEPTH = 16
"""Maximum nesting depth of lists and tables, and maximum number of parts of a dotted key."""
_MOST_RULES = 100
"""Maximum number of alert rules."""
_OF_THE_SERVER = ("broker", "database", "mqtt_password")
"""Keys of variables `MASKEDGE_FLEET_KEY` that `edge-fleet` reads, and the device does not."""
_TABLES = ("alerts", "camera", "line")
"""Tables of which a file may have several."""
_TOKENS = re.compile(r'''"""(?:\\.|[^\\])*?"""|'{3}.*?'{3}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|\#[^\n]*|[\[\]{}]''', re.DOTALL)
"""Strings, comments and brackets of a TOML file."""
_LONG_KEY = re.compile(rf"(?<![\w-])(?:[\w-]+[ \t]*\.[ \t]*){{{_MOST_DEPTH}}}")


class ConfigError(UsageError):
    """A configuration with errors. The message is the first one.

    Args:
        problems: The messages of all errors that were found, at least one.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(problems[0])
        self.problems = tuple(dict.fromkeys(problems))


class _Problems:
    """The errors of a configuration so far. Reading goes on after an error, so that all are found."""

    def __init__(self) -> None:
        self.found: list[str] = []

    @contextlib.contextmanager
    def collect(self) -> Iterator[None]:
        """Note the error that ends the block."""
        try:
            yield
        except ConfigError as error:
            self.found += error.problems
        except UsageError as error:
            self.found.append(str(error))

    def check(self) -> None:
        """Raise the errors.

        Raises:
            ConfigError: There are errors.
        """
        if self.found:
            raise ConfigError(self.found)


@dataclass(frozen=True)
class DeviceConfig:
    """The section `[device]`."""

    name: str = field(
        default="", metadata={"help": "name of this device in events, topics and Home Assistant; empty: its host name"}
    )

    def __post_init__(self) -> None:
        check_settings(self, "device")
        if self.name:
            object.__setattr__(self, "name", check_name(self.name, "device.name"))

    @property
    def shown_name(self) -> str:
        """The name, or the host name of this machine."""
        return self.name or socket.gethostname() or "device"


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
    trusted_keys: tuple[Path, ...] = field(
        default=(),
        metadata={
            "help": "public key files (PEM); only models and cascades that one of them has signed are used; bundled: the key of "
            "the bundled models; empty: unsigned files are used, too (needs the extra remote)"
        },
    )
    update_latency: float = field(
        default=1.5,
        metadata={
            "help": "largest duration of a detection with an updated model, in units of the present one",
            "range": Range(0.1, 100),
        },
    )
    update_agreement: float = field(
        default=0.8,
        metadata={
            "help": "smallest share of faces that an updated model finds and labels like the present one, 0 to 1",
            "range": Range(0, 1),
        },
    )
    update_ca: Path | None = field(
        default=None,
        metadata={"help": "certificates (PEM) for the server of updates; default: those of the system"},
    )

    provider: str = field(
        default="auto",
        metadata={
            "help": f"where ONNX Runtime computes: {', '.join(PROVIDERS)}; auto: an accelerator of the installed onnxruntime "
            "that gives the same outputs and is faster, otherwise the processor (cpu)"
        },
    )

    def __post_init__(self) -> None:
        check_settings(self, "model")
        if self.provider not in PROVIDERS:
            raise UsageError(f"model.provider is one of {', '.join(PROVIDERS)}; got {shown(self.provider)}.")
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
            "help": f"face threshold that the model carries for the detector, by name: {', '.join(OPERATING_POINTS)} "
            f"(--precision); default: {OPERATING_POINTS[0]}, or the detector's own threshold if the model carries none; "
            "face_threshold replaces it"
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
            "help": "side of the smallest face in pixels (geometric mean of width and height); a tracked face is kept "
            "down to about 0.7 of it; default: no limit",
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
        device: The name of this device.
        source: Where frames come from.
        model: The classifier.
        detect: The face detector.
        zones: Parts of the picture that count.
        fleet: Delivery to a fleet, and the commands that it may send.
        privacy: Limits on what leaves the program.
        limits: Limits on the use of the machine.
        log: The log.
        alerts: The alert rules.
        lines: The counting lines.
        sections: Sections that outputs and alert actions declare, by name. Each section is also an
            attribute, such as `config.web.serve`.
        camera: Name of the camera; empty if the user gives it none.
        given: Keys whose values the user has set, as `section.key`.
    """

    device: DeviceConfig
    source: SourceConfig
    model: ModelConfig
    detect: DetectConfig
    zones: ZonesConfig
    fleet: FleetConfig
    privacy: PrivacyConfig
    limits: LimitsConfig
    log: LogConfig
    alerts: tuple[AlertRule, ...]
    lines: tuple[LineConfig, ...]
    sections: Mapping[str, Any]
    camera: str = ""
    given: frozenset[str] = field(default=frozenset(), compare=False)

    def __getattr__(self, name: str) -> Any:
        # Python calls this only for names that are not fields. `sections` is missing while an
        # object is unpickled or copied.
        sections = self.__dict__.get("sections", {})
        if name not in sections:
            raise AttributeError(name)
        return sections[name]


# These modules are imported when a configuration is loaded. `--help` does not need them.
_FIRST = {
    "device": (__name__, "DeviceConfig"),
    "source": ("maskedge.sources.config", "SourceConfig"),
    "model": (__name__, "ModelConfig"),
    "detect": (__name__, "DetectConfig"),
    "zones": ("maskedge.zones", "ZonesConfig"),
}
_LAST = {
    "fleet": ("maskedge.sinks.mqtt.fleet", "FleetConfig"),
    "privacy": (__name__, "PrivacyConfig"),
    "limits": (__name__, "LimitsConfig"),
    "log": (__name__, "LogConfig"),
}
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
CAMERAS = "cameras"
"""Key of the flag `--camera NAME=SOURCE`: a tuple of names and sources."""
MOST_CAMERAS = 32
"""Maximum number of cameras of a process."""
OF_THE_PROCESS = (
    *("device", "fleet", "model", "log", "history", "detect.detector", "detect.cascade", "detect.detector_model", "limits.threads"),
    *("limits.cpu_budget", "output.show", "web.serve", "web.token", "web.token_file", "web.hosts", "web.max_clients"),
    *("web.allow_remote", "web.proxy"),
)
"""Sections and keys that are the same for all cameras of a process."""


@dataclass(frozen=True)
class CameraTable:
    """A table `[[camera]]`, or a flag `--camera NAME=SOURCE`.

    Attributes:
        name: Name of the camera.
        values: The values that the table sets, by `section.key`.
        alerts: Its alert rules; None for the common ones.
        lines: Its counting lines; None for the common ones.
    """

    name: str
    values: Mapping[str, Any]
    alerts: tuple[AlertRule, ...] | None = None
    lines: tuple[LineConfig, ...] | None = None


@dataclass(frozen=True)
class Loaded:
    """A configuration and its origins.

    Attributes:
        config: The configuration. With named cameras, the common part of theirs, without a source.
        file: The edge.toml; None if there is none.
        origins: Origin of each value that is not a default, by `section.key`: a file, a variable or
            a flag.
        cameras: The configuration of each camera, in the order of the file. Without named cameras,
            `config` alone.
        tables: The tables of the named cameras.
    """

    config: EdgeConfig
    file: Path | None
    origins: Mapping[str, str]
    cameras: tuple[EdgeConfig, ...]
    tables: tuple[CameraTable, ...] = ()


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
            cannot be read. A `ConfigError` names every error that can be found.
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


class _Values:
    """Values by section and key. Those of a later layer replace earlier ones."""

    def __init__(self) -> None:
        self.values: dict[str, dict[str, Any]] = {section: {} for section in section_names()}
        self.origins: dict[str, str] = {}
        self.layers: dict[str, str] = {}

    def put(self, path: str, value: Any, origin: str, layer: str) -> None:
        """Set a value. It replaces the other keys of its group that an earlier layer has set."""
        section, _, key = path.partition(".")
        self.values[section][key] = value
        self.origins[path], self.layers[path] = origin, layer
        for other in next((choice for choice in _CHOICES if path in choice), ()):
            if self.layers.get(other, layer) != layer:
                self.drop(other)

    def drop(self, path: str) -> None:
        """Remove a value."""
        section, _, key = path.partition(".")
        if self.values[section].pop(key, None) is not None:
            del self.origins[path], self.layers[path]

    def make_own(self, name: str) -> None:
        """Add the name of a camera to the common paths and topics, so that no two cameras share one."""
        for section, cls in sections().items():
            for entry in fields(cls):
                path, value = f"{section}.{entry.name}", self.values[section].get(entry.name)
                if value and "camera" in entry.metadata and self.layers[path] != "camera":
                    self.values[section][entry.name] = _with_name(value, name, entry.metadata["camera"])

    def build(self, rules: tuple[AlertRule, ...], lines: tuple[LineConfig, ...], camera: str = "") -> EdgeConfig:
        """Return the configuration."""
        built: dict[str, Any] = {}
        problems = _Problems()
        for section, cls in sections().items():
            with problems.collect():
                built[section] = cls(**self.values[section])
        problems.check()
        core = {name: built.pop(name) for name in (*_FIRST, *_LAST)}
        return EdgeConfig(**core, alerts=rules, lines=lines, sections=built, camera=camera, given=frozenset(self.origins))


def _with_name(value: Any, name: str, kind: str) -> Any:
    """Return a common path or text with the name of a camera, by the metadata `camera` of its key."""
    if kind == "folder":
        return Path(value) / name
    if kind != "file":
        return f"{value}{kind}{name}"
    path = Path(value)
    shared = value == "-" or str(value).startswith("/dev/")
    return value if shared else str(path.with_name(f"{path.stem}-{name}{path.suffix}"))


def _load(file: Path | None, environment: Mapping[str, str], flags: Mapping[str, Any]) -> Loaded:
    common: list[tuple[str, Any, str, str]] = []
    rules: tuple[Any, ...] = ()
    lines: tuple[Any, ...] = ()
    tables: tuple[CameraTable, ...] = ()
    problems = _Problems()
    for section, content in read_toml(file).items() if file is not None else ():
        with problems.collect():
            if section == "alerts":
                rules = _read_rules(content, f"{file}: alerts", problems)
            elif section == "line":
                lines = _read_lines(content, f"{file}: line")
            elif section == "camera":
                tables = _read_cameras(content, f"{file}: camera", problems)
            else:
                read = _read_section(section, content, f"{file}: ", problems)
                common += [(path, value, str(file), "file") for path, value in read]
    later = []
    for name, section, key, text in _variables(environment, problems):
        with problems.collect():
            later.append((f"{section}.{key}", _typed(section, key, text, name, parse=True), name, "variable"))
    later += [(path, value, "flag", "flag") for path, value in flags.items() if value is not None and path != CAMERAS]
    with problems.collect():
        tables = _choose_cameras(tables, [*common, *later], flags.get(CAMERAS) or ())
    with problems.collect():
        config, origins = _compose([*common, *later], rules, lines, None if not tables else "")
    # A wrong common value would be an error of every camera, too.
    problems.check()
    cameras = []
    for table in tables:
        own = [(path, value, f"camera {table.name}", "camera") for path, value in table.values.items()]
        shared = [setting for setting in [*common, *later] if setting[0] not in _CHOICES[0]]
        before = [setting for setting in shared if setting[3] == "file"]
        settings = [*before, *own, *(setting for setting in shared if setting[3] != "file")]
        own_rules = rules if table.alerts is None else table.alerts
        own_lines = lines if table.lines is None else table.lines
        with problems.collect():
            cameras.append(_compose(settings, own_rules, own_lines, table.name)[0])
    problems.check()
    return Loaded(config, file, origins, tuple(cameras) or (config,), tables)


def _compose(
    settings: list[tuple[str, Any, str, str]], rules: tuple[Any, ...], lines: tuple[Any, ...], camera: str | None
) -> tuple[EdgeConfig, dict[str, str]]:
    """Return the configuration of settings, and the origins of its values.

    Args:
        settings: Path, value, origin and layer of each setting, the earliest layer first.
        rules: The alert rules.
        lines: The counting lines.
        camera: Name of the camera; empty for the common part of several; None for an unnamed one.
    """
    values = _Values()
    for path, value, origin, layer in settings:
        values.put(path, value, origin, layer)
    if camera == "":
        for path in _CHOICES[0]:
            values.drop(path)
    if camera:
        values.make_own(camera)
    return values.build(rules, lines, camera or ""), values.origins


def _read_section(section: str, content: Any, where: str, problems: _Problems) -> list[tuple[str, Any]]:
    """Return the values of a section by `section.key`. `where` precedes the name of the section."""
    _check_section(section, where.removesuffix(": "), table=isinstance(content, dict))
    if not isinstance(content, dict):
        raise UsageError(f"{where}{section} is a section: write [{section}] and its keys below.")
    return [(f"{section}.{key}", value) for key, value in _read_keys(section, content, f"{where}{section}", problems)]


def _read_keys(section: str, table: dict[str, Any], where: str, problems: _Problems) -> list[tuple[str, Any]]:
    """Return the valid keys of a table with their values."""
    values = []
    for key, value in table.items():
        with problems.collect():
            values.append((key, _typed(section, key, value, f"{where}.{key}")))
    return values


def _read_cameras(content: Any, where: str, problems: _Problems) -> tuple[CameraTable, ...]:
    if not isinstance(content, list) or not all(isinstance(table, dict) for table in content):
        raise UsageError(f"{where}s are tables: write [[camera]] and the keys of a camera below.")
    if len(content) > MOST_CAMERAS:
        raise UsageError(f"{where}: {len(content)} cameras are too many for a process: {MOST_CAMERAS} at most.")
    tables = []
    for number, table in enumerate(content, 1):
        with problems.collect():
            tables.append(_read_camera(table, f"{where}[{number}]"))
    return tuple(tables)


def _read_camera(table: dict[str, Any], where: str) -> CameraTable:
    """Return a table `[[camera]]` with its values by `section.key`."""
    if "name" not in table:
        raise UsageError(f'{where} has no name: add name = "door", for example.')
    if not isinstance(table["name"], str):
        raise UsageError(f"{where}.name takes text, got {shown(table['name'])}.")
    values: dict[str, Any] = {}
    rules: tuple[Any, ...] | None = None
    lines: tuple[Any, ...] | None = None
    own = _Problems()
    for key, content in table.items():
        with own.collect():
            if key == "name":
                check_name(content, f"{where}.name")
            elif key == "source":
                values |= [camera_source(content, f"{where}.source")]
            elif key == "alerts":
                rules = _read_rules(content, f"{where}.alerts", own)
            elif key == "line":
                lines = _read_lines(content, f"{where}.line")
            elif isinstance(content, dict):
                values |= _read_section(key, content, f"{where}.", own)
            elif key in ("uri", "camera"):
                raise UsageError(f"{where}.{key}: a camera has the key source, which takes a number, a device, a URI or a path.")
            else:
                values[f"source.{key}"] = _typed("source", key, content, f"{where}.{key}")
    for path in values:
        if path in OF_THE_PROCESS or path.partition(".")[0] in OF_THE_PROCESS:
            section = path.partition(".")[0]
            own.found.append(f"{where}: {path} is the same for all cameras: write it in the section [{section}].")
    own.check()
    if sum(path in values for path in _CHOICES[0]) != 1:
        raise UsageError(f'{where} needs one source: add source = 0, or source = "rtsp://camera/1", for example.')
    return CameraTable(check_name(table["name"], f"{where}.name"), values, rules, lines)


def camera_source(source: Any, where: str) -> tuple[str, str]:
    """Return the key and the value in `[source]` for the source of a camera.

    Args:
        source: Number or device of a camera, URI or path.
        where: Name of the key, for messages.

    Raises:
        UsageError: It is neither a number nor a text.
    """
    if isinstance(source, bool) or not isinstance(source, int | str) or (isinstance(source, int) and source < 0):
        raise UsageError(f"{where} takes the number of a camera or a text, got {shown(source)}.")
    text = str(source) if not isinstance(source, int) or source < 10**9 else shown(source)
    key = "camera" if text.strip().isdecimal() or text.startswith("/dev/") else "uri"
    _typed("source", key, text, where)
    return f"source.{key}", text


def _choose_cameras(
    tables: tuple[CameraTable, ...], settings: list[tuple[str, Any, str, str]], named: Sequence[tuple[str, str]]
) -> tuple[CameraTable, ...]:
    """Return the cameras in effect.

    A source or cameras of a later layer replace those of an earlier one. A camera of the command
    line takes the settings of the table of its name.

    Args:
        tables: The tables of the file.
        settings: Path, value, origin and layer of the common settings.
        named: Name and source of each camera of the command line.

    Raises:
        UsageError: Cameras of one layer exclude each other.
    """
    sources = {layer: origin for path, _, origin, layer in settings if path in _CHOICES[0]}
    if named:
        if "flag" in sources:
            raise UsageError("--camera NAME=SOURCE and another source exclude each other: give each camera a name.")
        known = {table.name: table for table in tables}
        tables = tuple(_named_table(name, source, known) for name, source in named)
    elif "variable" in sources or "flag" in sources:
        return ()
    elif tables and "file" in sources:
        raise UsageError(f"{sources['file']}: [source] and [[camera]] both give a source: move it into a [[camera]] table.")
    if len(tables) > MOST_CAMERAS:
        raise UsageError(f"{len(tables)} cameras are too many for a process: {MOST_CAMERAS} at most.")
    names: dict[str, str] = {}
    devices: dict[str, str] = {}
    for table in tables:
        # Names that differ in case alone are the same file on some disks.
        if table.name.casefold() in names:
            raise UsageError(f"two cameras have the name {names[table.name.casefold()]!r}: give each a name of its own.")
        names[table.name.casefold()] = table.name
        device = _device_of(table)
        if device in devices:
            raise UsageError(f"the cameras {devices[device]!r} and {table.name!r} have the same device {device}: leave one out.")
        if device is not None:
            devices[device] = table.name
    return tables


def _named_table(name: str, source: str, known: Mapping[str, CameraTable]) -> CameraTable:
    name = check_name(name, "the name in --camera NAME=SOURCE")
    table = known.get(name, CameraTable(name, {}))
    kept = {path: value for path, value in table.values.items() if path not in _CHOICES[0]}
    return CameraTable(name, dict([camera_source(source, f"--camera {name}")]) | kept, table.alerts, table.lines)


def _device_of(table: CameraTable) -> str | None:
    """Return the device of a camera that can be opened once only; None for a stream or a file."""
    camera, uri = table.values.get("source.camera"), str(table.values.get("source.uri", "")).strip()
    if camera is not None:
        path = f"/dev/video{int(camera)}" if camera.strip().isdecimal() else camera
        return os.path.realpath(path)
    return uri.lower() if uri.lower().startswith(("csi://", "picamera2://")) else None


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
    """Return the dataclass of a section; for `alerts` and `line`, the dataclass of a table."""
    if section == "alerts":
        from maskedge.alerts.registry import rule_class

        return rule_class()
    if section == "line":
        return _load_class("maskedge.tracking.lines", "LineConfig")
    return sections()[section]


def _load_class(module: str, name: str) -> type[Any]:
    loaded: type[Any] = getattr(import_module(module), name)
    return loaded


def read_toml(file: Path) -> dict[str, Any]:
    """Return the content of a configuration file, with bounded size and nesting.

    Raises:
        UsageError: The file cannot be read, or is not TOML.
    """
    toml = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        text = read_text(expand_home(file), MOST_BYTES)
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


def _read_rules(content: Any, where: str, problems: _Problems) -> tuple[Any, ...]:
    if not isinstance(content, list) or not all(isinstance(table, dict) for table in content):
        raise UsageError(f"{where.removesuffix('alerts')}alert rules are tables: write [[alerts]] and the keys of a rule below.")
    if len(content) > _MOST_RULES:
        raise UsageError(f"{where}: {len(content)} alert rules are too many: {_MOST_RULES} at most.")
    rules = []
    for number, table in enumerate(content, 1):
        rules.append(section_class("alerts")(**dict(_read_keys("alerts", table, f"{where}[{number}]", problems))))
    return tuple(rules)


def _read_lines(content: Any, where: str) -> tuple[Any, ...]:
    """Return the counting lines, checked, so that a wrong line of one camera is named at once."""
    if not isinstance(content, list) or not all(isinstance(table, dict) for table in content):
        raise UsageError(f"{where}s are tables: write [[{where.rpartition(': ')[2]}]] with name and points below.")
    own = _Problems()
    tables = [dict(_read_keys("line", table, f"{where}[{number}]", own)) for number, table in enumerate(content, 1)]
    own.check()
    lines = tuple(section_class("line")(**values) for values in tables)
    import_module("maskedge.tracking.lines").parse_lines(lines)
    return lines


def _variables(environment: Mapping[str, str], problems: _Problems) -> Iterator[tuple[str, str, str, str]]:
    """Yield name, section, key and text of each variable `MASKEDGE_SECTION_KEY`."""
    known = section_names()
    for name, text in sorted(environment.items()):
        if not name.startswith(PREFIX):
            continue
        section, _, key = name.removeprefix(PREFIX).lower().partition("_")
        if section == "fleet" and key in _OF_THE_SERVER:
            continue
        if section in _TABLES and (key or section != "camera"):  # deploy/compose.yaml reads MASKEDGE_CAMERA
            problems.found.append(f"the variable {name} cannot set a table [[{section}]]: write it in an edge.toml.")
        elif section in known and not key:
            first = fields(section_class(section))[0].name
            problems.found.append(f"the variable {name} names no key of [{section}]: write {name}_{first.upper()}, for example.")
        elif section in known:
            yield name, section, key, text
        elif key and (close := difflib.get_close_matches(section, known, 1, 0.75)):
            problems.found.append(f"the variable {name} names no section: did you mean {PREFIX}{close[0].upper()}_{key.upper()}?")


def _check_section(section: str, where: str, *, table: bool) -> None:
    known = (*section_names(), *_TABLES)
    if section not in known and not table and (homes := _sections_of(section)):
        raise UsageError(f"{where}: {section} is a key of {homes}: write it below that line.")
    if section not in known:
        raise UsageError(f"{where}: there is no section [{shown(section)[1:-1]}]{nearest_name(section, known)}")


def nearest_name(name: str, known: tuple[str, ...]) -> str:
    """Return the end of a message about an unknown name: the most similar known name, or all of them."""
    close = _similar(name, known)
    return f": did you mean {close}?" if close else f"; known are {', '.join(known)}."


def _similar(name: str, known: Sequence[str]) -> str | None:
    """Return the known name that contains a name or is similar to it, or None.

    A wrong suggestion misleads, so a long name must be more similar than a short one, such as url.
    """
    longer = [word for word in known if len(name) > 2 and name in word]
    close = difflib.get_close_matches(name[:100], known, 1, 0.6 if len(name) <= 4 else 0.7)
    return min(longer, key=len, default=None) or next(iter(close), None)


def _sections_of(key: str) -> str:
    """Return the sections that have a key, such as `[detect]`; empty if there is none."""
    return " or ".join(f"[{name}]" for name, cls in sections().items() if any(entry.name == key for entry in fields(cls)))


def _typed(section: str, key: str, value: Any, where: str, *, parse: bool = False) -> Any:
    """Convert a value to the type of a key of edge.toml (see `typed_value`)."""
    if section == "source" and key in ("uri", "camera") and isinstance(value, int) and not isinstance(value, bool):
        value = camera_source(value, where)[1]  # the number of a camera
    owner = {"alerts": "an alert rule", "line": "a line"}.get(section, f"[{section}]")
    known = tuple(entry.name for entry in fields(section_class(section)))
    if key not in known and _similar(key, known) is None and (homes := _sections_of(key)):
        raise UsageError(f"{where}: {owner} has no key {shown(key)}: it is a key of {homes}.")
    return typed_value(section_class(section), owner, key, value, where, parse=parse)


def typed_value(cls: type[Any], owner: str, key: str, value: Any, where: str, *, parse: bool = False) -> Any:
    """Convert a value to the type of its key, and check its bounds.

    Args:
        cls: Dataclass of the section.
        owner: Name of the section for messages, such as `[web]`.
        key: Name of the key.
        value: A TOML value, or the text of a variable.
        where: Place of the value, for messages.
        parse: True for the text of a variable.

    Raises:
        UsageError: The key is unknown, or the value does not fit.
    """
    known = {entry.name: entry for entry in fields(cls)}
    if key not in known:
        # The key may be an address with a password, and the place ends with it.
        place = where.removesuffix(key) + shown(key)[1:-1] if where.endswith(key) else where
        raise UsageError(f"{place}: {owner} has no key {shown(key)}{nearest_name(key, tuple(known))}")
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


def secrets_of(*configs: EdgeConfig) -> set[str]:
    """Return the secrets of configurations: values of secret keys, and passwords in addresses."""
    return set().union(*map(_secrets_of, configs))


def _secrets_of(config: EdgeConfig) -> set[str]:
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
    from maskedge.sources.address import without_password

    return "://" in text or text.lstrip().lower().startswith("gst:") or without_password(text, MASK) != text


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
    for line in loaded.config.lines:
        lines += ["", "[[line]]", *_section_lines(line, "line", {})]
    for table in loaded.tables:
        lines += ["", *_camera_lines(table)]
    return "\n".join(lines) + "\n"


def _camera_lines(table: CameraTable) -> Iterator[str]:
    """Yield the lines of a table `[[camera]]`: the values that it sets, not the common ones."""
    yield "[[camera]]"
    yield f"name = {_toml_value(table.name)}"
    # Without these lines, the camera would have the common rules and lines.
    yield from (f"{key} = []" for key, own in (("alerts", table.alerts), ("line", table.lines)) if own == ())
    groups: dict[str, dict[str, Any]] = {"source": {}}
    for path, value in table.values.items():
        section, _, key = path.partition(".")
        groups.setdefault(section, {})[key] = value
    for section, values in groups.items():
        if section != "source":
            yield f"[camera.{section}]"
        for key, value in values.items():
            name = "source" if section == "source" and key in ("uri", "camera") else key
            (entry,) = (entry for entry in fields(section_class(section)) if entry.name == key)
            shown_value = MASK if is_secret(entry) else _hide(value)
            yield f"{'' if shown_value == value else '# '}{name} = {_toml_value(shown_value)}"
    for rule in table.alerts or ():
        yield "[[camera.alerts]]"
        yield from _section_lines(rule, "alerts", {})
    for line in table.lines or ():
        yield "[[camera.line]]"
        yield from _section_lines(line, "line", {})


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
    """Return the keys whose values differ, as `section.key`; `alerts` if the rules differ, `line` if the lines differ."""
    changed = [name for name, differs in (("alerts", old.alerts != new.alerts), ("line", old.lines != new.lines)) if differs]
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
