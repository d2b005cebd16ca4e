"""A named camera of a process: its source, its outputs and its loop, on a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from maskedge.config import EdgeConfig
from maskedge.errors import MaskedgeError, UsageError
from maskedge.sinks.base import CAMERAS, Sink
from maskedge.sources import Source, is_live, open_source
from maskedge.support.install_hint import install_command
from maskedge.support.log import NAME, log_as
from maskedge.system.sd_notify import LoopNotifier
from maskedge.vision.pipeline import MaskDetector
from maskedge.vision.worker import DetectionWorker

from .build import Run, build_run, detects_every_frame, share_detector, start_tracking
from .context import RunContext, StopRequest
from .loop import run
from .shutdown import Closable, close_run
from .summary import Summary

_FIRST_WAIT, _LONGEST_WAIT = 5.0, 60.0
"""Seconds before a loop that failed unexpectedly is started again."""
_log = logging.getLogger(NAME)


@dataclass
class SharedParts:
    """The parts that all cameras of a process share.

    Attributes:
        detector: The networks.
        worker: The detection thread.
        file: The edge.toml; None if there is none.
        outputs: Objects of the outputs, such as the web server, by name of the output
            (`SinkContext.shared`).
    """

    detector: MaskDetector
    worker: DetectionWorker
    file: Path | None = None
    outputs: dict[str, Any] = field(default_factory=dict)

    def name_cameras(self, names: Sequence[str]) -> None:
        """Set the names of the cameras, in their order."""
        before = self.outputs.get(CAMERAS, {})
        self.outputs[CAMERAS] = {name: before.get(name, "") for name in names}

    def note_failure(self, name: str, sentence: str) -> None:
        """Note why a camera does not run; an empty sentence if it does."""
        if name in self.outputs.get(CAMERAS, {}):
            self.outputs[CAMERAS][name] = sentence


class CameraThread:
    """Runs a named camera.

    A live source that cannot be opened is waited for. A loop that fails unexpectedly is started
    again. Any other failure ends this camera alone.

    Args:
        config: The configuration of the camera.
        shared: The parts that the cameras of the process share.
        earlier: The counts of the camera before it was started again; None if there are none.

    Attributes:
        config: The configuration in effect.
        notifier: Reports of the loop.
        started: Set when the outputs are open, or when the camera has ended.
        failure: What has ended the camera; None if it runs or has ended regularly.
        incomplete: True if a source could be read only in part.
        summary: The counts so far, with those of before a restart; None before the first frame.
        page: Address of the status page; None if there is none.
        is_running: True while the loop runs.
    """

    def __init__(self, config: EdgeConfig, shared: SharedParts, earlier: Summary | None = None) -> None:
        self.config = config
        self.notifier = LoopNotifier()
        self.started = threading.Event()
        self.failure: MaskedgeError | None = None
        self.incomplete = False
        self.summary = earlier
        self.page: str | None = None
        self.is_running = False
        self._shared = shared
        self._request = StopRequest()
        self._stopping = threading.Event()
        self._source: Source | None = None
        self._next: EdgeConfig | None = None
        self._refused: tuple[EdgeConfig | None, str] = (None, "")
        self._built: Run | None = None
        self._earlier = earlier
        self._thread = threading.Thread(target=self._run, name=f"camera {config.camera}", daemon=True)

    @property
    def name(self) -> str:
        """Name of the camera."""
        return self.config.camera

    @property
    def is_reloading(self) -> bool:
        """True while a configuration waits to be applied. The following one may take it back."""
        return self._next is not None and self._next is not self.config and not self.refusal

    @property
    def refusal(self) -> str:
        """Why the loop has not applied the newest configuration; empty if it has, or has not tried to."""
        config, reason = self._refused
        return reason if config is not None and config is self._next else ""

    @property
    def context(self) -> RunContext | None:
        """The parts of the run; None while it does not run."""
        built = self._built
        return None if built is None else built.context

    @property
    def frames(self) -> tuple[int, int]:
        """The numbers of captured and of dropped frames."""
        built = self._built
        return (0, 0) if built is None or built.context.state is None else built.context.state.frames()

    @property
    def ended(self) -> bool:
        """True if the camera does not run any more."""
        return self.started.is_set() and not self._thread.is_alive()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, number: int) -> None:
        """Ask the loop to end. A signal handler may call this method.

        Args:
            number: Number of the signal that ends the process, or would.
        """
        self._request.signal = number
        # Read once: the thread of the camera sets it to None at its end.
        source = self._source
        if source is not None:
            source.stop()

    def retire(self) -> None:
        """Withdraw what others keep about the camera, before it is removed for good."""
        built = self._built
        if built is not None and self.is_running:
            for sink in built.sinks:
                sink.retire()

    def join(self, seconds: float) -> bool:
        """Wait for the end. Return False if the camera has not ended after `seconds`."""
        self._stopping.set()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def reload(self, config: EdgeConfig) -> None:
        """Apply a configuration without a restart of the camera. The loop does it between two frames.

        If an earlier one has not been applied yet, the loop applies this one alone.
        """
        self._next = config
        self._request.reload = True

    def _run(self) -> None:
        log_as(self.name)
        wait = _FIRST_WAIT
        try:
            while self._request.signal is None:
                begin = time.monotonic()
                try:
                    self._run_once()
                    return
                except MaskedgeError as error:
                    self._fail(error)
                    return
                except ImportError as error:
                    self._fail(missing_library(error))
                    return
                except Exception as error:  # noqa: BLE001  (the other cameras go on)
                    _log.error("the loop failed (%.300r) and is started again in %.0f s.", error, wait)
                self.is_running = False
                # A loop that ran for long gets a short wait again.
                wait = _FIRST_WAIT if time.monotonic() - begin > 10 * _LONGEST_WAIT else wait
                if self._stopping.wait(wait):
                    return
                wait = min(2 * wait, _LONGEST_WAIT)
        finally:
            self.is_running = False
            self._built = self._source = None
            self.started.set()

    def _fail(self, error: MaskedgeError) -> None:
        self.failure = error
        self._shared.note_failure(self.name, str(error))
        _log.error("%s", error)

    def _run_once(self) -> None:
        """Open the camera and its outputs, and run the loop to its end."""
        config, shared = self.config, self._shared
        self._earlier = self.summary
        # A camera that is not there costs the others nothing and may come later.
        settings = replace(config.source, wait=True) if is_live(config.source) else config.source
        source = open_source(settings)
        self._source = source
        sinks: list[Sink] = []
        detectors: list[Closable] = []
        try:
            detector = share_detector(shared.detector, config, shared.worker)
            detectors.append(detector)
            check_video(source)
            start_tracking(config, source, detector)
            built = build_run(
                config,
                source,
                detector,
                sinks,
                file=shared.file,
                stopped=lambda: self._request.signal is not None,
                systemd=self.notifier,
                shared=shared.outputs,
            )
        except BaseException:
            close_run(source, sinks, detectors)
            raise
        for text in built.warnings:
            _log.warning("%s", text)
        for text in built.notices if config.output.show or not config.log.quiet else ():
            _log.info("%s", text)
        self.page, self._built = built.page, built
        context = built.context
        context.reload = lambda: self._reload(built)
        if context.health is not None:
            context.health.start()
        shared.note_failure(self.name, "")
        self.notifier.alive()
        self.is_running = True
        self.started.set()
        if self._request.signal is not None:
            source.stop()
        result = run(
            source,
            detector,
            sinks,
            max_frames=config.output.max_frames,
            stop=self._request,
            progress=self._note,
            context=context,
        )
        self._note(result.summary)
        for text in source.warnings:
            _log.warning("%s", text)
        self.incomplete = source.incomplete
        if result.failure is not None:
            raise result.failure

    def _note(self, summary: Summary) -> None:
        summary.camera = self.name
        self.summary = summary if self._earlier is None else summary.following(self._earlier)

    def _reload(self, built: Run) -> None:
        # It is not cleared: the thread that reloads may set the following one at any time.
        config = self._next
        if config is None:
            return
        try:
            changed, _ = built.change(config, every_frame=detects_every_frame(config))
        except Exception as error:
            self._refused = (config, str(error) or type(error).__name__)
            if not isinstance(error, MaskedgeError):
                raise  # the loop is started again, with the configuration of before
            _log.error("the configuration was not reloaded and stays as it was: %s", error)
            return
        self.config = config
        if changed:
            _log.info("configuration reloaded: changed %s", ", ".join(changed))


def check_video(source: Source) -> None:
    """Check that a source can be a named camera.

    Raises:
        UsageError: It is a picture, or several.
    """
    if not source.video:
        raise UsageError(f"{source.name} is no video: a named camera is a camera, a stream or a video file.")


def missing_library(error: ImportError) -> UsageError:
    """Return the message about a library that cannot be loaded."""
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] == "paho":
        return UsageError(f"{error.name} is not installed: install the extra mqtt: {install_command('mqtt')}.")
    return UsageError(f"{error}: install the package again ({install_command()}), then run edge-doctor.")
