"""The systemd unit, checked by systemd itself, and notifications over a real socket."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from maskedge.errors import OutputError, UsageError
from maskedge.system import systemd_unit
from maskedge.system.sd_notify import LoopNotifier, LoopsNotifier, SystemdNotifier
from maskedge.system.systemd_unit import TEMPLATE_CONFIG, build_unit, install_unit


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "edge-run"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_systemd_has_nothing_to_say_against_the_unit(tmp_path: Path, program: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "maskedge.service"
    unit.write_text(build_unit(command=program))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False, timeout=30)
    # It also reports problems of other units on this host.
    assert "maskedge" not in done.stderr
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=40", unit], capture_output=True, text=True, check=False
    )
    if "nknown" not in done.stderr and "invalid" not in done.stderr.lower():
        assert done.returncode == 0, done.stdout[-600:] + done.stderr


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder outside /tmp, which every user may enter."""
    if os.getuid():
        pytest.skip("only root may create a folder that all users can enter")
    with tempfile.TemporaryDirectory(dir="/var/lib", prefix="maskedge test ") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def test_systemd_accepts_the_template_and_blanks_in_a_path(tmp_path: Path, program: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    spaced = tmp_path / "my programs" / "edge-run"
    spaced.parent.mkdir()
    shutil.copy(program, spaced)
    blanks = build_unit(command=spaced, config=Path("/srv/front door/edge.toml"))
    assert f'ExecStart="{spaced}" --config "/srv/front door/edge.toml" --no-show --wait' in blanks
    template = build_unit(command=program, config=TEMPLATE_CONFIG)
    for name, text in (("maskedge.service", blanks), ("maskedge@.service", template)):
        unit = tmp_path / name
        unit.write_text(text)
        done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False, timeout=30)
        assert "maskedge" not in done.stderr, done.stderr


def test_each_instance_of_the_template_has_its_own_configuration_state_and_secrets(tmp_path: Path, program: Path) -> None:
    lines = build_unit(command=program, config=TEMPLATE_CONFIG).splitlines()
    for line in (
        f"ExecStart={program} --config /etc/maskedge/%i.toml --no-show --wait",
        "StateDirectory=maskedge-%i",
        "WorkingDirectory=/var/lib/maskedge-%i",
        "EnvironmentFile=-/etc/maskedge/%i.environment",
    ):
        assert line in lines
    steps = install_unit("[Unit]\n", tmp_path / "maskedge@.service", TEMPLATE_CONFIG)
    assert "enable --now maskedge@NAME" in steps[-1]


def test_the_service_must_be_able_to_read_its_configuration(shared_folder: Path, program: Path, invoke: Any) -> None:
    file = shared_folder / "edge.toml"
    file.write_text('[source]\nuri = "demo"\n')
    file.chmod(0o644)
    assert f'--config "{file}" ' in build_unit(command=program, config=file)
    done = invoke("edge-run", "--install-service", "--config", os.path.relpath(file))
    assert (done.returncode, f'--config "{file}" ' in done.stdout) == (0, True), "a relative path becomes absolute"
    file.chmod(0o600)
    with pytest.raises(UsageError, match=r"may not read .*edge.toml: chmod o\+r"):
        build_unit(command=program, config=file)
    assert build_unit(command=program, config=file, user="root")
    file.chmod(0o644)
    shared_folder.chmod(0o700)
    with pytest.raises(UsageError, match=r"chmod o\+x"):
        build_unit(command=program, config=file)


