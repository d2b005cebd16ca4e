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
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from debian_root import ROOT, DebianRoot, copy_project, fail, make_root, run

TARGETS = ("run", "test-edge", "test")
HOME = Path("/home/ordinary user")
CHECKOUT = HOME / "mask edge"
USER = 1234
"""ID of the ordinary user and of the group."""


def packages() -> list[str]:
    """Return the Debian packages that the README names."""
    named = re.search(r"sudo apt install ([\w.+ -]+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    if named is None:
        fail("README.md names no packages.")
    return named[1].split()


def make_system(root: Path, suite: str, names: Sequence[str]) -> None:
    """Create the system, with the packages and the ordinary user."""
    make_root(root, suite, names)
    run(["chroot", root, "groupadd", "--gid", str(USER), "ordinary"])
    run(["chroot", root, "useradd", "--uid", str(USER), "--gid", str(USER), "--home-dir", HOME, "--create-home", "ordinary"])


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
    bare = DebianRoot(root, {"HOME": str(HOME)}, user=USER, folder=str(CHECKOUT))
    for target in targets or TARGETS:
        if (
            target == "test"
            and not targets
            and "CUDA" in bare.command(".venv/bin/python tests/platforms/preflight.py dev", umask="077")
        ):
            print(f"{suite}: make test skipped: the index has no CPU build of PyTorch (TORCH_INDEX=... names one that has)")
            continue
        start = time.monotonic()
        lines = bare.command(f"make {target}", log=folder / f"{suite}-{target}.log", umask="077").strip().splitlines()
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
