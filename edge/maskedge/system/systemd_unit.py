"""The systemd units of `edge-run`. A service starts at boot and runs in a sandbox."""

from __future__ import annotations

import getpass
import grp
import os
import pwd
import shutil
import sys
from pathlib import Path

from maskedge.errors import OutputError, UsageError
from maskedge.support.files import is_file, write_file
from maskedge.support.install_hint import install_command

UNIT = Path("/etc/systemd/system/maskedge.service")
CONFIG = Path("/etc/maskedge/edge.toml")
TEMPLATE_UNIT = Path("/etc/systemd/system/maskedge@.service")
TEMPLATE_CONFIG = CONFIG.parent / "%i.toml"
"""The edge.toml of an instance of the template unit. systemd replaces `%i` with the instance's name."""
_SECRETS = Path("/etc/maskedge/environment")
_HISTORY = Path("/var/lib/maskedge/history.sqlite3")
_FOLDER = Path("/opt/maskedge")
"""A folder for an installation that every user may read."""
_HOMES = ("/home", "/root")
_OWN_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm", "/run/user")  # noqa: S108  (hidden by the unit)

_TEMPLATE = """\
# Written by edge-run --install-service.
# Settings: {config}
# Secrets, as variables MASKEDGE_...: {secrets}
[Unit]
Description=maskedge: face mask detection on a live camera{instance}
Wants=network-online.target
After=network-online.target time-sync.target
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={command} --config {quoted} --no-show --wait
ExecReload=/bin/kill -HUP $MAINPID
EnvironmentFile=-{secrets}
{own_secrets}Restart=always
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
StateDirectory={state}
StateDirectoryMode=0750
WorkingDirectory=/var/lib/{state}
UMask=0027
# A core dump of a crash would contain pictures of the camera.
LimitCORE=0

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


def build_unit(*, command: Path | None = None, user: str | None = None, config: Path = CONFIG, check_program: bool = False) -> str:
    """Return the text of the unit.

    Args:
        command: Path of `edge-run`, by default the one of this installation.
        user: User that runs the service. By default, systemd creates a dynamic user. If the
            installation or the configuration is in a home folder, the default is the owner of the
            folder, because other users may be denied access.
        config: The service's edge.toml, an absolute path. `TEMPLATE_CONFIG` makes a template unit, with a state
            folder and variables for each instance.
        check_program: Refuse an installation that the service may not read, too.

    Raises:
        UsageError: `edge-run` is not found, a path or user name is not allowed in a unit, or the
            service may not read the configuration or the installation.
    """
    program = command or _own_command()
    # The Python of an environment, and an editable package, are often elsewhere: the first one below ~/.pyenv, for example.
    installed = [program] if command else [program, Path(sys.executable), Path(__file__)]
    template = config == TEMPLATE_CONFIG
    at_home = [path for path in (*installed, config) if any(path.resolve().is_relative_to(home) for home in _HOMES)]
    if user is None and at_home:
        user = _owner(at_home[0].resolve())
    for path, remedy in [(config, f"as to {CONFIG}"), *((path, f"as to {_FOLDER}") for path in installed if check_program)]:
        if any(one.is_relative_to(folder) for one in (path, path.resolve()) for folder in _OWN_FOLDERS):
            raise UsageError(f"{path} is in a temporary folder, which a service cannot see: move it elsewhere, {remedy}.")
    for text, forbidden in (
        (str(program), "%$\\\"'"),
        (user or "", " %$\\\"'"),
        ("" if template else str(config), "%$\\\"'"),
    ):
        # systemd expands '%' and '$'. Blanks are quoted. A unit is UTF-8.
        if not text.isprintable() or any(sign in text for sign in forbidden):
            raise UsageError(
                f"{text!r} is not allowed in a systemd unit: use a path without quotes, %, $ and \\, a user without blanks."
            )
    closed = None if template else _first_unreadable(config, user)
    if closed is not None:
        raise UsageError(f"{_may_not_read(closed, user)} (secrets belong in {_SECRETS}), or put the configuration at {CONFIG}.")
    for path in installed if check_program else ():
        closed = _first_unreadable(path, user)
        if closed is not None:
            raise UsageError(f"{_may_not_read(closed, user)}, or install maskedge in another folder, as {_FOLDER}.")
    return _TEMPLATE.format(
        command=_quote(program),
        config=config,
        quoted=_quote(config),
        instance=" (%i)" if template else "",
        secrets=_SECRETS,
        own_secrets=f"EnvironmentFile=-{_SECRETS.parent}/%i.environment\n" if template else "",
        state="maskedge-%i" if template else "maskedge",
        user=f"User={user}" if user else "DynamicUser=yes",
        home="read-only" if at_home else "yes",
    )


def _may_not_read(closed: Path, user: str | None) -> str:
    remedy = "chmod o+x" if closed.is_dir() else "chmod o+r"
    return f"the service runs as {user or 'a user of its own'}, who may not read {closed}: {remedy} {_quote(closed)}"


def _quote(path: Path) -> str:
    return f'"{path}"' if " " in str(path) else str(path)


def _first_unreadable(file: Path, user: str | None) -> Path | None:
    """Return the first folder or file on the way to `file` that a user may not enter or read, or None.

    Args:
        file: An existing or a missing file.
        user: The user; None for a dynamic user, who belongs to no group but `video`.
    """
    if user is None:
        uid, groups = -1, []
    else:
        try:
            entry = pwd.getpwnam(user)
        except KeyError:
            return None  # systemd reports the missing user
        uid, groups = entry.pw_uid, os.getgrouplist(user, entry.pw_gid)
    groups += [one.gr_gid for one in grp.getgrall() if one.gr_name == "video"]
    real = file.resolve()
    for path in (*reversed(real.parents), real):
        try:
            facts = path.stat()
        except OSError:
            return None  # a missing file is reported elsewhere
        right = 1 if path != real else 4  # to enter a folder, to read a file
        shift = 6 if facts.st_uid == uid else 3 if facts.st_gid in groups else 0
        if uid != 0 and not facts.st_mode >> shift & right:
            return path
    return None


def install_unit(unit: str, path: Path = UNIT, config: Path = CONFIG) -> list[str]:
    """Write the unit, and return the remaining steps, one line each. A different unit of before is kept under another name.

    Args:
        unit: Text of the unit.
        path: File to write.
        config: Path of the service's edge.toml.

    Raises:
        OutputError: The file cannot be written, an earlier one cannot be read, or this host has no systemd.
    """
    if not path.parent.is_dir():
        raise OutputError(f"there is no folder {path.parent}, so this host has no systemd: start edge-run in another way.")
    remedy = "run it as root (sudo)"
    steps = []
    try:
        before = path.read_bytes() if is_file(path) else unit.encode()
    except OSError as error:
        raise OutputError(f"{path} cannot be read ({error.strerror}): {remedy}.") from error
    if before != unit.encode():
        # Its owner may have changed it. systemd reads no file of this name.
        old = path.with_name(f"{path.name}.old")
        write_file(old, before, remedy=remedy)
        steps.append(f"kept the unit of before as {old}; a service that runs takes the new one at its restart")
    write_file(path, unit, remedy=remedy)
    steps.append(f"wrote {path}")
    if config == TEMPLATE_CONFIG:
        folder = config.parent
        return [
            *steps,
            f"next, for each camera: sudo mkdir -p {folder}; edge-run --camera 0 --print-config | sudo tee {folder}/NAME.toml",
            "then: sudo systemctl daemon-reload; sudo systemctl enable --now maskedge@NAME; journalctl -fu maskedge@NAME",
        ]
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