def test_the_service_must_be_able_to_read_its_installation(
    shared_folder: Path, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Python of an environment may be in another folder, such as a home folder."""
    shutil.copy(program, shared_folder)
    monkeypatch.setattr(systemd_unit, "_HOMES", ())
    monkeypatch.setattr(systemd_unit, "__file__", str(shared_folder / "edge-run"))
    monkeypatch.setattr(sys, "executable", str(shared_folder / "python"))
    (shared_folder / "python").symlink_to("edge-run")
    assert f'ExecStart="{shared_folder}/edge-run" ' in build_unit(check_program=True)
    shared_folder.chmod(0o700)
    with pytest.raises(
        UsageError, match=r"may not read .*: chmod o\+x .*, or install maskedge in another folder, as /opt/maskedge"
    ):
        build_unit(check_program=True)
    shared_folder.chmod(0o755)
    monkeypatch.setattr(systemd_unit, "_HOMES", (shared_folder / "home",))
    (shared_folder / "python").unlink()
    (shared_folder / "home").mkdir()
    shutil.copy(program, shared_folder / "home" / "python3")
    (shared_folder / "python").symlink_to("home/python3")
    lines = build_unit(check_program=True).splitlines()
    assert {"User=root", "ProtectHome=read-only"} <= {*lines}, "as the owner of the home folder of this Python"
    monkeypatch.setattr(systemd_unit, "_OWN_FOLDERS", (shared_folder,))
    with pytest.raises(UsageError, match=r"is in a temporary folder.*as to /opt/maskedge"):
        build_unit(check_program=True)


def test_template_takes_no_file(tmp_path: Path, invoke: Any) -> None:
    done = invoke("edge-run", "--install-service", "--template", "--config", tmp_path / "edge.toml")
    assert (done.returncode, "--template takes no --config" in done.stderr) == (2, True)
    assert invoke("edge-run", "--template").returncode == 2


def test_unit_says_what_it_must(program: Path) -> None:
    lines = build_unit(command=program).splitlines()
    for line in (
        "Type=notify", "Restart=always", "WatchdogSec=60", "DynamicUser=yes", "ProtectSystem=strict", "NoNewPrivileges=yes",
        "LimitCORE=0", "SupplementaryGroups=video", "StateDirectory=maskedge", "ProtectHome=yes",
        f"ExecStart={program} --config /etc/maskedge/edge.toml --no-show --wait",
    ):  # fmt: skip
        assert line in lines
    # A dynamic user cannot read an installation in a home folder.
    at_home = build_unit(command=Path("/home/pi/maskedge/bin/edge-run"), user="pi").splitlines()
    assert "User=pi" in at_home
    assert "ProtectHome=read-only" in at_home
    assert "DynamicUser=yes" not in at_home


def test_the_unit_reads_the_configuration_that_was_named(tmp_path: Path, program: Path, invoke: Any) -> None:
    lines = build_unit(command=Path("/opt/edge-run"), config=Path("/srv/door/edge.toml")).splitlines()
    assert "ExecStart=/opt/edge-run --config /srv/door/edge.toml --no-show --wait" in lines
    at_home = build_unit(command=Path("/opt/edge-run"), config=Path("/home/pi/edge.toml"), user="pi").splitlines()
    assert "ProtectHome=read-only" in at_home, "the service must be able to read it"
    with pytest.raises(UsageError, match="in a temporary folder"):
        build_unit(command=Path("/opt/edge-run"), config=Path("/tmp/edge.toml"))  # noqa: S108
    file = tmp_path / "edge.toml"
    file.write_text("[detect]\nevrey = 1")
    done = invoke("edge-run", "--install-service", "--config", file)
    assert (done.returncode, "did you mean every" in done.stderr) == (2, True), "an invalid configuration is not installed"
    done = invoke("edge-run", "--install-service", "--config", tmp_path / "none.toml")
    assert (done.returncode, "cannot be read" in done.stderr) == (2, True)


def test_installing_takes_no_setting_that_it_would_drop(invoke: Any) -> None:
    for arguments in (("--camera", "0"), ("--print-config",), ("--anonymize",)):
        done = invoke("edge-run", "--install-service", *arguments)
        assert done.returncode == 2
        assert f"takes no {arguments[0]}" in done.stderr
    assert invoke("edge-run", "--yes").returncode == 2


def test_what_cannot_stand_in_a_unit_is_refused() -> None:
    with pytest.raises(UsageError, match="is not allowed in a systemd unit"):
        build_unit(command=Path("/opt/100%/edge-run"))
    with pytest.raises(UsageError, match="is not allowed"):
        build_unit(command=Path("/opt/edge-run"), user="pi\nExecStart=/bin/evil")
    for name in ("a\rb", "a\nb", "a\x1bb", os.fsdecode(b"a\xff")):
        with pytest.raises(UsageError, match="is not allowed"):
            build_unit(command=Path("/opt/edge-run"), config=Path("/srv") / name)


def test_unit_is_written_or_the_reason_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = install_unit("[Unit]\n", tmp_path / "maskedge.service")
    assert (tmp_path / "maskedge.service").read_text() == "[Unit]\n"
    assert "systemctl enable --now maskedge" in steps[-1]
    assert install_unit("[Unit]\n", tmp_path / "maskedge.service")[0] == f"wrote {tmp_path / 'maskedge.service'}"
    steps = install_unit("[Unit]\n[Service]\n", tmp_path / "maskedge.service")
    assert steps[0].startswith(f"kept the unit of before as {tmp_path / 'maskedge.service.old'};")
    assert (tmp_path / "maskedge.service.old").read_text() == "[Unit]\n"
    with pytest.raises(OutputError, match="no systemd"):
        install_unit("[Unit]\n", tmp_path / "none" / "maskedge.service")

    def refuse(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(OutputError, match=r"maskedge.service cannot be read \(Permission denied\): run it as root"):
        install_unit("[Unit]\n", tmp_path / "maskedge.service")


@pytest.mark.parametrize("abstract", [False, True])
def test_what_systemd_hears(tmp_path: Path, abstract: bool) -> None:
    name = f"@maskedge-test-{tmp_path.name}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name[1:] if abstract else name)
        manager.settimeout(5)
        notifier = SystemdNotifier({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "3600000000"})
        assert notifier.interval == 1800
        notifier.ready()
        notifier.ready()
        notifier.alive()
        notifier.alive()
        notifier.status("camera 0\nis open")
        notifier.reloading()
        notifier.reloaded()
        notifier.stopping()
        received = [manager.recv(4096).decode() for _ in range(6)]
    assert received[:3] == ["READY=1", "WATCHDOG=1", "STATUS=camera 0 is open"], "each sent once"
    reloading, usec = received[3].split("\n")
    assert reloading == "RELOADING=1"
    assert usec.removeprefix("MONOTONIC_USEC=").isdigit()
    assert received[4:] == ["READY=1", "STOPPING=1"]
    notifier.stopping()  # no one listens any more
    notifier.close()


def test_a_source_whose_name_is_not_utf8_is_told(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5)
        notifier = SystemdNotifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        notifier.status(os.fsdecode(b"caf\xe9.avi is open"))
        notifier.close()
        assert manager.recv(4096).decode().endswith(".avi is open")


def test_without_systemd_nothing_is_said() -> None:
    for environment in ({}, {"NOTIFY_SOCKET": "nonsense"}, {"NOTIFY_SOCKET": "/nowhere/at/all", "WATCHDOG_USEC": "x"}):
        notifier = SystemdNotifier(environment)
        notifier.ready()
        notifier.alive()
        assert notifier.interval == 0
    assert SystemdNotifier({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}).interval == 0, "the watchdog is for another process"


def test_one_loop_of_several_that_hangs_is_not_hidden(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(0.2)

        def heard() -> list[str]:
            words = []
            with contextlib.suppress(TimeoutError):
                while True:
                    words.append(manager.recv(4096).decode())
            return words

        notifier = LoopsNotifier(SystemdNotifier({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "2000"}))
        loops = {"door": LoopNotifier(), "hall": LoopNotifier()}
        for loop in loops.values():
            loop.alive()
        loops["door"].ready()
        loops["hall"].status("lost: the cable")
        notifier.tick(loops)
        assert heard() == ["WATCHDOG=1", "STATUS=hall: lost: the cable"], "not ready until both are"
        loops["hall"].ready()
        loops["door"].alive()
        time.sleep(0.01)
        notifier.tick(loops)
        assert heard() == ["READY=1"], "the hall hangs"
        for _ in range(5):
            loops["door"].alive()
            notifier.tick(loops)
            time.sleep(0.002)
        assert heard() == []
        loops["hall"].alive()
        notifier.tick(loops)
        assert heard() == ["WATCHDOG=1"]
        notifier.tick({"door": loops["door"]})
        loops["door"].alive()
        time.sleep(0.01)
        notifier.tick({"door": loops["door"]})
        assert "WATCHDOG=1" in heard(), "a camera that was removed is not waited for"
