"""Several named cameras in one process: start, supervision, reload and end."""

from __future__ import annotations

import gc
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence

from maskedge.config import OF_THE_PROCESS, EdgeConfig, Loaded, changed_keys
from maskedge.errors import MaskedgeError, SourceError
from maskedge.sources import is_live, open_source
from maskedge.support.log import NAME
from maskedge.system.sd_notify import LoopsNotifier, SystemdNotifier
from maskedge.vision.pipeline import MaskDetector
from maskedge.vision.worker import DetectionWorker

from .build import WITHOUT_RESTART, check_rules_of
from .camera import CameraThread, SharedParts, check_video
from .context import RunContext, StopRequest
from .outputs import check_cameras
from .shutdown import CLOSE_SECONDS, Closable
from .summary import Summary

_TICK = 0.1
"""Seconds between two checks of the cameras."""
_TICK_OF_WINDOW = 0.04
"""Seconds between two pictures of the window."""
_START_SECONDS = 15.0
"""Maximum seconds to wait for a camera at the start, before the next one is started."""
_HANGS_AFTER = 30.0
"""Seconds without a report of a loop after which a warning is logged."""
_MOST_REMOVED = 100
"""Maximum number of removed cameras whose counts the summary shows."""
_log = logging.getLogger(NAME)


