"""`make arm64`: the base package's aarch64 wheels and the bundled models under an emulator, against this machine's answers.

It proves that the wheels install, import and answer the same on the instruction set of a Raspberry Pi or a Jetson; it says nothing
about speed. Debian's first stage gives the Python and the system libraries, user-mode QEMU runs it: no mounts, no chroot.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from importlib.metadata import requires
from pathlib import Path

from compare import ROOT, answers_of, describe, differences, fail, run, write_frames

SUITE = "bookworm"
PYTHON = "3.11"
"""The Python of that Debian."""
ONNXRUNTIME = "1.23.2"
"""The newest seen to run in the emulator: 1.32.0 ends in a segmentation fault there, on import."""
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64", "manylinux_2_17_aarch64")


def requirements() -> list[str]:
    """Give the dependencies of the base install, onnxruntime as it runs in the emulator."""
    base = [own for own in requires("maskedge") or [] if "extra ==" not in own]
    return [f"onnxruntime=={ONNXRUNTIME}" if own.startswith("onnxruntime") else own for own in base]


def make_root(root: Path) -> None:
    """Unpack the system's Python and libraries for aarch64."""
    packages = "--include=python3,libgl1,libglib2.0-0"
    run(["debootstrap", "--arch=arm64", "--foreign", "--variant=minbase", packages, SUITE, root])
    for package in sorted((root / "var/cache/apt/archives").glob("*.deb")):
        run(["dpkg-deb", "-x", package, root])


def make_site(site: Path, wheels: Path) -> None:
    """Unpack the aarch64 wheels of the base install, and the package itself."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    platforms = [part for name in PLATFORMS for part in ("--platform", name)]
    where = ["--only-binary=:all:", "--implementation", "cp", "--python-version", PYTHON, *platforms]
    run([*pip, "download", "-d", wheels, *where, *requirements()])
    run([*pip, "wheel", "--no-deps", "-w", wheels, ROOT])
    for wheel in wheels.glob("*.whl"):
        shutil.unpack_archive(wheel, site, "zip")


def main() -> None:
    """Compare the emulated machine with this one."""
    emulator = shutil.which("qemu-aarch64-static")
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    if emulator is None or shutil.which("debootstrap", path=path) is None:
        fail("an emulator is needed: sudo apt install qemu-user-static debootstrap.")
    os.environ["PATH"] = path
    keep = os.environ.get("MASKEDGE_ARM64")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(keep or temporary).resolve()
        root, site = folder / "root", folder / "site"
        if not root.is_dir():
            make_root(root)
        shutil.rmtree(site, ignore_errors=True)
        make_site(site, folder / "wheels")
        shutil.rmtree(folder / "frames", ignore_errors=True)
        write_frames(folder / "frames")
        ours = answers_of([sys.executable], folder / "frames")
        print(f"here: {describe(ours)}")
        environment = {
            "PYTHONHOME": root / "usr",
            "PYTHONPATH": site,
            "LD_LIBRARY_PATH": root / "usr/lib/aarch64-linux-gnu",
        }
        variables = [part for name, value in environment.items() for part in ("-E", f"{name}={value}")]
        python = root / f"usr/bin/python{PYTHON}"
        theirs = answers_of([str(emulator), "-cpu", "cortex-a72", "-L", root, *variables, python], folder / "frames")
        print(f"emulated: {describe(theirs)}")
        if wrong := differences(ours, theirs):
            fail(f"other answers on aarch64 from {', '.join(wrong)}.")


if __name__ == "__main__":
    main()
