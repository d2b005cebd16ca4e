"""Commands to a simulated device: the control of a real device, without a run that could restart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from maskedge.config import PrivacyConfig
from maskedge.events import UNNAMED
from maskedge.remote.commands import RunHooks
from maskedge.remote.control import RemoteControl
from maskedge.remote.ledger import CommandLedger
from maskedge.remote.link import CommandLink
from maskedge.results import FrameResult
from maskedge.sinks.mqtt.fleet import FleetConfig
from maskedge.sinks.mqtt.sink import MqttConfig, broker_address
from maskedge.system.state_folder import instance_id

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

COMMANDS = ("reload", "snapshot", "privacy", "log_level")
"""Commands that a simulated device takes. It has no process to restart, and no model to update."""


class SimulatedView:
    """The newest result of the simulated camera, for snapshots."""

    anonymize = False
    stats_only = False

    def __init__(self) -> None:
        self.newest: FrameResult | None = None


def open_control(
    config: MqttConfig, device: str, folder: Path, view: SimulatedView, keys: tuple[Ed25519PublicKey, ...]
) -> RemoteControl:
    """Start to take commands.

    Args:
        config: The connection of the device.
        device: Name of the device.
        folder: Its state folder.
        view: Its camera.
        keys: Keys of the fleet.

    Raises:
        OutputError: The state folder cannot be written.
    """

    def connect(on_command: Callable[[bytes], None]) -> CommandLink:
        return CommandLink(broker_address(config), config.topic, f"maskedge-{instance_id(folder)}-command", on_command=on_command)

    hooks = RunHooks(
        reload=lambda: "configuration reloaded: nothing has changed.",
        restart=lambda: None,
        cameras=lambda: {UNNAMED: view},
        file_privacy=lambda: [PrivacyConfig()],
    )
    control = RemoteControl(device, hooks, CommandLedger(folder, config.topic), connect)
    control.use(FleetConfig(enabled=True, commands=COMMANDS, trusted_keys=(folder,)), keys)
    control.start()
    return control
