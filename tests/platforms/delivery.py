"""`make delivery`: build everything that this machine can build, and install each result in a fresh system.

Usage: python3 delivery.py [PART ...]    needs root and debootstrap; parts: packages, wheels, deb, images, files, size

The Debian systems are minimal ones, made with debootstrap. Prints sizes and times.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "deploy" / "debian"))

from deb_package import build as build_deb
from debian_root import ROOT, DebianRoot, fail, make_root, run
from images import build_image

SUITES = ("bookworm", "trixie")
LARGEST_IMAGE = 450
"""Largest image of the device, in megabytes."""
LARGEST_BASE = 330
"""Largest base environment, in megabytes on disk."""
LARGEST_WHEEL = 1.8
"""Largest wheel of the device, in megabytes."""
TOOLS = ("build", "twine", "cyclonedx-bom", "check-jsonschema", "PyYAML")
DEMO = "edge-run --source demo --max-frames 40 --no-show --events {folder}/events.jsonl --overwrite"


def check(*, true: bool, message: str) -> None:
    """Exit with the message unless the condition holds."""
    if not true:
        fail(message)


def venv(folder: Path, *packages: str | Path, pip: bool = True) -> Path:
    """Return the commands of a new environment with some packages."""
    run([sys.executable, "-m", "venv", folder])
    if packages:
        run([folder / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages])
    if not pip:
        run([folder / "bin/python", "-m", "pip", "uninstall", "--quiet", "--yes", "pip", "setuptools"])
    return folder / "bin"


def try_packages(folder: Path) -> None:
    """Build wheels and source distributions, check them, and write the software bill of materials."""
    tools = venv(folder / "tools", *TOOLS)
    output = folder / "index"
    for project in (ROOT, ROOT / "workstation", ROOT / "fleet"):
        # The workstation's and the server's source distributions are parts of the repository, so they have wheels only.
        kinds = () if project == ROOT else ("--wheel",)
        run([tools / "python", "-m", "build", *kinds, "--outdir", output, project])
    files = sorted(output.iterdir())
    run([tools / "python", "-m", "twine", "check", "--strict", *files])
    for path in files:
        print(f"  {path.name}: {path.stat().st_size / 1e6:.2f} MB")
    (device,) = output.glob("maskedge-*.whl")
    check(true=device.stat().st_size <= LARGEST_WHEEL * 1e6, message=f"{device.name} is larger than {LARGEST_WHEEL} MB.")
    base = venv(folder / "sbom", device)
    bill = folder / "maskedge.cdx.json"
    run([tools / "python", "-m", "cyclonedx_py", "environment", "--output-file", bill, base / "python"])
    parts = json.loads(bill.read_text(encoding="utf-8"))["components"]
    print(
        f"  software bill of materials: {len(parts)} components, {sum(1 for part in parts if part.get('licenses'))} with licences"
    )


def try_wheels(_: Path) -> None:
    """Try the wheels on the oldest and the newest Python."""
    print(run([sys.executable, ROOT / "tests/platforms/wheel.py"]), end="")


def try_deb(folder: Path) -> None:
    """Build the Debian package of each release; install, run, upgrade, remove and purge it in a fresh system."""
    for suite in SUITES:
        started = time.monotonic()
        first = build_deb(suite, folder, folder / f"build-{suite}")
        second = build_deb(suite, folder, folder / f"build-{suite}", revision=2)
        root = folder / f"system-{suite}"
        make_root(root, suite, ["systemd", "adduser"])
        for package in (first, second):
            shutil.copy(package, root / package.name)
        system = DebianRoot(root, {"DEBIAN_FRONTEND": "noninteractive", "HOME": "/root"})
        system.command(f"apt-get install -q -y --no-install-recommends /{first.name}")
        system.command(DEMO.format(folder="/root"))
        system.command("runuser -u maskedge -- edge-run --config /etc/maskedge/edge.toml --print-config")
        verify_unit(system)
        settings = root / "etc/maskedge/edge.toml"
        settings.write_text(settings.read_text(encoding="utf-8").replace('camera = "0"', 'camera = "1"'), encoding="utf-8")
        (root / "var/lib/maskedge/history.sqlite3").write_bytes(b"kept")
        system.command(f"apt-get install -q -y --no-install-recommends /{second.name}")
        check(true='camera = "1"' in settings.read_text(encoding="utf-8"), message="the upgrade replaced edge.toml.")
        system.command("edge-doctor || test $? -eq 1")
        installed = int(run(["du", "-sk", root / "opt/maskedge"]).split()[0]) / 1000
        system.command("apt-get remove -q -y maskedge")
        check(true=settings.is_file(), message="the removal deleted edge.toml.")
        check(true=not (root / "opt/maskedge").exists(), message="the removal left /opt/maskedge.")
        system.command("apt-get purge -q -y maskedge")
        left = [path for path in ("etc/maskedge", "var/lib/maskedge", "opt/maskedge") if (root / path).exists()]
        check(true=not left, message=f"the purge left {', '.join(left)}.")
        check(true="maskedge" not in (root / "etc/passwd").read_text(), message="the purge left the user maskedge.")
        seconds = time.monotonic() - started
        facts = f"{first.stat().st_size / 1e6:.1f} MB, {installed:.0f} MB installed"
        print(f"  {first.name}: {facts}; installed, upgraded, purged ({seconds:.0f} s)")
        shutil.rmtree(root)


def verify_unit(system: DebianRoot) -> None:
    """Check the unit with systemd's own tools."""
    output = system.command("systemd-analyze verify /usr/lib/systemd/system/maskedge.service 2>&1 || true")
    wrong = [line for line in output.splitlines() if "maskedge" in line and "man page" not in line]
    check(true=not wrong, message=f"systemd-analyze verify: {'; '.join(wrong)}")
    output = system.command(
        "systemd-analyze security --offline=true /usr/lib/systemd/system/maskedge.service 2>&1 | tail -1 || true"
    )
    exposure = re.search(r"Overall exposure level.*?: ([\d.]+)", output)
    print(f"  unit: verified; exposure {exposure[1] if exposure else 'not measured'} of 10")


