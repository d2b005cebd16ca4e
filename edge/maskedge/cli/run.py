"""`edge-run`: detects face masks in a live camera, a stream, videos or pictures."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from maskedge.errors import MaskedgeError, OutputError, SourceError, UsageError
from maskedge.remote.fleet_run import FleetRun, check_start
from maskedge.support.files import expand_home
from maskedge.support.text import displayable
from maskedge.version import VERSION

from .common import early_signal, end_on_signal, require_extra, require_runtime, silence_libraries, use_one_blas_thread
from .flags import RunCommand, check_flags, config_flags, flag_of, read_flags
from .history import history

if TYPE_CHECKING:
    from logging import Logger

    from maskedge.config import Loaded
    from maskedge.runtime.context import RunResult, StopRequest
    from maskedge.runtime.summary import Summary
    from maskedge.sinks.base import Sink
    from maskedge.sources import Source

EPILOG = """\b
Settings:
  The options up to --quiet are also keys of an edge.toml and environment
  variables MASKEDGE_SECTION_KEY. A variable overrides the file, and an option
  overrides both. --print-config prints every key with its value.

\b
Exit codes:
  0        the source was processed to its end
  1        a library is missing or cannot be loaded; memory, open files or
           threads have run out
  2        wrong usage: an option, variable or key is invalid
  3        the source cannot be opened, was lost for good, or is incomplete
  4        the model was refused
  5        an output cannot be written
  130,143  stopped by SIGINT or SIGTERM; every output is closed

\b
Examples:
  edge-run --camera 0
  edge-run --camera door=0 --camera hall=rtsp://camera/1 --serve 8080
  edge-run --source demo --save out.mp4 --events out.jsonl
  edge-run --source 'photos/*.jpg' --save annotated/ --events -
  edge-run --source rtsp://camera/1 --serve 127.0.0.1:8080 --anonymize
