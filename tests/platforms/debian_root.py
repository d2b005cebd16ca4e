"""Debian systems in folders: debootstrap, apt, pip and commands in them. Needs root and debootstrap.

The settings of this machine's apt and pip apply. Local folders that they name are mounted read-only.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]
"""The project."""


def fail(message: str) -> NoReturn:
    """Exit with a message and code 1."""
    sys.exit(f"error: {message}")


def run(command: Sequence[str | Path], *, log: Path | None = None, name: str = "") -> str:
    """Run a command, write its output to `log` and return it.

    If the command fails, exit with its last lines.
    """
    with tempfile.TemporaryFile("w+") if log is None else log.open("w+", encoding="utf-8") as output:
        done = subprocess.run([*map(str, command)], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, check=False)
        output.seek(0)
        text = output.read()
    if done.returncode:
        last = "\n".join(text.strip().splitlines()[-30:])
        fail(f"{name or shlex.join(map(str, command))} ended with {done.returncode}:\n{last}")
    return text


def apt_settings() -> tuple[list[str], str]:
    """Return the Debian mirror of this machine's apt, if it has one, and the lines of its proxy."""
    if shutil.which("apt-get") is None:
        return [], ""
    listing = ["apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages"]
    mirrors = [line.split()[1] for line in run(listing).splitlines() if line.startswith("Debian ")]
    proxies = [line for line in run(["apt-config", "dump"]).splitlines() if re.match(r"Acquire::https?::Proxy", line)]
    return mirrors[:1], "".join(f"{line}\n" for line in proxies)


def pip_settings() -> tuple[dict[str, str], list[Path]]:
    """Return this machine's pip settings as environment variables, and the local paths in them."""
    settings: dict[str, str] = {}
    paths = set()
    # Environment variables come last, because they override files, as in pip.
    for line in sorted(
        run([sys.executable, "-m", "pip", "config", "list"]).splitlines(), key=lambda line: line.startswith(":env:")
    ):
        place, _, value = line.partition("=")
        scope, _, name = place.rpartition(".")
        if scope not in (":env:", "global", "install"):
            continue
        settings["PIP_" + name.upper().replace("-", "_")] = value = value.strip("'\"")
        for word in value.split():
            path = Path(word.removeprefix("file://"))
            if path.is_absolute() and path.exists():
                # An index links to files beside it.
                paths.add(path.parent if name.endswith("index-url") and path.parent != Path("/") else path)
    return settings, sorted(paths)


def make_root(root: Path, suite: str, packages: Sequence[str]) -> None:
    """Create a minimal system with some packages. A package may be the path of a .deb file in the system."""
    mirror, proxy = apt_settings()
    run(["debootstrap", "--variant=minbase", suite, root, *mirror])
    (root / "etc/apt/apt.conf.d/proxy").write_text(proxy, encoding="utf-8")
    for name in ("resolv.conf", "hosts"):
        shutil.copy(Path("/etc") / name, root / "etc" / name)
    install = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends"]
    run(["chroot", root, "env", "DEBIAN_FRONTEND=noninteractive", *install, *packages])


def copy_project(checkout: Path) -> None:
    """Copy the files that git tracks or would add, as they are in the working tree."""
    listed = run(["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, checkout / name)


class DebianRoot:
    """A system in a folder.

    Args:
        root: Folder of the system.
        environment: Environment of the commands, besides PATH and the settings of pip.
        user: Number of the user and of the group that run the commands; None for root.
        folder: Working folder of the commands, in the system.
        pip: Apply the settings of this machine's pip, and mount the files that they name.
    """

    def __init__(
        self,
        root: Path,
        environment: Mapping[str, str] | None = None,
        *,
        user: int | None = None,
        folder: str = "/",
        pip: bool = True,
    ) -> None:
        self.root = root
        self._user = [f"--userspec={user}:{user}"] if user is not None else []
        self._folder = folder
        settings, paths = pip_settings() if pip else ({}, [])
        passed = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy") or name == "TORCH_INDEX"}
        system = "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"
        self._environment = {"PATH": system, **(environment or {}), **settings, **passed}
        self._mounts = ["mount -t proc proc proc", "mount --rbind /dev dev"]
        for path in paths:
            place = root / path.relative_to("/")
            if path.is_dir():
                place.mkdir(parents=True, exist_ok=True)
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.touch()
            source, target = shlex.quote(str(path)), shlex.quote(str(path.relative_to("/")))
            self._mounts += [f"mount --bind {source} {target}", f"mount -o remount,bind,ro {target}"]

    def command(
        self, line: str, *, log: Path | None = None, umask: str = "022", read_only: bool = False, writable: Sequence[str] = ()
    ) -> str:
        """Run a shell command in the system. Return its output; exit with its last lines if it fails.

        Args:
            line: The command.
            log: File for the output.
            umask: Its umask.
            read_only: Mount the system read-only, except /tmp and the folders `writable`.
            writable: Folders of the system.
        """
        inside = shlex.join(
            ["chroot", *self._user, ".", "env", "-i"]
            + [f"{name}={value}" for name, value in self._environment.items()]
            + ["sh", "-c", f"umask {umask}; cd {shlex.quote(self._folder)}; {line}"]
        )
        # The mounts exist only for this command. Removing the folder later removes no file of this
        # machine.
        root = shlex.quote(str(self.root))
        closed = []
        if read_only:
            closed = [f"mount --bind {root} {root}", f"cd {root}", "mount -t tmpfs tmpfs tmp"]
            closed += [f"mount --bind {shlex.quote(path.lstrip('/'))} {shlex.quote(path.lstrip('/'))}" for path in writable]
        last = [f"mount -o remount,bind,ro {root}"] if read_only else []
        script = "; ".join(["set -e", f"cd {root}", *closed, *self._mounts, *last, f"exec {inside}"])
        return run(["unshare", "--mount", "--propagation", "slave", "sh", "-c", script], log=log, name=f"{self.root.name}: {line}")
