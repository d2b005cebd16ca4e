"""Start of the Home Assistant add-on: turns its options into the settings of `edge-run`.

Home Assistant writes the options to /data/options.json. The Supervisor names the MQTT broker. A file
edge.toml in the add-on's configuration folder adds other settings, such as zones and alerts.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request
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


def settings(options: dict[str, Any], broker: dict[str, Any]) -> dict[str, str]:
    """Return the environment variables of `edge-run`."""
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
    # It would replace the cameras of edge.toml.
    if options.get("source"):
        found["MASKEDGE_SOURCE_URI"] = str(options["source"])
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
            "Home Assistant names no MQTT broker. For entities, install Mosquitto broker and restart this add-on.", file=sys.stderr
        )
    os.environ.update(settings(options, broker))
    own = ["--config", str(OWN_CONFIG)] if OWN_CONFIG.is_file() else []
    command = Path(sys.executable).with_name("edge-run")
    os.execv(command, [str(command), *own, "--no-show", "--wait"])  # noqa: S606  (the program of the add-on)


if __name__ == "__main__":
    main()
