"""The flags of `edge-run`. One table maps each flag to its key in the configuration.

This module must import quickly, because `--help` needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maskedge.config import CAMERAS, LOG_FORMATS, LOG_LEVELS, field_of
from maskedge.errors import UsageError
from maskedge.settings import DOMAINS, OPERATING_POINTS

from .common import Command

if TYPE_CHECKING:
    from maskedge.config import EdgeConfig


@dataclass(frozen=True)
class Flag:
    """A flag of `edge-run`.

    Attributes:
        group: Heading of its group in the help.
        names: Its names, as `--save` or `--show/--no-show`.
        key: Its key in the configuration, such as `output.save`.
        help: One sentence.
        metavar: Placeholder of its value, empty for a switch.
        type: Converts the text of the value, None for text.
        multiple: True where it may be repeated.
        default: Default shown in the help; empty to show the default of the key's field.
    """

    group: str
    names: str
    key: str
    help: str
    metavar: str = ""
    type: Any = None
    multiple: bool = False
    default: str = ""


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise click.BadParameter("the list is empty: give labels separated by commas, or leave it out.")
    return names


_PATH = click.Path(path_type=Path)
_SOURCE, _FACES, _OUTPUTS, _PRIVACY, _RUN = "Source", "Faces", "Outputs", "Privacy", "Running"

FLAGS = (
    Flag(
        _SOURCE,
        "--camera",
        "source.camera",
        "Read a camera, by number or device (0, /dev/video0). With a name (--camera door=0 --camera hall=rtsp://...) it may be "
        "repeated, and takes all that --source takes except pictures.",
        "[NAME=]N",
        None,
        True,
    ),
    Flag(
        _SOURCE,
        "--source",
        "source.uri",
        "Read a picture, a folder or glob of pictures, a video file, a stream (rtsp://, http://, tcp://, udp://), csi://0, "
        "picamera2://0, gst:PIPELINE, a camera number, or the built-in clip 'demo'.",
        "URI",
    ),
    Flag(
        _SOURCE,
        "--source-file",
        "source.uri_file",
        "Read the source's URI from the first line of a file, to keep its password out of the process list.",
        "FILE",
        _PATH,
    ),
    Flag(_SOURCE, "--width", "source.width", "Request this width from the camera (with --height).", "PIXELS", int),
    Flag(_SOURCE, "--height", "source.height", "Request this height from the camera (with --width).", "PIXELS", int),
    Flag(
        _SOURCE,
        "--fps",
        "source.fps",
        "Request this frame rate from the camera; with --live, play a file at this rate.",
        "RATE",
        float,
    ),
    Flag(_SOURCE, "--fourcc", "source.fourcc", "Request this pixel format from the camera, such as MJPG.", "CODE"),
    Flag(
        _SOURCE,
        "--stall-timeout",
        "source.stall_timeout",
        "Treat the source as lost after this time without a frame.",
        "SECONDS",
        float,
        default="5.0",
    ),
    Flag(
        _SOURCE,
        "--max-retries",
        "source.max_retries",
        "Give up a lost source after N consecutive failed attempts.",
        "N",
        int,
        default="never",
    ),
    Flag(_SOURCE, "--wait", "source.wait", "Wait for a camera or stream that is not available at the start."),
    Flag(_SOURCE, "--live", "source.live", "Play a video file or the demo at its own speed, as a camera would."),
    Flag(_SOURCE, "--loop", "source.loop", "Start a video file or the demo again at its end."),
    Flag(_FACES, "--model", "model.file", "Classify faces with this .onnx model.", "FILE", _PATH, default="the bundled one"),
    Flag(
        _FACES,
        "--labels",
        "model.labels",
        "Report only these labels, such as with_mask,without_mask.",
        "LIST",
        _names,
        default="all of the model",
    ),
    Flag(
        _FACES,
        "--detector",
        "detect.detector",
        "Detect faces with haar (the bundled cascade), cnn (the bundled network, which finds more faces in less time), or "
        "haar-stock (the cascade of OpenCV), or with a detector file (.xml or .onnx).",
        "NAME|FILE",
    ),
    Flag(
        _FACES,
        "--cascade",
        "detect.cascade",
        "Detect faces with this cascade .xml file (from edge-train cascade) instead of --detector.",
        "FILE",
        _PATH,
    ),
    Flag(
        _FACES,
        "--detector-model",
        "detect.detector_model",
        "Detect faces with this .onnx detector instead of --detector.",
        "FILE",
        _PATH,
    ),
    Flag(
        _FACES,
        "--detect-every",
        "detect.every",
        "Detect faces in every Nth frame of a video (below 25 frames/s: every N/25 s), and track them in between. With "
        "--anonymize, faces are detected in every frame unless N is given.",
        "N",
        int,
    ),
    Flag(
        _FACES,
        "--sync/--no-sync",
        "detect.sync",
        "Wait for the detection of each frame that has one, so that the results do not depend on the speed of the machine. "
        "With --no-sync, no frame waits: a detection runs beside the tracking, which takes it up when it is complete.",
        default="--sync for files, --no-sync for live sources; --anonymize always waits",
    ),
    Flag(
        _FACES,
        "--precision",
        "detect.operating_point",
        "Choose what counts as a face: balanced, high (fewer false alarms) or recall (more faces). The model carries the "
        "thresholds (edge-export inspect).",
        "",
        click.Choice(OPERATING_POINTS),
        default=f"{OPERATING_POINTS[0]}, or the detector's own threshold if the model carries none",
    ),
    Flag(
        _FACES,
        "--domain",
        "detect.domain",
        "Choose the kind of pictures for --precision.",
        "",
        click.Choice(DOMAINS),
        default=DOMAINS[0],
    ),
    Flag(
        _FACES,
        "--min-face-size",
        "detect.min_face_size",
        "Ignore faces smaller than this (geometric mean of width and height). A tracked face is kept down to about 0.7 of it.",
        "PIXELS",
        int,
    ),
    Flag(
        _FACES,
        "--roi",
        "zones.roi",
        "Ignore faces outside this zone, given as 'NAME=X,Y X,Y X,Y ...' in fractions of the picture; may be repeated.",
        "ZONE",
        None,
        True,
    ),
    Flag(
        _OUTPUTS,
        "--show/--no-show",
        "output.show",
        "Show the annotated picture in a window.",
        default="if there is a display",
    ),
    Flag(
        _OUTPUTS,
        "--save",
        "output.save",
        "Write the annotated video (.mp4, .mkv, .avi) or, for pictures, a picture file or an existing folder.",
        "PATH",
    ),
    Flag(
        _OUTPUTS,
        "--events",
        "events.file",
        "Write one JSON line per frame and per event (FILE.csv: one row per face); '-' is standard output.",
        "FILE",
    ),
    Flag(
        _OUTPUTS,
        "--events-frames/--no-events-frames",
        "events.frames",
        "Write a line for every frame to --events, in addition to the events.",
        default="every frame",
    ),
    Flag(
        _OUTPUTS,
        "--overwrite",
        "output.overwrite",
        "Replace existing output files. Without this option they are refused, but a camera or stream appends to its events and "
        "keeps an earlier video under another name. An input is never replaced.",
    ),
    Flag(
        _OUTPUTS,
        "--serve",
        "web.serve",
        "Serve the status page, the API and the metrics at this address, such as 127.0.0.1:8080.",
        "HOST:PORT",
    ),
    Flag(_OUTPUTS, "--serve-picture", "web.picture", "Serve the live picture too (with --serve)."),
    Flag(
        _OUTPUTS,
        "--history",
        "history.file",
        "Keep counts by minute and events in this SQLite file; 'edge-run history' and the status page show them.",
        "FILE",
    ),
    Flag(_OUTPUTS, "--mqtt", "mqtt.url", "Publish to this MQTT broker: mqtt://HOST:PORT, or mqtts:// for TLS.", "URL"),
    Flag(_PRIVACY, "--anonymize", "privacy.anonymize", "Make faces unrecognisable in every picture shown, saved or sent."),
    Flag(
        _PRIVACY,
        "--stats-only",
        "privacy.stats_only",
        "Omit positions and identities of faces from everything written or sent.",
    ),
    Flag(
        _PRIVACY,
        "--no-reidentification",
        "privacy.no_reidentification",
        "Compute no features that distinguish people. A person who returns counts as a new person.",
    ),
    Flag(_RUN, "--max-frames", "output.max_frames", "Stop after N frames.", "N", int),
    Flag(_RUN, "--max-fps", "limits.max_fps", "Process at most this many frames of a live source per second.", "RATE", float),
    Flag(
        _RUN,
        "--cpu-budget",
        "limits.cpu_budget",
        "Slow a live source down to use at most this share of one core (100: one core).",
        "PERCENT",
        float,
    ),
    Flag(
        _RUN,
        "--threads",
        "limits.threads",
        "Number of threads of ONNX Runtime and of OpenCV.",
        "N",
        int,
        default="1 and 2",
    ),
    Flag(_RUN, "--log-format", "log.format", "Write log lines for people or for machines.", "", click.Choice(LOG_FORMATS)),
    Flag(_RUN, "--log-level", "log.level", "Log messages of this level and above.", "", click.Choice(LOG_LEVELS)),
    Flag(_RUN, "--quiet", "log.quiet", "Print only warnings and errors, without progress and summary."),
)


def _parameter(flag: Flag) -> str:
    return flag.key.replace(".", "__")


def _facts(flag: Flag) -> str:
    """Return default and range of a flag for its help, as `  [default: 5; from 1 to 100]`."""
    entry = field_of(flag.key)
    default, bounds = flag.default, None
    if entry is not None:
        bounds = entry.metadata.get("range")
        if not default and entry.default not in (None, (), MISSING) and not isinstance(entry.default, bool):
            default = str(entry.default)
    facts = [f"default: {default}"] if default else []
    if bounds is not None:
        # An upper bound that only excludes absurd values is not shown.
        facts.append(str(bounds) if bounds.high < 100_000 else f"at least {bounds.low:g}")
    return f"  [{'; '.join(facts)}]" if facts else ""


def config_flags(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add all flags of the table to a command. `read_flags` returns their values."""
    for flag in reversed(FLAGS):
        settings: dict[str, Any] = {"help": flag.help + _facts(flag), "default": None, "multiple": flag.multiple}
        if flag.metavar or flag.type is not None:
            settings |= {"metavar": flag.metavar or None, "type": flag.type or str}
        elif "/" not in flag.names:
            settings["is_flag"] = True
        function = click.option(flag.names, _parameter(flag), **settings)(function)
    return function