"""


@click.group(cls=RunCommand, epilog=EPILOG, invoke_without_command=True, subcommand_metavar="[history ...]")
@config_flags
@click.option("--config", "file", type=click.Path(path_type=Path), metavar="FILE", help="Read settings from this edge.toml.")
@click.option("--print-config", is_flag=True, help="Print the settings in effect as an edge.toml with comments, and exit.")
@click.option("--install-service", is_flag=True, help="Print a systemd unit that starts edge-run at boot, and exit.")
@click.option(
    "--template", is_flag=True, help="With --install-service, a template unit: maskedge@NAME reads /etc/maskedge/NAME.toml."
)
@click.option("--yes", is_flag=True, help="With --install-service, write the unit instead of printing it.")
@click.version_option(VERSION)
@click.pass_context
def main(
    context: click.Context,
    /,
    file: Path | None,
    print_config: bool,
    install_service: bool,
    template: bool,
    yes: bool,
    **parameters: Any,
) -> None:
    """Detect face masks in a camera, a stream, videos or pictures."""
    flags = read_flags(parameters)
    if context.invoked_subcommand is not None:
        if flags or file or print_config or install_service or template or yes:
            name = context.invoked_subcommand
            raise click.UsageError(f"edge-run {name} takes its options after {name!r}: leave out those before it.")
        return
    if install_service:
        _check_alone("--install-service", flags, {"--print-config": print_config})
        if template and file is not None:
            raise click.UsageError(
                "--template takes no --config: maskedge@NAME reads /etc/maskedge/NAME.toml, so put the file there."
            )
        _install_service(file, template=template, write=yes)
        return
    for name, given in (("--yes", yes), ("--template", template)):
        if given:
            raise click.UsageError(f"{name} needs --install-service: it is about the unit.")
    silence_libraries()
    use_one_blas_thread()
    early: list[int] = []
    if not print_config:
        end_on_signal()
        # Without a handler, a SIGHUP would end the process. The run handles the early signals.
        signal.signal(signal.SIGHUP, lambda number, frame: early.append(number))
    with require_runtime():
        from maskedge.config import load_config, secrets_of, to_toml
        from maskedge.support.log import set_up

        loaded = load_config(file, flags=flags)
    if print_config:
        click.echo(to_toml(loaded), nl=False)
        return
    log = set_up(loaded.config.log.format, loaded.config.log.level, secrets_of(*loaded.cameras))
    restart = False
    try:
        with require_runtime():
            run = (_CamerasRun if loaded.tables else _Run)(loaded, flags, log)
        code = run.run(early)
        restart = run.restarts
    except MaskedgeError as error:
        log.error("%s", error)
        code = error.exit_code
    if restart:
        from maskedge.system.restart import start_again

        start_again()
    sys.exit(code)


def _check_alone(name: str, flags: dict[str, Any], switches: dict[str, bool]) -> None:
    """Refuse options that `name` would ignore."""
    given = [flag_of(key) for key in flags] + [switch for switch, on in switches.items() if on]
    if given:
        raise click.UsageError(
            f"{name} takes no {given[0]}: a service reads its settings from an edge.toml (--config FILE), so write it there."
        )


def _install_service(file: Path | None, *, template: bool, write: bool) -> None:
    from maskedge.system.systemd_unit import CONFIG, TEMPLATE_CONFIG, TEMPLATE_UNIT, UNIT, build_unit, install_unit

    config = TEMPLATE_CONFIG if template else CONFIG
    if file is not None:
        # A symbolic link stays one, so that it can be pointed at another file later.
        file = Path(os.path.abspath(expand_home(file)))  # noqa: PTH100
        with require_runtime():
            from maskedge.config import load_config

            # An invalid file is reported now, not when the service fails to start.
            load_config(file, {})
        config = file
    unit = build_unit(config=config, check_program=write)
    if not write:
        click.echo(unit, nl=False)
        return
    for line in install_unit(unit, TEMPLATE_UNIT if template else UNIT, config):
        click.echo(line)


main.add_command(history)


class _Run:
    """One run. It takes a configuration and returns an exit code.

    Attributes:
        restarts: True if the process starts again after the run.
    """

    def __init__(self, loaded: Loaded, flags: dict[str, Any], log: Logger) -> None:
        self.restarts = False
        self._fleet = FleetRun(loaded, log)
        self._loaded = self._fleet.take(loaded)
        self._flags = flags
        self._log = log
        self._config = self._loaded.config

    def run(self, early: Sequence[int]) -> int:
        """Run and return the exit code. `early` holds the SIGHUP signals received so far."""
        _ = self._config.source.address  # reports a missing source before anything is loaded
        with require_runtime():
            from maskedge.runtime.build import detects_every_frame, open_detector, start_tracking
            from maskedge.runtime.loop import run
            from maskedge.runtime.shutdown import close_run
            from maskedge.sources import open_source

        config, stop = self._config, self._request(early)
        check_flags(config, self._flags)
        # The model is loaded before the source, so that an invalid model is reported before a
        # camera is switched on.
        chosen = "detect.detector" in self._loaded.origins
        detector = open_detector(config, every_frame=detects_every_frame(config), chosen=chosen, updater=self._fleet.updater)
        self._warn([detector.notice] if detector.notice else [])
        source = open_source(config.source)
        if source.video:
            start_tracking(config, source, detector)
        sinks: list[Sink] = []
        try:
            with require_extra("mqtt"):
                from maskedge.runtime.build import build_run

                built = build_run(config, source, detector, sinks, file=self._loaded.file, stopped=lambda: stop.signal is not None)
            self._warn(built.warnings)
            if built.page and not config.log.quiet:
                self._log.info("status page: %s", built.page)
            for notice in built.notices:
                if config.output.show or not config.log.quiet:
                    self._log.info("%s", notice)
        except BaseException:
            close_run(source, sinks, [detector])
            raise
        context = built.context
        context.reload = lambda: stop.reloaded(*self._reload(built))
        end = self._listen(stop, source)
        progress = self._show_progress(source.length)
        if context.health is not None:
            context.health.start()
        assert context.state is not None  # noqa: S101  (set by build_run)

        def restart() -> None:
            self._check_next_start(detector.labels, source)
            stop.restart = True
            end(signal.SIGTERM)

        self._fleet.start(stop.ask_reload, restart, lambda: {context.camera: context}, context.state.frames)
        try:
            result = run(
                source, detector, sinks, max_frames=config.output.max_frames, stop=stop, progress=progress, context=context
            )
        finally:
            self._fleet.close()
        self.restarts = stop.restart
        progress.end()
        return self._report(result, source, stop, sinks)

    def _request(self, early: Sequence[int]) -> StopRequest:
        """Return a request to stop or reload. SIGHUP sets it from now on."""
        with require_runtime():
            from maskedge.runtime.context import StopRequest

        stop = StopRequest(reload=bool(early))

        def reload(number: int, frame: FrameType | None) -> None:
            stop.reload = True

        signal.signal(signal.SIGHUP, reload)
        return stop

    def _listen(self, stop: StopRequest, source: Source) -> Callable[[int], None]:
        """End the run after a signal. Return the function that ends it."""

        def end(number: int, frame: FrameType | None = None) -> None:
            stop.signal = number
            source.stop()

        def end_for_good(number: int, frame: FrameType | None) -> None:
            stop.restart = False
            end(number)

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, end_for_good)
        if (lost := early_signal()) is not None:
            end(lost)
        return end

    def _reload(self, run: Any) -> tuple[bool, str]:
        """Reload the configuration. If it is invalid, report the error and keep the old one.

        Returns:
            True and what has changed, or False and the reason.
        """
        from maskedge.config import load_config, secrets_of
        from maskedge.runtime.build import detects_every_frame
        from maskedge.support.log import set_up

        systemd = run.context.systemd
        systemd.reloading()
        try:
            loaded = self._fleet.take(load_config(self._loaded.file, flags=self._flags))
            if loaded.tables:
                raise UsageError("it names cameras ([[camera]]) now: restart edge-run.")
            changed, later = run.change(loaded.config, every_frame=detects_every_frame(loaded.config))
        except MaskedgeError as error:
            self._log.error("the configuration was not reloaded and stays as it was: %s", error)
            return False, str(error)
        except Exception as error:  # noqa: BLE001  (an invalid file must not end the run)
            reason = f"it cannot be used ({type(error).__name__}: {error!s:.200})"
            self._log.error("the configuration was not reloaded and stays as it was: %s.", reason)
            return False, reason
        finally:
            systemd.reloaded()
        self._loaded = loaded
        # The source and most outputs are those of the start.
        self._log = set_up(loaded.config.log.format, loaded.config.log.level, secrets_of(loaded.config, self._config))
        self._fleet.use()
        text = f"changed {', '.join(changed)}" if changed else "nothing changed"
        self._log.info("configuration reloaded: %s", text)
        if later:
            self._log.warning("takes effect only after a restart: %s", ", ".join(later))
            text += f"; takes effect only after a restart: {', '.join(later)}"
        return True, text

    def _check_next_start(self, labels: Sequence[str], source: Source | None = None) -> None:
        """Refuse a restart if the next start would end at once, because nobody may be there to help.

        Args:
            labels: Labels of the model in use.
            source: The open source of a run of one camera.

        Raises:
            UsageError: The configuration is invalid, or an output exists that may not be replaced.
        """
        from maskedge.config import load_config
        from maskedge.runtime.build import check_rules_of
        from maskedge.runtime.outputs import check_cameras, check_run_outputs

        try:
            loaded = load_config(self._loaded.file, flags=self._flags)
            check_start(loaded)
            check_cameras(loaded.cameras)  # reports a missing source, too
            for config in loaded.cameras:
                if config.model == self._config.model:
                    check_rules_of(config, labels)
            if source is not None and loaded.config.source == self._config.source:
                check_run_outputs(loaded.config, source, inputs=[])
        except MaskedgeError as error:
            raise UsageError(f"edge-run was not restarted, because the next start would fail: {error}") from error

    def _show_progress(self, length: int | None) -> _Progress:
        config = self._config
        lengths = [one for one in (length, config.output.max_frames) if one is not None]
        to_terminal = config.events.file == "-" and sys.stdout.isatty()
        return _Progress(min(lengths, default=None), config.log.quiet or to_terminal or config.log.format == "json")

    def _warn(self, warnings: Any) -> None:
        for warning in warnings:
            self._log.warning("%s", warning)

    def _report(self, result: RunResult, source: Source, stop: StopRequest, sinks: Sequence[Sink]) -> int:
        """Print the summary and return the exit code."""
        config = self._config
        self._warn(source.warnings)
        if not config.log.quiet:
            self._summarise(result.summary, sinks, failed=isinstance(result.failure, OutputError))
        if result.failure is not None:
            self._log.error("%s", result.failure)
            return result.failure.exit_code
        if stop.signal is not None:
            return 128 + stop.signal
        return SourceError.exit_code if source.incomplete else 0

    def _summarise(self, summary: Summary, sinks: Sequence[Sink] = (), *, failed: bool = False) -> None:
        """Print the summary, and the files that were written. If an output failed, print how much of the video is kept."""
        from maskedge.sinks.video import VideoSink

        config = self._config
        lines = summary.lines()
        if config.log.format == "json":
            self._log.info("%s", "; ".join(lines[:2]))
            return
        # If the events are written to standard output, nothing else is.
        apart = config.events.file == "-"
        written = [path for path in (config.output.save, config.events.file) if path and path != "-"]
        # A queue stands in front of the outputs of a camera.
        inner = [getattr(sink, "inner", sink) for sink in sinks]
        videos = [sink for sink in inner if isinstance(sink, VideoSink)]
        if failed or any(video.failed for video in videos):
            counts = [f"{video.kept} frame{'s' * (video.kept != 1)}" for video in videos if video.kept]
            lines += [f"kept {count} in {config.output.save}" for count in counts]
        elif written and summary.frames:
            lines.append(f"wrote {', '.join(written)}")
        # A summary that cannot be printed does not fail the run.
        with contextlib.suppress(OutputError):
            for line in lines:
                click.echo(displayable(line), err=apart)


class _CamerasRun(_Run):
    """A run of named cameras."""

    def run(self, early: Sequence[int]) -> int:
        """Run and return the exit code. `early` holds the SIGHUP signals received so far."""
        loaded, stop = self._loaded, self._request(early)
        with require_runtime():
            from maskedge.runtime.build import open_detector
            from maskedge.runtime.cameras import Cameras, smallest_face

        self._check_flags(loaded)
        detect = replace(loaded.config.detect, min_face_size=smallest_face(loaded.cameras))
        chosen = "detect.detector" in loaded.origins
        detector = open_detector(replace(loaded.config, detect=detect), chosen=chosen, updater=self._fleet.updater)
        self._warn([detector.notice] if detector.notice else [])
        cameras = Cameras(loaded, detector, stop, self._load, self._set_up_log)

        def end_for_good(number: int, frame: FrameType | None) -> None:
            stop.restart = False
            cameras.stop(number)

        def restart() -> None:
            self._check_next_start(detector.labels)
            stop.restart = True
            cameras.stop(signal.SIGTERM)

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, end_for_good)
        if (lost := early_signal()) is not None:
            cameras.stop(lost)
        progress = self._show_progress(None)
        try:
            if cameras.start():
                if cameras.page and not self._config.log.quiet:
                    self._log.info("status page: %s", cameras.page)
                self._fleet.start(stop.ask_reload, restart, lambda: cameras.contexts, cameras.frames)
                cameras.run(lambda: progress.show_all([summary for _, summary in cameras.results]))
        finally:
            cameras.close()
            self._fleet.close()
            progress.end()
        self.restarts = stop.restart
        for self._config, summary in cameras.results:
            if not self._config.log.quiet:
                self._summarise(summary, failed=cameras.exit_code == OutputError.exit_code)
        return cameras.exit_code

    def _load(self) -> Loaded:
        """Load the configuration again."""
        from maskedge.config import load_config

        return self._fleet.take(load_config(self._loaded.file, flags=self._flags))

    def _set_up_log(self, loaded: Loaded) -> None:
        from maskedge.config import secrets_of
        from maskedge.support.log import set_up

        # The cameras of before may still write a line.
        secrets = secrets_of(*loaded.cameras, *self._loaded.cameras)
        self._loaded = loaded
        self._fleet.use()
        set_up(loaded.config.log.format, loaded.config.log.level, secrets)

    def _check_flags(self, loaded: Loaded) -> None:
        """Refuse a flag that has no effect on any camera."""
        problems = []
        for config in loaded.cameras:
            try:
                check_flags(config, self._flags)
            except UsageError as error:
                problems.append(error)
        if len(problems) == len(loaded.cameras):
            raise problems[0]


class _Progress:
    """Progress display: one line that is rewritten on a terminal, or else a new line every 10 s."""

    def __init__(self, length: int | None, quiet: bool) -> None:
        self._length = f"/{length}" if length else ""
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._next = time.monotonic() + (0 if self._terminal else 10)
        self._shown = False

    def __call__(self, summary: Summary) -> None:
        """Show the progress, at most ten times per second."""
        if self._quiet or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + (0.1 if self._terminal else 10)
        rate = summary.frames / max(summary.seconds, 1e-9)
        text = f"frame {summary.frames}{self._length}  {rate:.0f} frames/s  {sum(summary.faces.values())} faces"
        click.echo(f"\r\033[K{text}" if self._terminal else text, nl=not self._terminal, err=True)
        self._shown = True

    def show_all(self, summaries: Sequence[Summary]) -> None:
        """Show the progress of several cameras."""
        if self._quiet or not summaries or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + (0.1 if self._terminal else 10)
        parts = [f"{one.camera} {one.frames} ({one.frames / max(one.seconds, 1e-9):.0f}/s)" for one in summaries]
        text = f"frames: {', '.join(parts)}"
        click.echo(f"\r\033[K{text[:150]}" if self._terminal else text, nl=not self._terminal, err=True)
        self._shown = True

    def end(self) -> None:
        """Clear the progress line."""
        if self._terminal and self._shown:
            click.echo("\r\033[K", nl=False, err=True)


if __name__ == "__main__":
    main()
