"""Checks of the section `[fleet]`, and what it means for the rest of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from maskedge.config import EdgeConfig, Loaded
from maskedge.errors import UsageError
from maskedge.modelfile.signature import load_public_keys
from maskedge.sinks.mqtt.fleet import FleetConfig, check_fleet_topic
from maskedge.sinks.mqtt.sink import device_topic
from maskedge.support.install_hint import install_command

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def device_prefix(config: EdgeConfig) -> str:
    """Return the prefix of the topics of the device, ROOT/DEVICE.

    Args:
        config: The configuration; with named cameras, the common part of theirs.
    """
    return device_topic(config.mqtt, config.device.shown_name)


def check_fleet(loaded: Loaded) -> None:
    """Check what the fleet mode needs, before anything is opened. Without fleet mode, all is well.

    Raises:
        UsageError: There is no broker, the topic has the wrong number of levels, a library of the
            extra `remote` is missing, or a key cannot be read.
    """
    config = loaded.config
    if not config.fleet.enabled:
        return
    if not config.mqtt.url:
        raise UsageError("[fleet] needs a broker: set [mqtt] url.")
    check_fleet_topic(device_prefix(config), named=False)
    for camera in loaded.cameras if loaded.tables else ():
        if camera.mqtt.topic not in ("", f"{config.mqtt.topic}/{camera.camera}"):
            raise UsageError(f"[fleet] needs the same [mqtt] topic for all cameras: remove that of camera {camera.camera}.")
    read_keys(config.fleet)


def read_keys(fleet: FleetConfig) -> tuple[Ed25519PublicKey, ...]:
    """Return the trusted keys, if any command is allowed.

    Raises:
        UsageError: A key cannot be read, or a library of the extra `remote` is missing.
    """
    if not fleet.commands:
        return ()
    if find_spec("jwt") is None:
        raise UsageError(f"fleet.commands needs PyJWT: install the extra remote: {install_command('remote')}.")
    return load_public_keys(fleet.trusted_keys)


def make_stricter(loaded: Loaded, privacy: Mapping[str, bool]) -> Loaded:
    """Return a configuration with keys of `[privacy]` turned on.

    Args:
        loaded: The configuration.
        privacy: Names of the keys, each with True.
    """
    if not privacy:
        return loaded

    def stricter(config: EdgeConfig) -> EdgeConfig:
        return replace(config, privacy=replace(config.privacy, **{name: True for name, on in privacy.items() if on}))

    return replace(loaded, config=stricter(loaded.config), cameras=tuple(map(stricter, loaded.cameras)))
