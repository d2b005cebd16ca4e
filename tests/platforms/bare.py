"""`make bare`: run the README's commands on new Debian systems.

The systems have only the packages that the README names.

Usage: python3 bare.py SUITE[:TARGET,...] ...    needs root and debootstrap

By default the targets are `run`, `test-edge` and, where the index has a CPU build of PyTorch,
`test`. An ordinary user runs them in a folder with a blank in its name, with a strict umask and
without a locale. The settings of this machine's apt and pip apply. Local folders that they name are
mounted read-only. MASKEDGE_BARE names a folder that keeps the systems and logs.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]
TARGETS = ("run", "test-edge", "test")
HOME = Path("/home/ordinary user")
CHECKOUT = HOME / "mask edge"
USER = 1234
"""ID of the ordinary user and of the group."""


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


def packages() -> list[str]:
    """Return the Debian packages that the README names."""
    named = re.search(r"sudo apt install ([\w.+ -]+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    if named is None:
        fail("README.md names no packages.")
    return named[1].split()


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


def make_system(root: Path, suite: str, names: Sequence[str]) -> None:
    """Create the system, with the packages and the ordinary user."""
    mirror, proxy = apt_settings()
    run(["debootstrap", "--variant=minbase", suite, root, *mirror])
    (root / "etc/apt/apt.conf.d/proxy").write_text(proxy, encoding="utf-8")
    for name in ("resolv.conf", "hosts"):
        shutil.copy(Path("/etc") / name, root / "etc" / name)
    in_root = ["chroot", root, "env", "DEBIAN_FRONTEND=noninteractive"]
    run([*in_root, "apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *names])
    run(["chroot", root, "groupadd", "--gid", str(USER), "ordinary"])
    run(["chroot", root, "useradd", "--uid", str(USER), "--gid", str(USER), "--home-dir", HOME, "--create-home", "ordinary"])


def copy_project(checkout: Path) -> None:
    """Copy the files that git tracks or would add, as they are in the working tree."""
    listed = run(["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, checkout / name)


class Bare:
    """A bare system with the project.

    Args:
        root: Folder of the system.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        settings, paths = pip_settings()
        passed = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy") or name == "TORCH_INDEX"}
        self._environment = {"HOME": str(HOME), "PATH": "/usr/bin:/bin", **settings, **passed}
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

    def command(self, line: str, *, log: Path | None = None) -> str:
        """Run a shell command as the ordinary user in the project's folder. Return its output."""
        inside = shlex.join(
            ["chroot", f"--userspec={USER}:{USER}", ".", "env", "-i"]
            + [f"{name}={value}" for name, value in self._environment.items()]
            + ["sh", "-c", f"umask 077; cd {shlex.quote(str(CHECKOUT))}; {line}"]
        )
        # The mounts exist only for this command. Removing the folder later removes no file of this
        # machine.
        script = "; ".join(["set -e", f"cd {shlex.quote(str(self._root))}", *self._mounts, f"exec {inside}"])
        return run(["unshare", "--mount", "--propagation", "slave", "sh", "-c", script], log=log, name=f"{self._root.name}: {line}")


def try_suite(suite: str, targets: Sequence[str], folder: Path) -> None:
    """Run make targets on a bare system; without `targets`, the default ones."""
    root, names = folder / suite, packages()
    start = time.monotonic()
    if not root.is_dir():
        make_system(root, suite, names)
    checkout = root / CHECKOUT.relative_to("/")
    copy_project(checkout)
    run(["chroot", root, "chown", "-R", f"{USER}:{USER}", HOME])
    print(f"{suite}: created with {' '.join(names)} in {time.monotonic() - start:.0f} s", flush=True)
    bare = Bare(root)
    for target in targets or TARGETS:
        if target == "test" and not targets and "CUDA" in bare.command(".venv/bin/python tests/platforms/preflight.py dev"):
            print(f"{suite}: make test skipped: the index has no CPU build of PyTorch (TORCH_INDEX=... names one that has)")
            continue
        start = time.monotonic()
        lines = bare.command(f"make {target}", log=folder / f"{suite}-{target}.log").strip().splitlines()
        print(f"{suite}: make {target} in {time.monotonic() - start:.0f} s: {lines[-1].strip('= ')}", flush=True)
        print("".join(f"  {line}\n" for line in lines if line.startswith("SKIPPED")), end="", flush=True)


def main(words: Sequence[str]) -> None:
    """Try each suite in turn."""
    os.environ["PATH"] = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    if os.getuid() != 0 or shutil.which("debootstrap") is None:
        fail("root and debootstrap are needed: sudo apt install debootstrap, then sudo make bare")
    keep = os.environ.get("MASKEDGE_BARE")
    with tempfile.TemporaryDirectory(prefix="bare-") as temporary:
        for word in words:
            suite, _, targets = word.partition(":")
            try_suite(suite, targets.split(",") if targets else (), Path(keep or temporary).resolve())


if __name__ == "__main__":
    main(sys.argv[1:] or ("bookworm", "trixie"))