def read_flags(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the values of the flags that were given, by key."""
    values = {flag.key: parameters[_parameter(flag)] for flag in FLAGS}
    if empty := [flag.names.partition("/")[0] for flag in FLAGS if values[flag.key] == ""]:
        raise UsageError(f"{empty[0]} is empty: give a value, or leave the option out.")
    values |= _read_cameras(values.pop("source.camera"))
    return {key: value for key, value in values.items() if value not in (None, ())}


def _read_cameras(given: Sequence[str]) -> dict[str, Any]:
    """Return the values of `--camera`: one camera without a name, or cameras with names."""
    # The path of a device, an address and a pipeline may contain an equals sign, too.
    parts = [text.partition("=") for text in given]
    named = tuple((name, source) for name, equals, source in parts if equals and name[:1] != "/" and ":" not in name)
    if not named and len(given) <= 1:
        return {"source.camera": given[0] if given else None}
    if len(named) < len(given):
        raise click.UsageError("--camera is given several times: give each camera a name, as in --camera door=0 --camera hall=1.")
    return {CAMERAS: named}


class RunCommand(Command, click.Group):
    """The command `edge-run`. It runs without a sub-command, and groups its options in the help."""

    command_class = Command

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the flags of the table by group, then the other options."""
        groups = {_parameter(flag): flag.group for flag in FLAGS}
        records: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                records.setdefault(groups.get(str(parameter.name), "Configuration and help"), []).append(record)
        for group, lines in records.items():
            with formatter.section(group):
                formatter.write_dl(lines, col_max=26)
        self.format_commands(ctx, formatter)


def flag_of(key: str) -> str | None:
    """Return the flag of a key, or None if the key has no flag."""
    if key == CAMERAS:
        return "--camera"
    names: Sequence[str] = [flag.names.split("/")[0] for flag in FLAGS if flag.key == key]
    return names[0] if names else None


_OF_CAMERAS = ("source.width", "source.height", "source.fourcc", "source.stall_timeout", "source.max_retries")
_OF_LIVE_SOURCES = ("limits.max_fps", "limits.cpu_budget")
_OF_FILES = ("source.live", "source.loop")


def check_flags(config: EdgeConfig, flags: Mapping[str, Any]) -> None:
    """Check that every given flag has an effect on this source and beside the other flags.

    Keys of a configuration file are not checked, because they may be meant for another source.

    Args:
        config: The configuration in effect.
        flags: The values of the flags that were given, by key.

    Raises:
        UsageError: A flag would have no effect.
    """
    from maskedge.sources import is_live

    live = is_live(config.source)
    played = live or config.source.live
    for keys, refused, kind in (
        (_OF_FILES, live, "video files and the demo"),
        (_OF_CAMERAS, not live, "cameras and streams"),
        (_OF_LIVE_SOURCES, not played, "live sources, or files with --live"),
        (("source.fps",), not played, "cameras, or files with --live"),
    ):
        for key in keys:
            if refused and flags.get(key) not in (None, False):
                raise UsageError(f"{flag_of(key)} has no effect on this source, only on {kind}: leave it out.")
    given = [
        flag for key in ("detect.detector", "detect.cascade", "detect.detector_model") if key in flags and (flag := flag_of(key))
    ]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} exclude each other: give only one of them.")
    if flags.get("detect.sync") is False and config.privacy.anonymize:
        raise UsageError("--no-sync would show a new face before it is found, so it is not for --anonymize: leave one of them out.")
    if flags.get("web.picture") and not config.web.serve:
        raise UsageError("--serve-picture needs --serve: add it, or leave --serve-picture out.")
