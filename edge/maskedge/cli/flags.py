"""The flags of `edge-run`: one table that leads from each to its key in the configuration.

Nothing heavy is imported: `--help` reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maskedge.config import LOG_FORMATS, LOG_LEVELS, field_of
from maskedge.errors import UsageError

from .common import Command

if TYPE_CHECKING:
    from maskedge.config import EdgeConfig


@dataclass(frozen=True)
class Flag:
    """A flag.

    Attributes:
        group: Heading above it in the help.
        names: As in `--save`, or `--show/--no-show`.
        key: Its key, as in `output.save`.
        help: One line.
        metavar: Name of its value; empty for a switch.
        type: Brings the value to the type of the key, None for text.
        multiple: True where it may be given again.
    """

    group: str
    names: str
    key: str
    help: str
    metavar: str = ""
    type: Any = None
    multiple: bool = False


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise click.BadParameter("it names nothing: give labels with commas between them, or leave it out.")
    return names


_PATH = click.Path(path_type=Path)
_SOURCE, _FACES, _OUTPUTS, _PRIVACY, _RUN = "Source", "Faces", "Outputs", "Privacy", "Running"

FLAGS = (
    Flag(_SOURCE, "--camera", "source.camera", "Camera: its number, or its device (/dev/video0, a link of udev).", "N"),
    Flag(
        _SOURCE,
        "--source",
        "source.uri",
        "Picture, folder or glob of pictures, video file, rtsp:// http:// tcp:// udp:// stream, csi://0, picamera2://0, "
        "gst:PIPELINE, camera number, or 'demo' (a built-in clip).",
        "URI",
    ),
    Flag(
        _SOURCE,
        "--source-file",
        "source.uri_file",
        "File whose first line is the address of the source: keeps its password out of the process list.",
        "FILE",
        _PATH,
    ),
    Flag(_SOURCE, "--width", "source.width", "Width to ask the camera for (with --height).", "PIXELS", int),
    Flag(_SOURCE, "--height", "source.height", "Height to ask the camera for.", "PIXELS", int),
    Flag(_SOURCE, "--fps", "source.fps", "Frames a second to ask the camera for, or to play a file at with --live.", "RATE", float),
    Flag(_SOURCE, "--fourcc", "source.fourcc", "Pixel format to ask the camera for, as in MJPG.", "CODE"),
    Flag(_SOURCE, "--stall-timeout", "source.stall_timeout", "A source without a new frame for so long is lost.", "SECONDS", float),
    Flag(
        _SOURCE,
        "--max-retries",
        "source.max_retries",
        "Give a lost source up after so many failed attempts.  [default: never]",
        "N",
        int,
    ),
    Flag(_SOURCE, "--wait", "source.wait", "Wait for a camera or stream that is not there at the start."),
    Flag(_SOURCE, "--live", "source.live", "Play a video file or the demo by the clock, as a camera would give it."),
    Flag(_SOURCE, "--loop", "source.loop", "Start a video file or the demo again at its end."),
    Flag(_FACES, "--model", "model.file", "Classifier .onnx file.  [default: the bundled one]", "FILE", _PATH),
    Flag(
        _FACES,
        "--labels",
        "model.labels",
        "Answer with these labels only, as in with_mask,without_mask: the likeliest of them.  [default: all of the model]",
        "LIST",
        _names,
    ),
    Flag(
        _FACES,
        "--detector",
        "detect.detector",
        "haar: our cascade. cnn: our network, which finds more and costs less. haar-stock: the original pipeline's.",
        "NAME",
    ),
    Flag(
        _FACES,
        "--cascade",
        "detect.cascade",
        "Cascade .xml file (edge-train cascade), to find faces with instead of --detector.",
        "FILE",
        _PATH,
    ),
    Flag(
        _FACES,
        "--detector-model",
        "detect.detector_model",
        "Detector .onnx file, to find faces with instead of --detector.",
        "FILE",
        _PATH,
    ),
    Flag(
        _FACES,
        "--detect-every",
        "detect.every",
        "Look for faces in every Nth frame of a video (after N/25 s at a low rate); in between, tracks carry them on.",
        "N",
        int,
    ),
    Flag(_FACES, "--min-face-size", "detect.min_face_size", "Side of the smallest face that counts.", "PIXELS", int),
    Flag(
        _FACES,
        "--roi",
        "zones.roi",
        "Zone 'NAME=X,Y X,Y X,Y ...' in fractions of the picture; faces outside all zones are ignored. May be given again.",
        "ZONE",
        None,
        True,
    ),
    Flag(_OUTPUTS, "--show/--no-show", "output.show", "Open a window.  [default: when there is a display]"),
    Flag(
        _OUTPUTS,
        "--save",
        "output.save",
        "Write the annotated video (.mp4, .mkv, .avi); for pictures also a folder or a picture file.",
        "PATH",
    ),
    Flag(
        _OUTPUTS,
        "--events",
        "events.file",
        "Write one JSON line a frame (FILE.csv: one row a face) and what happens; '-' for standard output.",
        "FILE",
    ),
    Flag(
        _OUTPUTS,
        "--events-frames/--no-events-frames",
        "events.frames",
        "With --no-events-frames: no line for each frame, only what happens.  [default: a line for each frame]",
    ),
    Flag(
        _OUTPUTS,
        "--overwrite",
        "output.overwrite",
        "Replace outputs that exist already. Without it they are refused; a camera or stream appends to its events and keeps an "
        "earlier video under another name. An output that is an input is always refused.",
    ),
    Flag(_OUTPUTS, "--serve", "web.serve", "Serve the status page, the API and the metrics, as in 127.0.0.1:8080.", "HOST:PORT"),
    Flag(_OUTPUTS, "--serve-picture", "web.picture", "Serve the live picture there, too."),
    Flag(_OUTPUTS, "--mqtt", "mqtt.url", "Publish to a broker: mqtt://HOST:PORT, or mqtts:// for TLS.", "URL"),
    Flag(_PRIVACY, "--anonymize", "privacy.anonymize", "Make faces unrecognisable in every picture that is shown, kept or sent."),
    Flag(
        _PRIVACY, "--stats-only", "privacy.stats_only", "Leave where faces are, and who is who, out of all that is written or sent."
    ),
    Flag(
        _PRIVACY,
        "--no-reidentification",
        "privacy.no_reidentification",
        "Compute nothing that could distinguish people: a person who comes back is counted as a new one.",
    ),
    Flag(_RUN, "--max-frames", "output.max_frames", "Stop after N frames.", "N", int),
    Flag(_RUN, "--max-fps", "limits.max_fps", "Answer so many frames of a live source a second, at most.", "RATE", float),
    Flag(
        _RUN,
        "--cpu-budget",
        "limits.cpu_budget",
        "Slow a live source down to use no more than this of a core (100: one core).",
        "PERCENT",
        float,
    ),
    Flag(_RUN, "--threads", "limits.threads", "Threads of ONNX Runtime and OpenCV.  [default: 1 and 2]", "N", int),
    Flag(_RUN, "--log-format", "log.format", "Log lines for people or for machines.", "", click.Choice(LOG_FORMATS)),
    Flag(_RUN, "--log-level", "log.level", "The least that is logged.", "", click.Choice(LOG_LEVELS)),
    Flag(_RUN, "--quiet", "log.quiet", "No progress and no summary; errors are still said."),
)


def _parameter(flag: Flag) -> str:
    return flag.key.replace(".", "__")


def _facts(flag: Flag) -> str:
    """Give default and range of a flag for its help, where they are known without loading more."""
    entry = field_of(flag.key)
    if entry is None:
        return ""
    default, bounds = entry.default, entry.metadata.get("range")
    facts = [f"default: {default}"] if default not in (None, (), MISSING) and not isinstance(default, bool) else []
    facts += [str(bounds)] if bounds else []
    return f"  [{'; '.join(facts)}]" if facts else ""


def config_flags(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command all flags of the table; their values come by `read_flags`."""
    for flag in reversed(FLAGS):
        settings: dict[str, Any] = {"help": flag.help + _facts(flag), "default": None, "multiple": flag.multiple}
        if flag.metavar or flag.type is not None:
            settings |= {"metavar": flag.metavar or None, "type": flag.type or str}
        elif "/" not in flag.names:
            settings["is_flag"] = True
        function = click.option(flag.names, _parameter(flag), **settings)(function)
    return function


