"""`make deb`: build the Debian package of the device.

Usage: python3 deb_package.py SUITE [--output FOLDER]    needs root and debootstrap

The package has a Python environment of its own in /opt/maskedge, made with the Python of the Debian
release, so there is one package for each release. It is built in a minimal system of that release,
with the pinned requirements of requirements/edge.txt.
"""

from __future__ import annotations

import argparse
import gzip
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parents[1] / "tests" / "platforms"))

from debian_root import ROOT, DebianRoot, copy_project, fail, make_root  # noqa: E402

PACKAGES = ("python3", "python3-venv")
COMMANDS = ("edge-run", "edge-doctor")
SCRIPTS = ("postinst", "prerm", "postrm")
_PIP = "/opt/tools/bin/pip --python /opt/maskedge/bin/python install --quiet --no-compile"
INSTALL = (
    "python3 -m venv --without-pip /opt/maskedge && python3 -m venv /opt/tools"
    f" && {_PIP} --require-hashes -r /src/requirements/edge.txt && {_PIP} --no-deps /src"
)
UNIT = (
    "/opt/maskedge/bin/python -c 'from pathlib import Path; from maskedge.system.systemd_unit import build_unit;"
    ' print(build_unit(command=Path("/opt/maskedge/bin/edge-run"), user="maskedge"), end="")\''
)


def project_version() -> str:
    """Return the version of the project."""
    text = (ROOT / "edge/maskedge/version.py").read_text(encoding="utf-8")
    found = re.search(r'VERSION = "([^"]+)"', text)
    if found is None:
        fail("edge/maskedge/version.py has no VERSION.")
    return found[1]


def debian_version(version: str) -> str:
    """Return a version as dpkg orders it: a pre-release such as 1.2.3rc1 is 1.2.3~rc1, which is older than 1.2.3."""
    return re.sub(r"(?<=\d)(?=(?:a|b|rc)\d+$)", "~", version)


def build(suite: str, output: Path, root: Path, revision: int = 1) -> Path:
    """Build the package of a release.

    Args:
        suite: Name of the Debian release.
        output: Folder for the package.
        root: Folder for the system. An existing one is used again.
        revision: Revision of the package.

    Returns:
        Path of the package.
    """
    if not root.is_dir():
        make_root(root, suite, PACKAGES)
    system = DebianRoot(root)
    if not (root / "opt/maskedge").is_dir():
        copy_project(root / "src")
        (root / "etc/maskedge").mkdir(exist_ok=True)
        shutil.copy(HERE / "edge.toml", root / "etc/maskedge/edge.toml")
        system.command(INSTALL)
    tree = root / "package"
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(root / "opt/maskedge", tree / "opt/maskedge", symlinks=True)
    _put(tree / "usr/lib/systemd/system/maskedge.service", system.command(UNIT))
    _put(tree / "etc/maskedge/edge.toml", (HERE / "edge.toml").read_text(encoding="utf-8"))
    _put(tree / "usr/share/doc/maskedge/copyright", (HERE / "copyright").read_text(encoding="utf-8"))
    changes = gzip.compress((ROOT / "CHANGELOG.md").read_bytes(), mtime=0)
    (tree / "usr/share/doc/maskedge/changelog.gz").write_bytes(changes)
    (tree / "usr/bin").mkdir()
    for command in COMMANDS:
        (tree / "usr/bin" / command).symlink_to(f"/opt/maskedge/bin/{command}")
    version = f"{debian_version(project_version())}-{revision}~{suite}"
    architecture = system.command("dpkg --print-architecture").strip()
    python = system.command("python3 -c 'import sys; print(sys.version_info.minor)'").strip()
    size = sum(path.lstat().st_size for path in tree.rglob("*")) // 1024
    control = (HERE / "control").read_text(encoding="utf-8").format(
        version=version, architecture=architecture, size=size, python=f"3.{python}", next_python=f"3.{int(python) + 1}"
    )  # fmt: skip
    _put(tree / "DEBIAN/control", control)
    _put(tree / "DEBIAN/conffiles", "/etc/maskedge/edge.toml\n")
    for script in SCRIPTS:
        _put(tree / "DEBIAN" / script, (HERE / script).read_text(encoding="utf-8"))
        (tree / "DEBIAN" / script).chmod(0o755)
    name = f"maskedge_{version}_{architecture}.deb"
    system.command(f"dpkg-deb --build --root-owner-group -Zzstd /package /{name}")
    output.mkdir(parents=True, exist_ok=True)
    shutil.move(root / name, output / name)
    shutil.rmtree(tree)
    return output / name


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o644)


def main() -> None:
    """Build the package of each release that is named."""
    parser = argparse.ArgumentParser(description="Build the Debian package of the device.")
    parser.add_argument("suites", nargs="+", metavar="SUITE")
    parser.add_argument("--output", type=Path, default=ROOT / "dist")
    options = parser.parse_args()
    os.environ["PATH"] = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    os.umask(0o022)
    if os.getuid() != 0 or shutil.which("debootstrap") is None:
        fail("root and debootstrap are needed: sudo apt install debootstrap, then sudo make deb")
    for suite in options.suites:
        with tempfile.TemporaryDirectory(prefix="deb-") as temporary:
            package = build(suite, options.output, Path(temporary) / suite)
        print(f"{package}: {package.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
