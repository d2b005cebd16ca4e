"""Connects the control by a fleet with a run of `edge-run`."""

from __future__ import annotations

import os
import queue
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from maskedge.errors import MaskedgeError, OutputError, UsageError

if TYPE_CHECKING:
    from logging import Logger

    from maskedge.config import Loaded
    from maskedge.remote.control import RemoteControl
    from maskedge.remote.ledger import CommandLedger
    from maskedge.remote.link import CommandLink
    from maskedge.remote.model_update import ModelUpdater
    from maskedge.runtime.context import RunContext, StopRequest

_RELOAD_SECONDS = 60.0


class FleetRun:
    """The part of a run that a fleet controls. Without `[fleet] enabled` it does nothing.

    Args:
        loaded: The configuration, as its file has it.
        log: The log.

    Attributes:
        updater: Updates the models of the device; None unless the fleet may do that.

    Raises:
        UsageError: The section `[fleet]` is invalid, or a library or a key is missing.
    """

    def __init__(self, loaded: Loaded, log: Logger) -> None:
        self._file = self._new = loaded
        self._log = log
        self._ledger: CommandLedger | None = None
        self._control: RemoteControl | None = None
        self.updater: ModelUpdater | None = None
        self._keys: Any = ()
        if not loaded.config.fleet.enabled:
            return
        from maskedge.remote.ledger import CommandLedger
        from maskedge.remote.model_update import open_updater
        from maskedge.remote.settings import check_fleet, read_keys
        from maskedge.system.state_folder import state_folder

        check_fleet(loaded)
        self._keys = read_keys(loaded.config.fleet)
        self.updater = open_updater(loaded.config)
        if self.updater is not None and not loaded.config.log.quiet:
            log.info("%s", self.updater.notice)
        try:
            self._ledger = CommandLedger(state_folder())
        except OutputError as error:
            # The cameras are more important than their control.
            log.error("no command of the fleet is taken: %s", error)

    def take(self, loaded: Loaded) -> Loaded:
        """Check a configuration, and return it with the privacy that the fleet has made stricter.

        `use` follows when it is in effect.

        Raises:
            UsageError: A trusted key cannot be read.
        """
        if self._ledger is None:
            return loaded
        from maskedge.remote.settings import make_stricter, read_keys

        self._new, self._keys = loaded, read_keys(loaded.config.fleet)
        return make_stricter(loaded, self._ledger.privacy)

    def use(self) -> None:
        """Use the commands and keys of the configuration that `take` had last."""
        self._file = self._new
        if self._control is not None:
            self._control.use(self._file.config.fleet, self._keys)

    def start(
        self,
        stop: StopRequest,
        end: Callable[[], None],
        contexts: Callable[[], Mapping[str, RunContext]],
        counters: Callable[[], tuple[int, int]],
    ) -> None:
        """Start to take commands.

        Args:
            stop: The request that reloads the configuration.
            end: Ends the run.
            contexts: Returns the parts of the runs of the cameras, by name.
            counters: Returns the numbers of captured and of dropped frames of all cameras.
        """
        if self._ledger is None:
            return
        from maskedge.remote.commands import RunHooks
        from maskedge.remote.control import RemoteControl
        from maskedge.remote.settings import device_prefix

        def restart() -> None:
            stop.restart = True
            end()

        hooks = RunHooks(
            reload=lambda: _reload(stop),
            restart=restart,
            cameras=contexts,
            file_privacy=lambda: [config.privacy for config in self._file.cameras],
        )
        if self.updater is not None:
            self.updater.count_frames(counters)
        device = device_prefix(self._file.config).rpartition("/")[2]
        self._control = RemoteControl(device, hooks, self._ledger, self._connect, self.updater)
        self._control.use(self._file.config.fleet, self._keys)
        self._control.start()

    def close(self) -> None:
        """Send the last answers, and disconnect."""
        if self._control is not None:
            self._control.close()
        if self.updater is not None:
            self.updater.close()

    def _connect(self, on_command: Callable[[bytes], None]) -> CommandLink:
        from maskedge.remote.link import CommandLink
        from maskedge.remote.settings import device_prefix
        from maskedge.sinks.mqtt.sink import broker_address
        from maskedge.system.state_folder import instance_id, state_folder

        config = self._file.config
        session = f"{config.mqtt.client_id or f'maskedge-{instance_id(state_folder())}'}-command"
        return CommandLink(broker_address(config.mqtt), device_prefix(config), session, on_command=on_command)


def _reload(stop: StopRequest) -> str:
    """Reload the configuration as SIGHUP does, and wait for the result.

    Raises:
        MaskedgeError: The configuration is invalid, or the run does not react.
    """
    results: queue.SimpleQueue[tuple[bool, str]] = queue.SimpleQueue()
    stop.reloaded = lambda done, sentence: results.put((done, sentence))
    stop.reload = True
    try:
        done, sentence = results.get(timeout=_RELOAD_SECONDS)
    except queue.Empty:
        raise MaskedgeError(f"the run has not reloaded its configuration for {_RELOAD_SECONDS:g} s.") from None
    if not done:
        raise UsageError(f"the configuration was not reloaded and stays as it was: {sentence}")
    return f"configuration reloaded: {sentence}."


def start_again() -> NoReturn:
    """Replace this process by a new one with the same command line."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    # A device that a hanging driver keeps open must not be open in the new process.
    for name in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():  # noqa: PTH112, PTH208
        if int(name) > 2:
            try:
                os.set_inheritable(int(name), False)
            except OSError:
                continue
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606
