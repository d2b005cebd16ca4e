"""Start of the Home Assistant add-on: turns its options into the settings of `edge-run`.

Home Assistant writes the options to /data/options.json. The Supervisor names the MQTT broker. A file
edge.toml in the add-on's configuration folder adds other settings, such as zones and alerts.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from importlib import import_module
from pathlib import Path
from typing import Any

OPTIONS = Path("/data/options.json")
OWN_CONFIG = Path("/config/edge.toml")
SUPERVISOR = "http://supervisor/services/mqtt"
INGRESS = "0.0.0.0:8099"
INGRESS_PROXY = "172.30.32.2"
"""Address of the Supervisor, which signs users in and passes on their requests. It is the same on all installations."""


def find_broker(token: str, address: str = SUPERVISOR) -> dict[str, Any]:
    """Return the broker of Home Assistant: host, port, username and so on; empty if there is none."""
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {token}"})  # noqa: S310  (a fixed address)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
            data = json.load(response).get("data", {})
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def has_cameras(file: Path) -> bool:
    """Return True if a configuration names its cameras. `edge-run` reports one that is not valid."""
    toml = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        own = toml.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return False
    source = own.get("source")
    return "camera" in own or (isinstance(source, dict) and not source.keys().isdisjoint(("uri", "uri_file", "camera")))


def settings(options: dict[str, Any], broker: dict[str, Any], *, source: str = "0") -> dict[str, str]:
    """Return the environment variables of `edge-run`.

    Args:
        options: The options of the add-on.
        broker: The broker, as of `find_broker`.
        source: The camera if the options name none; empty for those of the configuration.
    """
    found = {
        "MASKEDGE_DETECT_DETECTOR": str(options.get("detector", "haar")),
        "MASKEDGE_PRIVACY_ANONYMIZE": str(bool(options.get("anonymize", True))).lower(),
        "MASKEDGE_WEB_SERVE": INGRESS,
        # Other add-ons, which reach the port too, are refused.
        "MASKEDGE_WEB_PROXY": INGRESS_PROXY,
        "MASKEDGE_WEB_PICTURE": str(bool(options.get("picture", False))).lower(),
        "MASKEDGE_HISTORY_FILE": "/data/history.sqlite3",
        "STATE_DIRECTORY": "/data",
    }
    source = str(options.get("source") or source)
    if source:
        found["MASKEDGE_SOURCE_URI"] = source
    if options.get("device_name"):
        found["MASKEDGE_DEVICE_NAME"] = str(options["device_name"])
    if broker.get("host"):
        scheme = "mqtts" if broker.get("ssl") else "mqtt"
        found |= {"MASKEDGE_MQTT_URL": f"{scheme}://{broker['host']}:{broker.get('port', 1883)}", "MASKEDGE_MQTT_DISCOVERY": "true"}
        for key in ("username", "password"):
            if broker.get(key):
                found[f"MASKEDGE_MQTT_{key.upper()}"] = str(broker[key])
    return found


def main() -> None:
    """Replace this process by `edge-run`."""
    options = json.loads(OPTIONS.read_text(encoding="utf-8"))
    broker = find_broker(os.environ.get("SUPERVISOR_TOKEN", ""))
    if not broker:
        print(
            "Home Assistant names no MQTT broker. For entities, install Mosquitto broker and restart this add-on, or set "
            "[mqtt] url in edge.toml.",
            file=sys.stderr,
        )
    os.environ.update(settings(options, broker, source="" if has_cameras(OWN_CONFIG) else "0"))
    own = ["--config", str(OWN_CONFIG)] if OWN_CONFIG.is_file() else []
    command = Path(sys.executable).with_name("edge-run")
    os.execv(command, [str(command), *own, "--no-show", "--wait"])  # noqa: S606  (the program of the add-on)


if __name__ == "__main__":
    main()
