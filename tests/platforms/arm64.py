"""`make arm64`: run the base package and the bundled models on emulated aarch64.

The aarch64 wheels must install, import and return the same outputs as on this machine. The emulator
does not show the speed. Python and the system libraries come from the first stage of debootstrap,
and user-mode QEMU runs them without mounts and without chroot.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from importlib.metadata import requires
from pathlib import Path

from compare import ROOT, describe, differences, fail, outputs_of, run, write_frames

SUITE = "bookworm"
PYTHON = "3.11"
"""The Python of that Debian release."""
ONNXRUNTIME = "1.23.2"
"""The newest version known to run in the emulator: 1.32.0 crashes there on import."""
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64", "manylinux_2_17_aarch64")


def requirements() -> list[str]:
    """Return the dependencies of the base install. The emulator can run their onnxruntime."""
    base = [own for own in requires("maskedge") or [] if "extra ==" not in own]
    return [f"onnxruntime=={ONNXRUNTIME}" if own.startswith("onnxruntime") else own for own in base]


def make_root(root: Path) -> None:
    """Unpack Python and the system libraries for aarch64."""
    packages = "--include=python3,libgl1,libglib2.0-0"
    run(["debootstrap", "--arch=arm64", "--foreign", "--variant=minbase", packages, SUITE, root])
    for package in sorted((root / "var/cache/apt/archives").glob("*.deb")):
        run(["dpkg-deb", "-x", package, root])


def make_site(site: Path, wheels: Path) -> None:
    """Unpack the aarch64 wheels of the base install, and the package's own wheel."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    platforms = [part for name in PLATFORMS for part in ("--platform", name)]
    where = ["--only-binary=:all:", "--implementation", "cp", "--python-version", PYTHON, *platforms]
    run([*pip, "download", "-d", wheels, *where, *requirements()])
    run([*pip, "wheel", "--no-deps", "-w", wheels, ROOT])
    for wheel in wheels.glob("*.whl"):
        shutil.unpack_archive(wheel, site, "zip")


def main() -> None:
    """Compare the outputs of the emulated machine with this machine's."""
    emulator = shutil.which("qemu-aarch64-static")
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    if emulator is None or shutil.which("debootstrap", path=path) is None:
        fail("qemu-aarch64-static or debootstrap is missing: sudo apt install qemu-user-static debootstrap")
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
        ours = outputs_of([sys.executable], folder / "frames")
        print(f"here: {describe(ours)}")
        environment = {
            "PYTHONHOME": root / "usr",
            "PYTHONPATH": site,
            "LD_LIBRARY_PATH": root / "usr/lib/aarch64-linux-gnu",
        }
        variables = [part for name, value in environment.items() for part in ("-E", f"{name}={value}")]
        python = root / f"usr/bin/python{PYTHON}"
        theirs = outputs_of([str(emulator), "-cpu", "cortex-a72", "-L", root, *variables, python], folder / "frames")
        print(f"emulated: {describe(theirs)}")
        if wrong := differences(ours, theirs):
            fail(f"outputs differ on aarch64: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