def try_images(folder: Path) -> None:
    """Build the images and run their entry points as their user, on a read-only file system."""
    for name, checks in (
        ("edge", (DEMO.format(folder="/var/lib/maskedge"), "edge-doctor || test $? -eq 1")),
        ("fleet", FLEET_CHECKS),
    ):
        started = time.monotonic()
        image = build_image(ROOT / "deploy" / f"{name}.Dockerfile", folder)
        check(true=image.user == "10001:10001", message=f"the image {name} runs as {image.user or 'root'}.")
        entry = " ".join(image.entrypoint)
        for line in (f"{entry} --version", f"{entry} --help", *checks):
            image.run(line)
        image.run("! touch /opt/maskedge/x 2>/dev/null && ! touch /etc/x 2>/dev/null")
        seconds, size = time.monotonic() - started, image.megabytes
        print(f"  image {name}: {size:.0f} MB, non-root, read-only root; entry point runs ({seconds:.0f} s)")
        check(
            true=name != "edge" or size <= LARGEST_IMAGE, message=f"the image {name} has {size:.0f} MB, more than {LARGEST_IMAGE}."
        )


FLEET_CHECKS = (
    "edge-fleet migrate --database sqlite:////var/lib/maskedge/fleet.sqlite3",
    "(edge-fleet web --database sqlite:////var/lib/maskedge/fleet.sqlite3 --serve 127.0.0.1:18090 & server=$!;"
    " for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 1;"
    " python /opt/maskedge/bin/healthy.py http://127.0.0.1:18090/healthz && break; done; code=$?; kill $server; exit $code)",
)