def read_flags(parameters: dict[str, Any]) -> dict[str, Any]:
    """Give the values of the flags that were given, by key."""
    values = {flag.key: parameters[_parameter(flag)] for flag in FLAGS}
    return {key: value for key, value in values.items() if value not in (None, ())}


class GroupedCommand(Command):
    """A command whose help lists the flags under headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the flags of the table by group, then the others."""
        groups = {_parameter(flag): flag.group for flag in FLAGS}
        records: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                records.setdefault(groups.get(str(parameter.name), "Configuration and help"), []).append(record)
        for group, lines in records.items():
            with formatter.section(group):
                formatter.write_dl(lines, col_max=26)


def flag_of(key: str) -> str | None:
    """Name the flag of a key, None where there is none."""
    names: Sequence[str] = [flag.names.split("/")[0] for flag in FLAGS if flag.key == key]
    return names[0] if names else None


_OF_CAMERAS = ("source.width", "source.height", "source.fourcc", "source.stall_timeout", "source.max_retries")
_OF_LIVE_SOURCES = ("limits.max_fps", "limits.cpu_budget")
_OF_FILES = ("source.live", "source.loop")


def check_flags(config: EdgeConfig, flags: Mapping[str, Any]) -> None:
    """Refuse flags that would be left out, as they do not go with the source or with one another.

    What stands in a file is not refused: it may be there for another source.

    Args:
        config: What is in effect.
        flags: The values of the flags that were given, by key.

    Raises:
        UsageError: One would be left out.
    """
    from maskedge.sources import is_live

    live = is_live(config.source)
    played = live or config.source.live
    for keys, refused, kind in (
        (_OF_FILES, live, "video files and the demo, and this source is a camera or a stream"),
        (_OF_CAMERAS, not live, "cameras and streams, and this source is a file"),
        (_OF_LIVE_SOURCES, not played, "live sources (or files with --live), and this source is a file"),
        (("source.fps",), not played, "cameras, and for files with --live"),
    ):
        for key in keys:
            if refused and flags.get(key) not in (None, False):
                raise UsageError(f"{flag_of(key)} is for {kind}: leave it out.")
    given = [
        flag for key in ("detect.detector", "detect.cascade", "detect.detector_model") if key in flags and (flag := flag_of(key))
    ]
    if len(given) > 1:
        raise UsageError(f"faces are found with one of {' and '.join(given)}: leave the other out.")
    if flags.get("web.picture") and not config.web.serve:
        raise UsageError("--serve-picture needs --serve: it adds the picture to what is served.")
