"""The systemd unit of `edge-run`. The service starts at boot and runs in a sandbox."""

from __future__ import annotations

import getpass
import shutil
import sys
from pathlib import Path

from maskedge.errors import OutputError, UsageError
from maskedge.support.files import write_file
from maskedge.support.install_hint import install_command

UNIT = Path("/etc/systemd/system/maskedge.service")
CONFIG = Path("/etc/maskedge/edge.toml")
_SECRETS = Path("/etc/maskedge/environment")
_HISTORY = Path("/var/lib/maskedge/history.sqlite3")
_HOMES = ("/home", "/root")
_OWN_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm", "/run/user")  # noqa: S108  (hidden by the unit)

_TEMPLATE = """\
# Written by edge-run --install-service.
# Settings: {config}
# Secrets, as variables MASKEDGE_...: {secrets}
[Unit]
Description=maskedge: face mask detection on a live camera
Wants=network-online.target
After=network-online.target time-sync.target
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={command} --config {config} --no-show --wait
ExecReload=/bin/kill -HUP $MAINPID
EnvironmentFile=-{secrets}
Restart=always
RestartSec=5
# Restarting does not help against a wrong configuration (2) or a refused model (4).
RestartPreventExitStatus=2 4
SuccessExitStatus=130 143
WatchdogSec=60
TimeoutStartSec=120
TimeoutStopSec=10
KillMode=mixed

{user}
SupplementaryGroups=video
StateDirectory=maskedge
StateDirectoryMode=0750
WorkingDirectory=/var/lib/maskedge
UMask=0027

NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome={home}
PrivateTmp=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
CapabilityBoundingSet=
AmbientCapabilities=
DevicePolicy=closed
# Cameras: USB (V4L2), then the CSI cameras of a Raspberry Pi and a Jetson. vcio reports throttling.
DeviceAllow=char-video4linux rw
DeviceAllow=char-media rw
DeviceAllow=/dev/vchiq rw
DeviceAllow=/dev/vcio rw
DeviceAllow=char-nvhost rw

[Install]
WantedBy=multi-user.target
"""


def build_unit(*, command: Path | None = None, user: str | None = None, config: Path = CONFIG) -> str:
    """Return the text of the unit.

    Args:
        command: Path of `edge-run`, by default the one of this installation.
        user: User that runs the service. By default, systemd creates a dynamic user. If the
            installation or the configuration is in a home folder, the default is the owner of the
            folder, because other users may be denied access.
        config: Absolute path of the service's edge.toml.

    Raises:
        UsageError: `edge-run` is not found, or a path or user name is not allowed in a unit.
    """
    program = command or _own_command()
    at_home = [path for path in (program, config) if any(path.is_relative_to(home) for home in _HOMES)]
    if user is None and at_home:
        user = _owner(at_home[0])
    if any(config.is_relative_to(folder) for folder in _OWN_FOLDERS):
        raise UsageError(f"{config} is in a temporary folder, which a service cannot see: move it elsewhere, as to {CONFIG}.")
    for text in (str(program), user or "", str(config)):
        # systemd splits a command line at spaces, and expands '%' and '$'.
        if any(sign in text for sign in " %$\\\"'\n\t"):
            raise UsageError(
                f"{text!r} is not allowed in a systemd unit: use a path and a user without spaces, quotes, %, $ and \\."
            )
    who = f"User={user}" if user else "DynamicUser=yes"
    home = "read-only" if at_home else "yes"
    return _TEMPLATE.format(command=program, config=config, secrets=_SECRETS, user=who, home=home)


def install_unit(unit: str, path: Path = UNIT, config: Path = CONFIG) -> list[str]:
    """Write the unit, and return the remaining steps, one line each.

    Args:
        unit: Text of the unit.
        path: File to write.
        config: Path of the service's edge.toml.

    Raises:
        OutputError: The file cannot be written, or this host has no systemd.
    """
    if not path.parent.is_dir():
        raise OutputError(f"there is no folder {path.parent}, so this host has no systemd: start edge-run in another way.")
    write_file(path, unit, remedy="run it as root (sudo)")
    steps = [f"wrote {path}"]
    if not config.exists():
        steps.append(
            f"next: sudo mkdir -p {config.parent}; edge-run --camera 0 --history {_HISTORY} --print-config | sudo tee {config}"
        )
    return [*steps, "then: sudo systemctl daemon-reload; sudo systemctl enable --now maskedge; journalctl -fu maskedge"]


def _own_command() -> Path:
    # The command beside this Python is preferred. It belongs to this environment, active or not.
    for found in (Path(sys.executable).parent / "edge-run", shutil.which("edge-run")):
        if found and Path(found).is_file():
            return Path(found).absolute()
    raise UsageError(f"edge-run is neither beside this Python nor on PATH: install the package again: {install_command()}")


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except (KeyError, OSError):
        return getpass.getuser()