def try_files(folder: Path) -> None:
    """Check the compose file, the workflows and the add-on against their schemas; build the site."""
    tools = folder / "tools/bin"
    if not tools.is_dir():
        tools = venv(folder / "tools", *TOOLS)
    for schema, paths in (
        ("vendor.compose-spec", [ROOT / "deploy/compose.yaml"]),
        ("vendor.github-workflows", sorted((ROOT / ".github/workflows").glob("*.yml"))),
        ("vendor.dependabot", [ROOT / ".github/dependabot.yml"]),
    ):
        run([tools / "check-jsonschema", "--builtin-schema", schema, *paths])
    run(
        [
            tools / "check-jsonschema",
            "--schemafile",
            ROOT / "tests/platforms/addon.schema.json",
            ROOT / "deploy/homeassistant/maskedge/config.yaml",
        ]
    )
    print("  compose file, workflows, add-on: valid")
    # Editable, so that the commands of all packages can be imported.
    docs = venv(folder / "docs", "-e", f"{ROOT}[docs,fleet]", "-c", ROOT / "constraints.txt")
    run([docs / "python", "-m", "mkdocs", "build", "--strict", "--config-file", ROOT / "mkdocs.yml", "--site-dir", folder / "site"])
    print("  documentation site: strict")


def try_size(folder: Path) -> None:
    """Measure the base environment as `make run` installs it, with the newest packages, and without windows."""
    pinned = ("--no-compile", "-c", ROOT / "constraints.txt")
    headless = "opencv-python-headless>=4.10,<5"
    for number, (name, options, windows) in enumerate(
        (
            ("as make run installs it", pinned, True),
            ("the same without windows", pinned, False),
            ("newest packages, with bytecode", (), True),
        )
    ):
        place = folder / f"size-{number}"
        venv(place, *options, ROOT, pip=False)
        if not windows:
            pip = [sys.executable, "-m", "pip", "--python", place / "bin/python"]
            run([*pip, "uninstall", "--quiet", "--yes", "opencv-python"])
            run([*pip, "install", "--quiet", "--disable-pip-version-check", "--no-compile", headless])
        run([place / "bin/edge-run", "--source", "demo", "--max-frames", "5", "--no-show", "--events", folder / f"{number}.jsonl"])
        total = size_of(place)
        (site,) = place.glob("lib/python3*/site-packages")
        parts = {part: sum(map(size_of, site.glob(f"{part}*"))) for part in ("cv2", "opencv", "onnxruntime", "numpy", "maskedge")}
        parts["cv2"] += parts.pop("opencv")
        shares = ", ".join(f"{part} {size:.0f}" for part, size in parts.items())
        print(f"  base environment, {name}: {total:.0f} MB ({shares})")
        check(
            true=number > 0 or total <= LARGEST_BASE, message=f"the base environment has {total:.0f} MB, more than {LARGEST_BASE}."
        )


def size_of(path: Path) -> float:
    """Return the size of a folder on disk, in megabytes."""
    return int(run(["du", "-sk", path]).split()[0]) / 1000


PARTS: dict[str, Callable[[Path], None]] = {
    "packages": try_packages,
    "wheels": try_wheels,
    "deb": try_deb,
    "images": try_images,
    "files": try_files,
    "size": try_size,
}


def main(names: Sequence[str]) -> None:
    """Run the parts in turn."""
    os.environ["PATH"] = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    os.umask(0o022)
    if unknown := set(names) - set(PARTS):
        fail(f"unknown part {', '.join(unknown)}: choose from {', '.join(PARTS)}.")
    if os.getuid() != 0 or shutil.which("debootstrap") is None:
        fail("root and debootstrap are needed: sudo apt install debootstrap, then sudo make delivery")
    keep = os.environ.get("MASKEDGE_DELIVERY")
    with tempfile.TemporaryDirectory(prefix="delivery-") as temporary:
        folder = Path(keep or temporary).resolve()
        folder.mkdir(exist_ok=True)
        for name in names or PARTS:
            started = time.monotonic()
            print(f"{name}:", flush=True)
            PARTS[name](folder)
            print(f"  done in {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
