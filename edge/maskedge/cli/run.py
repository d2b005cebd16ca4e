"""`edge-run`: who in front of the camera wears a mask."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from maskedge.errors import SourceError, UsageError

from .common import Command, fail, require_runtime, silence_libraries

if TYPE_CHECKING:
    from maskedge.runner import Stop
    from maskedge.sinks import Sink
    from maskedge.sources import Source
    from maskedge.summary import Summary

EPILOG = """\b
Exit codes: 0 done; 2 wrong usage; 3 the source could not be opened, was lost,
or held less than it should; 4 the model was refused; 5 an output could not be
written; 130 / 143 stopped by a signal, with every output closed.

\b
Examples:
  edge-run --camera 0
  edge-run --source demo --save out.mp4 --events out.jsonl
  edge-run --source 'photos/*.jpg' --save annotated/ --events -
"""


@click.command(cls=Command, epilog=EPILOG)
@click.option("--camera", metavar="N", help="Camera: its number, or /dev/videoN.")
@click.option(
    "--source",
    "uri",
    metavar="URI",
    help="Picture, folder or glob of pictures, video file, rtsp:// or http:// stream, camera number, or 'demo' (a built-in clip).",
)
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Classifier .onnx file.  [default: the bundled one]",
)
@click.option(
    "--detector",
    type=click.Choice(["haar", "haar-stock"]),
    default="haar",
    show_default=True,
    help="haar: cascade on a small picture, fast. haar-stock: the original pipeline's, on the full-size picture.",
)
@click.option(
    "--cascade",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Cascade .xml file (edge-train cascade), to find faces with instead of --detector.",
)
@click.option(
    "--detector-model",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Detector .onnx file, to find faces with instead of --detector.",
)
@click.option("--show/--no-show", default=None, help="Open a window.  [default: when there is a display]")
@click.option(
    "--save",
    metavar="PATH",
    help="Write the annotated video (.mp4, .mkv, .avi); for pictures also a folder or a picture file.",
)
@click.option("--events", metavar="FILE", help="Write one JSON line a frame; '-' for standard output.")
@click.option("--max-frames", type=click.IntRange(1), metavar="N", help="Stop after N frames.")
@click.option(
    "--detect-every",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    metavar="N",
    help="Look for faces in every Nth frame of a video; in between, tracks carry them on.",
)
@click.option("--threads", type=click.IntRange(1), metavar="N", help="Threads of ONNX Runtime and OpenCV.  [default: 1 and 2]")
@click.option("--quiet", is_flag=True, help="No progress and no summary; errors are still said.")
@click.version_option(package_name="maskedge")
def main(
    camera: str | None,
    uri: str | None,
    model: Path | None,
    detector: str,
    cascade: Path | None,
    detector_model: Path | None,
    show: bool | None,
    save: str | None,
    events: str | None,
    max_frames: int | None,
    detect_every: int,
    threads: int | None,
    quiet: bool,
) -> None:
    """Tell who in front of a camera wears a face mask."""
    if (camera is None) == (uri is None):
        raise UsageError("say what to look at, once: --camera 0, --source FILE, or --source demo (see edge-run --help).")
    if cascade and detector_model:
        raise UsageError("faces are found with one of --cascade and --detector-model: leave the other out.")
    silence_libraries()
    with require_runtime():
        from maskedge.detect import CascadeDetector
        from maskedge.pipeline import MaskDetector
        from maskedge.runner import Stop, run
        from maskedge.sinks import EventSink, open_picture_output
        from maskedge.sources import open_camera, open_source

    stop = Stop()
    # The model first: a wrong one is said before a camera lights up.
    finder = CascadeDetector.trained(cascade) if cascade else detector
    mask_detector = MaskDetector(model, finder, detector_model=detector_model, detect_every=detect_every, threads=threads)
    source: Source = open_camera(camera) if camera is not None else open_source(str(uri))
    sinks: list[Sink] = []
    try:
        if source.video:
            mask_detector.follow()
        # What only checks comes before what overwrites, and both before a window opens.
        if save:
            sinks.append(open_picture_output(save, video=source.video, fps=source.fps, length=source.length))
        if events:
            sinks.append(EventSink(events))
        sinks += _window(stop, show, quiet, wait=not source.video)
    except BaseException:
        source.close()
        raise

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.signal = number
        source.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    lengths = [length for length in (source.length, max_frames) if length is not None]
    progress = _Progress(min(lengths, default=None), quiet or (events == "-" and sys.stdout.isatty()))
    outcome = run(source, mask_detector, sinks, max_frames=max_frames, stop=stop, progress=progress)
    progress.end()

    for warning in source.warnings:
        click.echo(f"warning: {warning}", err=True)
    if not quiet:
        # Standard output stays clean for the events when they go there.
        for line in outcome.summary.lines():
            click.echo(line, err=events == "-")
        written = [path for path in (save, events) if path and path != "-"]
        if written and outcome.summary.frames:
            click.echo(f"wrote {', '.join(written)}", err=events == "-")
    if outcome.failure is not None:
        fail(outcome.failure)
    if stop.signal is not None:
        sys.exit(128 + stop.signal)
    if source.incomplete:
        sys.exit(SourceError.exit_code)


def _window(stop: Stop, show: bool | None, quiet: bool, *, wait: bool) -> list[Sink]:
    """Open the window, where one is wanted and can be had."""
    from maskedge.sinks import WindowSink, display_problem

    if show is False:
        return []
    problem = display_problem()
    if problem is None:
        return [WindowSink(wait=wait, stopped=lambda: stop.signal is not None)]
    if show or not quiet:
        click.echo(f"{problem}: running without a window", err=True)
    return []


class _Progress:
    """One line that is rewritten on a terminal; elsewhere a line every 10 s."""

    def __init__(self, length: int | None, quiet: bool) -> None:
        self._length = f"/{length}" if length else ""
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._next = time.monotonic() + (0 if self._terminal else 10)
        self._shown = False

    def __call__(self, summary: Summary) -> None:
        """Show the state, at most ten times a second."""
        if self._quiet or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + (0.1 if self._terminal else 10)
        rate = summary.frames / max(summary.seconds, 1e-9)
        text = f"frame {summary.frames}{self._length}  {rate:.0f} frames/s  {sum(summary.faces.values())} faces"
        click.echo(f"\r\033[K{text}" if self._terminal else text, nl=not self._terminal, err=True)
        self._shown = True

    def end(self) -> None:
        """Leave a clean line behind."""
        if self._terminal and self._shown:
            click.echo("\r\033[K", nl=False, err=True)


if __name__ == "__main__":
    main()
