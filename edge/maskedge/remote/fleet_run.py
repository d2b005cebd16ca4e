"""The control by a fleet as a part of a run of `edge-run`."""

from __future__ import annotations

import queue
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from maskedge.errors import MaskedgeError, OutputError, UsageError

if TYPE_CHECKING:
    from logging import Logger

    from maskedge.config import Loaded

    from .commands import CameraView
    from .control import RemoteControl
    from .ledger import CommandLedger
    from .link import CommandLink
    from .model_update import ModelUpdater

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
        from maskedge.system.state_folder import state_folder

        from .ledger import CommandLedger
        from .model_update import open_updater
        from .settings import check_fleet, device_prefix, read_keys

        check_fleet(loaded)
        self._keys = read_keys(loaded.config.fleet)
        self.updater = open_updater(loaded.config)
        if self.updater is not None and not loaded.config.log.quiet:
            log.info("%s", self.updater.notice)
        try:
            self._ledger = CommandLedger(state_folder(), device_prefix(loaded.config))
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
        from .settings import make_stricter, read_keys

        self._new, self._keys = loaded, read_keys(loaded.config.fleet)
        return make_stricter(loaded, self._ledger.privacy)

    def use(self) -> None:
        """Use the commands and keys of the configuration that `take` had last."""
        self._file = self._new
        if self._control is not None:
            self._control.use(self._file.config.fleet, self._keys)

    def start(
        self,
        reload: Callable[[Callable[[bool, str], None]], None],
        restart: Callable[[], None],
        cameras: Callable[[], Mapping[str, CameraView]],
        counters: Callable[[], tuple[int, int]],
    ) -> None:
        """Start to take commands.

        Args:
            reload: Asks the run to reload its configuration. Takes the function that the run calls
                with True and what has changed, or with False and the reason.
            restart: Ends the run and starts it again. Returns at once, or raises MaskedgeError if the
                next start would fail.
            cameras: Returns the cameras that run, by name.
            counters: Returns the numbers of captured and of dropped frames of all cameras.
        """
        if self._ledger is None:
            return
        from .commands import RunHooks
        from .control import RemoteControl
        from .settings import device_prefix

        hooks = RunHooks(
            reload=lambda: _reload(reload),
            restart=restart,
            cameras=cameras,
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
        from maskedge.sinks.mqtt.sink import broker_address
        from maskedge.sinks.mqtt.topics import node_of
        from maskedge.system.state_folder import instance_id, state_folder

        from .link import CommandLink
        from .settings import device_prefix

        config = self._file.config
        prefix = device_prefix(config)
        own = config.mqtt.client_id or f"maskedge-{instance_id(state_folder())}-{node_of(prefix, named=True)}"
        return CommandLink(broker_address(config.mqtt), prefix, f"{own}-command", on_command=on_command)


def check_start(loaded: Loaded) -> None:
    """Check what a start with this configuration needs of the fleet, without any effect.

    Raises:
        UsageError: The section `[fleet]` is invalid, or a library or a key is missing.
    """
    if loaded.config.fleet.enabled:
        from .model_update import open_updater
        from .settings import check_fleet

        check_fleet(loaded)
        open_updater(loaded.config)


def _reload(reload: Callable[[Callable[[bool, str], None]], None]) -> str:
    """Reload the configuration as SIGHUP does, and wait for the result.

    Raises:
        MaskedgeError: The configuration is invalid, or the run does not react.
    """
    results: queue.SimpleQueue[tuple[bool, str]] = queue.SimpleQueue()
    reload(lambda done, sentence: results.put((done, sentence)))
    try:
        done, sentence = results.get(timeout=_RELOAD_SECONDS)
    except queue.Empty:
        raise MaskedgeError(
            f"a camera has not taken up the configuration for {_RELOAD_SECONDS:g} s: see the log for the one that hangs."
        ) from None
    if not done:
        raise UsageError(f"the configuration was not reloaded: {sentence}")
    return f"configuration reloaded: {sentence}."