class Cameras:
    """The named cameras of a process. Each one has a thread; the calling thread supervises them.

    All cameras use the same networks and take turns on one detection thread.

    Args:
        loaded: The configuration.
        detector: The networks.
        stop: Ends the run when its signal is set, and reloads the configuration.
        reload: Loads the configuration again.
        applied: Called with a configuration that is in effect after a reload.

    Attributes:
        loaded: The configuration in effect.
    """

    def __init__(
        self,
        loaded: Loaded,
        detector: MaskDetector,
        stop: StopRequest,
        reload: Callable[[], Loaded],
        applied: Callable[[Loaded], None] = lambda _: None,
    ) -> None:
        self.loaded = loaded
        self._labels = detector.labels
        self._stop = stop
        self._load = reload
        self._applied = applied
        self._worker = DetectionWorker(detector.analyzer.analyze, loaded.config.limits.cpu_budget)
        self._shared = SharedParts(detector, self._worker, loaded.file)
        self._systemd = SystemdNotifier()
        self._loops = LoopsNotifier(self._systemd)
        self._cameras: dict[str, CameraThread] = {}
        self._removed: list[tuple[EdgeConfig, Summary]] = []
        self._fatal: MaskedgeError | None = None
        self._warned: set[CameraThread] = set()
        self._changes: str | None = None

    @property
    def results(self) -> list[tuple[EdgeConfig, Summary]]:
        """Configuration and counts of each camera that has processed frames, removed ones first."""
        cameras = self._cameras.values()
        return [*self._removed, *((camera.config, camera.summary) for camera in cameras if camera.summary is not None)]

    def frames(self) -> tuple[int, int]:
        """Return the numbers of captured and of dropped frames of the cameras that run."""
        counts = [camera.frames for camera in list(self._cameras.values())]
        return sum(captured for captured, _ in counts), sum(dropped for _, dropped in counts)

    @property
    def page(self) -> str | None:
        """Address of the status page; None if there is none."""
        return next((camera.page for camera in self._cameras.values() if camera.page), None)

    @property
    def contexts(self) -> dict[str, RunContext]:
        """The parts of the runs of the cameras, by name."""
        found = {name: camera.context for name, camera in list(self._cameras.items())}
        return {name: context for name, context in found.items() if context is not None}

    def start(self) -> bool:
        """Start every camera.

        Returns:
            False if a configuration, an output or a model of a camera is refused, which the log
            says. A source that cannot be opened ends its camera alone.

        Raises:
            MaskedgeError: The cameras do not fit together.
        """
        self._check(self.loaded)
        self._shared.name_cameras([config.camera for config in self.loaded.cameras])
        for config in self.loaded.cameras:
            camera = self._start(config)
            if camera.failure is not None and not isinstance(camera.failure, SourceError):
                self._fatal = camera.failure
                return False
            if self._stop.signal is not None:
                break
        return True

    def run(self, tick: Callable[[], None] = lambda: None) -> None:
        """Supervise the cameras until all have ended, or a signal arrives.

        Args:
            tick: Called several times per second.
        """
        pause = threading.Event()
        while self._stop.signal is None and not all(camera.ended for camera in self._cameras.values()):
            if self._stop.take_reload():
                self._reload()
            self._report_reload()
            self._notify_systemd()
            self._warn_of_hanging([camera for camera in self._cameras.values() if camera.is_running])
            tick()
            pause.wait(_TICK_OF_WINDOW if self._show_window() else _TICK)

    def _notify_systemd(self) -> None:
        self._loops.tick({name: camera.notifier for name, camera in self._cameras.items() if camera.is_running})

    def _show_window(self) -> bool:
        """Show the newest pictures. Return False without a window."""
        screen = self._shared.outputs.get("window")
        if screen is None:
            return False
        try:
            screen.show()
        except Exception as error:  # noqa: BLE001  (the cameras go on without a window)
            self._shared.outputs["window"] = None
            _log.warning("the window failed (%.200r): running without it.", error)
        return True

    def close(self) -> None:
        """End every camera, the detection thread and the shared outputs."""
        self._systemd.stopping(restart=self._stop.restart)
        try:
            self._end(list(self._cameras.values()))
            # A copy: the thread of a camera that hangs may still add an output.
            for name, part in list(self._shared.outputs.items()):
                if hasattr(part, "close"):
                    self._close_part(name, part)
        finally:
            self._worker.close()

    def _close_part(self, name: str, part: Closable) -> None:
        try:
            part.close()
        except Exception as error:  # noqa: BLE001  (the other parts must still be closed)
            _log.warning("the output %s could not be closed (%.200r).", name, error)

    @property
    def exit_code(self) -> int:
        """Exit code of the process."""
        if self._stop.signal is not None:
            return 128 + self._stop.signal
        cameras = list(self._cameras.values())
        failure = self._fatal or next((camera.failure for camera in cameras if camera.failure is not None), None)
        if failure is not None:
            return failure.exit_code
        return SourceError.exit_code if any(camera.incomplete for camera in cameras) else 0

    def stop(self, number: int) -> None:
        """End all cameras because of a signal. A signal handler may call this method."""
        self._stop.signal = number
        for camera in list(self._cameras.values()):
            camera.stop(number)

    def _check(self, loaded: Loaded) -> None:
        """Check what can be checked before a camera is opened.

        Raises:
            MaskedgeError: The configuration is invalid.
        """
        check_cameras(loaded.cameras)
        for config in loaded.cameras:
            check_rules_of(config, self._labels)
            detect = config.detect
            self._shared.detector.choose_face_threshold(detect.face_threshold, detect.operating_point, detect.domain)

    def _start(self, config: EdgeConfig, tick: Callable[[], None] = lambda: None, earlier: Summary | None = None) -> CameraThread:
        """Start a camera, and call `tick` several times per second until it is open."""
        camera = CameraThread(config, self._shared, earlier)
        self._cameras[camera.name] = camera
        camera.start()
        end = time.monotonic() + _START_SECONDS
        while not camera.started.wait(_TICK) and self._stop.signal is None and time.monotonic() < end:
            tick()
        return camera

    def _end(self, cameras: Sequence[CameraThread]) -> None:
        """End cameras, all at the same time."""
        for camera in cameras:
            camera.stop(self._stop.signal or signal.SIGTERM)
        end = time.monotonic() + CLOSE_SECONDS + 1
        for camera in cameras:
            if not camera.join(max(0.0, end - time.monotonic())):
                _log.warning("%s: the camera hangs and was left as it is.", camera.name)

    def _warn_of_hanging(self, cameras: Iterable[CameraThread]) -> None:
        for camera in cameras:
            hangs = time.monotonic() - camera.notifier.beaten_at > _HANGS_AFTER
            if hangs and camera not in self._warned:
                self._warned.add(camera)
                _log.error("%s: the loop has not reported for %.0f s.", camera.name, _HANGS_AFTER)
            elif not hangs:
                self._warned.discard(camera)

    def _reload(self) -> None:
        """Add, remove and change cameras by the new configuration. An invalid one changes nothing."""
        self._systemd.reloading()
        try:
            loaded = self._load()
            if not loaded.tables:
                raise SourceError("it has no named cameras any more: restart edge-run.")
            self._check(loaded)
            self._check_sources(loaded)
        except MaskedgeError as error:
            _log.error("the configuration was not reloaded and stays as it was: %s", error)
            self._stop.reloaded(False, str(error))
        except Exception as error:  # noqa: BLE001  (an invalid file must not end the run)
            _log.error("the configuration was not reloaded and stays as it was (%s: %.200s).", type(error).__name__, error)
            self._stop.reloaded(False, f"the configuration cannot be used ({type(error).__name__}).")
        else:
            self._applied(loaded)
            self._changes = self._apply(loaded)
        self._systemd.reloaded()

    def _report_reload(self) -> None:
        """Report the outcome of a reload when every loop has applied it, or refused to."""
        cameras = list(self._cameras.values())
        if self._changes is None or any(camera.is_running and camera.is_reloading for camera in cameras):
            return
        changes, self._changes = self._changes, None
        refused = [f"the camera {camera.name} stays as it was: {camera.refusal}" for camera in cameras if camera.refusal]
        self._stop.reloaded(not refused, " ".join(refused) or changes)

    def _check_sources(self, loaded: Loaded) -> None:
        """Check that a camera runs after a reload. Without one, the process would end.

        Raises:
            MaskedgeError: No camera would run; the message says why the first one would not.
        """
        failure: MaskedgeError | None = None
        for config in loaded.cameras:
            known = self._cameras.get(config.camera)
            if known is not None and not _restarts(known, config):
                return
            try:
                if is_live(config.source):
                    return  # it is waited for
                source = open_source(config.source)
                try:
                    check_video(source)
                finally:
                    source.close()
            except MaskedgeError as error:
                failure = failure or error
            else:
                return
        if failure is not None:
            raise failure

    def _apply(self, loaded: Loaded) -> str:
        """Apply a configuration. Return what has changed."""
        wanted = {config.camera: config for config in loaded.cameras}
        removed = [camera for name, camera in self._cameras.items() if name not in wanted]
        restarted, changed = [], []
        for name, camera in self._cameras.items():
            if name not in wanted:
                continue
            if _restarts(camera, wanted[name]):
                restarted.append(camera)
                continue
            if _keys_of(camera, wanted[name]):
                changed.append(name)
            if name in changed or camera.is_reloading or camera.refusal:
                camera.reload(wanted[name])
        for camera in removed:
            camera.retire()
        self._end([*removed, *restarted])
        for camera in (*removed, *restarted):
            del self._cameras[camera.name]
            if camera in removed and camera.summary is not None:
                self._removed.append((camera.config, camera.summary))
        del self._removed[:-_MOST_REMOVED]
        counted = {camera.name: camera.summary for camera in restarted}
        if removed or restarted:
            # The parts of a loop refer to each other, and hold pictures.
            gc.collect()
        self._shared.name_cameras(list(wanted))
        added = [name for name in wanted if name not in self._cameras]
        for name in added:
            # Not needed at the start of the process: the watchdog runs only after READY=1.
            self._start(wanted[name], self._notify_systemd, counted.get(name))
        self._cameras = {name: self._cameras[name] for name in wanted}
        later = [key for key in changed_keys(self.loaded.config, loaded.config) if needs_restart(key)]
        if smallest_face(loaded.cameras) != smallest_face(self.loaded.cameras):
            later.append("detect.min_face_size (of the detector)")
        self.loaded = loaded
        again = {camera.name for camera in restarted}
        facts = {
            "added": [name for name in added if name not in again],
            "removed": [camera.name for camera in removed],
            "started again": [name for name in added if name in again],
            "changed": changed,
        }
        text = "; ".join(f"{what} {', '.join(names)}" for what, names in facts.items() if names) or "nothing changed"
        _log.info("configuration reloaded: %s", text)
        if later:
            _log.warning("takes effect only after a restart: %s", ", ".join(later))
            text += f"; takes effect only after a restart: {', '.join(later)}"
        return text


def _keys_of(camera: CameraThread, config: EdgeConfig) -> list[str]:
    """Return the changed keys that a camera can take up without a restart of the process."""
    return [key for key in changed_keys(camera.config, config) if not needs_restart(key)]


def _restarts(camera: CameraThread, config: EdgeConfig) -> bool:
    """Return True if a camera must be started again to take up a configuration."""
    return camera.ended or any(key not in WITHOUT_RESTART for key in _keys_of(camera, config))


def needs_restart(key: str) -> bool:
    """Return True for a key that is the same for all cameras, and takes effect after a restart of the process."""
    return key not in WITHOUT_RESTART and (key in OF_THE_PROCESS or key.partition(".")[0] in OF_THE_PROCESS)


def smallest_face(configs: Sequence[EdgeConfig]) -> int | None:
    """Return the smallest face that the detector of all cameras must find; None for no limit."""
    sizes = [config.detect.min_face_size for config in configs]
    return None if None in sizes else min(size for size in sizes if size is not None)
