"""The systemd service: `edge-run` that boots with the machine and is allowed little."""

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
_HOMES = ("/home", "/root")
_OWN_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm", "/run/user")  # noqa: S108  (what the unit hides)

_TEMPLATE = """\
# Written by edge-run --install-service. Settings: {config}; secrets as variables MASKEDGE_...: {secrets}.
[Unit]
Description=maskedge: who in front of the camera wears a mask
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
# What asks for another configuration does not get better by itself.
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
# Cameras; the others are those of a Raspberry Pi's and a Jetson's camera, and of its firmware (throttling).
DeviceAllow=char-video4linux rw
DeviceAllow=char-media rw
DeviceAllow=/dev/vchiq rw
DeviceAllow=/dev/vcio rw
DeviceAllow=char-nvhost rw

[Install]
WantedBy=multi-user.target
"""


def build_unit(*, command: Path | None = None, user: str | None = None, config: Path = CONFIG) -> str:
    """Write the unit.

    Args:
        command: The `edge-run` to start; the one of this installation when left out.
        user: Who runs it. When left out, a user of systemd's own making, or, where the installation or the configuration lies in a
            home folder, which only its owner may read, that owner.
        config: The edge.toml of the service, an absolute path.

    Raises:
        UsageError: `edge-run` is nowhere to be found, or a name cannot stand in a unit.
    """
    program = command or _own_command()
    at_home = [path for path in (program, config) if any(path.is_relative_to(home) for home in _HOMES)]
    if user is None and at_home:
        user = _owner(at_home[0])
    if any(config.is_relative_to(folder) for folder in _OWN_FOLDERS):
        raise UsageError(f"a service cannot see {config}, as its temporary folders are its own: put it elsewhere, as {CONFIG}.")
    for text in (str(program), user or "", str(config)):
        # systemd takes apart at spaces, and '%' and '$' mean something there.
        if any(sign in text for sign in " %$\\\"'\n\t"):
            raise UsageError(f"{text!r} cannot stand in a systemd unit: choose a path and a user without spaces and signs.")
    who = f"User={user}" if user else "DynamicUser=yes"
    home = "read-only" if at_home else "yes"
    return _TEMPLATE.format(command=program, config=config, secrets=_SECRETS, user=who, home=home)


def install_unit(unit: str, path: Path = UNIT, config: Path = CONFIG) -> list[str]:
    """Write the unit, and give what is left to do, one line each.

    Args:
        unit: Its text.
        path: Where to.
        config: The edge.toml of the service.

    Raises:
        OutputError: It cannot be written, or this machine has no systemd.
    """
    if not path.parent.is_dir():
        raise OutputError(f"there is no folder {path.parent}: this machine has no systemd; start edge-run in another way.")
    write_file(path, unit, remedy="run it as root (sudo)")
    steps = [f"wrote {path}"]
    if not config.exists():
        steps.append(f"now: sudo mkdir -p {config.parent}; edge-run --camera 0 --print-config | sudo tee {config}")
    return [*steps, "then: sudo systemctl daemon-reload; sudo systemctl enable --now maskedge; journalctl -fu maskedge"]


def _own_command() -> Path:
    # The one beside this Python first: of a virtual environment, whether or not that is active.
    for found in (Path(sys.executable).parent / "edge-run", shutil.which("edge-run")):
        if found and Path(found).is_file():
            return Path(found).absolute()
    raise UsageError(f"edge-run was not found beside this Python nor on PATH: install again: {install_command()}")


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except (KeyError, OSError):
        return getpass.getuser()
