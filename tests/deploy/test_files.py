"""Files of `deploy` and of a release: what they name exists, and the add-on's options become settings."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest

from helpers.support import ROOT
from maskedge.config import load_config

DEPLOY = ROOT / "deploy"
ADDON = DEPLOY / "homeassistant" / "maskedge"


def load(path: Path) -> ModuleType:
    """Return a script as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["debian/edge.toml", "image/edge.toml", "compose/edge.toml"])
def test_every_configuration_is_valid(name: str) -> None:
    assert load_config(DEPLOY / name) is not None


@pytest.mark.parametrize("image", ["edge", "fleet"])
def test_files_that_an_image_copies_exist(image: str) -> None:
    for line in re.findall(r"(?m)^COPY (?!--from)(.+)$", (DEPLOY / f"{image}.Dockerfile").read_text(encoding="utf-8")):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source


@pytest.mark.parametrize("image", ["edge", "fleet"])
def test_images_do_not_run_as_root(image: str) -> None:
    text = (DEPLOY / f"{image}.Dockerfile").read_text(encoding="utf-8")
    assert text.count("FROM ") == 2
    assert text.index("USER 10001:10001") < text.index("ENTRYPOINT")
    assert "HEALTHCHECK" in text


def test_compose_mounts_files_that_exist_and_opens_ports_on_loopback_only() -> None:
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    mounted = re.findall(r"- \./(\S+?):/", text)
    assert mounted
    assert [path for path in mounted if not (DEPLOY / path).exists()] == []
    ports = re.findall(r"ports: \[(.*?)\]", text)
    assert ports
    assert all(port.strip().strip('"').startswith("127.0.0.1:") for line in ports for port in line.split(","))
    assert not re.search(r"(?i)password: *[^{$\s/]", text), "no password is written down"


def test_first_start_creates_each_password_once_and_gives_each_container_its_own(tmp_path: Path) -> None:
    """The script of the container `first-start`, with its programs for users and for the broker replaced."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("chown", "mosquitto_passwd"):
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)
    secrets = tmp_path / "secrets"
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    containers = set(re.findall(r"secrets-([a-z]+):/secrets/for/\1\n", text))
    assert containers == set(re.findall(r"- secrets-([a-z]+):/secrets:ro", text))
    assert text.count("- secrets:") == 1, "first-start alone has all of them"
    for container in containers:
        (secrets / "for" / container).mkdir(parents=True)
    script = (DEPLOY / "compose" / "first-start.sh").read_text(encoding="utf-8").replace("/secrets", str(secrets))
    script = script.replace("/fleet.acl", str(DEPLOY / "mosquitto" / "fleet.acl"))

    def start(*devices: str) -> tuple[int, dict[str, str]]:
        command = ["sh", "-c", script, "first-start.sh", *devices]
        done = subprocess.run(command, env={"PATH": f"{programs}:/usr/bin:/bin"}, capture_output=True, text=True, check=False)
        files = [path for path in secrets.rglob("*") if path.is_file()]
        assert all(path.stat().st_mode & 0o077 == 0 for path in files), "each is readable by its owner only"
        return done.returncode, {str(path.relative_to(secrets)): path.read_text() for path in files}

    code, found = start()
    assert code == 0
    assert start() == (0, found)
    passwords = [found[name].strip() for name in ("token", "device", "fleet", "postgres", "grafana", "reader")]
    assert len({*passwords}) == 6
    assert all(len(password) >= 32 for password in passwords)
    given = {name.removeprefix("for/") for name in found if name.startswith("for/")}
    assert {name for name in given if name.startswith(("edge/", "fleet/"))} == {
        "edge/token", "edge/device", "fleet/fleet", "fleet/postgres"
    }, "the device and the server have the same user"  # fmt: skip
    assert {name.partition("/")[0] for name in given} == containers
    code, later = start("door", "hall_2")
    assert code == 0
    assert later["for/mosquitto/passwd"] == found["for/mosquitto/passwd"] + "".join(
        f"{name}:{later[f'devices/{name}'].strip()}\n" for name in ("door", "hall_2")
    )
    (secrets / "devices" / "door").unlink()
    (secrets / "device").unlink()
    code, changed = start()
    assert "door:" not in changed["for/mosquitto/passwd"], "a device that was removed"
    assert changed["device"] == changed["for/edge/device"] != found["device"], "a new password"
    assert f"device:{changed['device'].strip()}\n" in changed["for/mosquitto/passwd"]
    for name in ("fleet", "device", "a/b", "a:b", "+", ""):
        assert start(name) == (2, changed)


class Supervisor(BaseHTTPRequestHandler):
    """The service of Home Assistant that names the broker."""

    def do_GET(self) -> None:
        allowed = self.headers["Authorization"] == "Bearer right"
        body = {"data": {"host": "core-mosquitto", "port": 1883, "ssl": False, "username": "addons", "password": "secret"}}
        self.send_response(200 if allowed else 401)
        self.end_headers()
        self.wfile.write(json.dumps(body if allowed else {}).encode())

    def log_message(self, *_: object) -> None:
        """Write no log."""


@pytest.fixture
def supervisor() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Supervisor)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/services/mqtt"
    server.shutdown()
    server.server_close()


def test_options_of_the_add_on_are_settings_of_edge_run(supervisor: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    start = load(ADDON / "start.py")
    broker = start.find_broker("right", supervisor)
    options = {"source": "rtsp://camera/1", "detector": "cnn", "anonymize": True, "picture": False, "device_name": "door"}
    for name, value in start.settings(options, broker).items():
        monkeypatch.setenv(name, value)
    config = load_config().config
    assert config.source.uri == "rtsp://camera/1"
    assert config.detect.detector == "cnn"
    assert config.privacy.anonymize
    assert config.sections["web"].proxy == "172.30.32.2"
    assert config.sections["mqtt"].url == "mqtt://core-mosquitto:1883"
    assert config.sections["mqtt"].discovery
    del options["source"]  # an empty field
    assert start.settings(options, {})["MASKEDGE_SOURCE_URI"] == "0"
    own = tmp_path / "edge.toml"
    for text, names_cameras in (
        ("[[camera]]\nname = 'a'\n", True),
        ("[source]\nuri = '1'\n", True),
        ("\ufeff[source]\ncamera = '1'\n", True),
        ("[source]\nuri_file = '/config/address'\n", True),
        ("[source]\nwidth = 640\n", False),
        ("[mqtt]\n", False),
        ("[", False),
    ):
        own.write_text(text, encoding="utf-8")
        assert start.has_cameras(own) is names_cameras
    assert "MASKEDGE_SOURCE_URI" not in start.settings(options, {}, source=""), "the cameras of edge.toml count"
    assert start.find_broker("wrong", supervisor) == {}
    assert start.find_broker("right", "http://127.0.0.1:9/") == {}


def test_a_release_needs_a_version_a_section_of_the_changelog_and_signatures(tmp_path: Path) -> None:
    release = load(ROOT / "tests" / "platforms" / "release.py")
    for name in release.PLACES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    models = tmp_path / "edge" / "maskedge" / "models"
    models.mkdir()
    (models / "one.onnx").write_bytes(b"")
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n\n- New.\n")
    assert release.problems(tmp_path, "1.2") == [
        "1.2 is not a version such as 1.2.3 or 1.2.3rc1",
        "CHANGELOG.md has no section of 1.2",
        "no signature: one.onnx",
    ]
    (models / "one.onnx.sig").write_bytes(b"")
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 1.2.3 - 2026-12-01\n\n- New.\n")
    assert release.problems(tmp_path, "1.2.3") == []
    release.write_version(tmp_path, "1.2.3")
    for name in release.PLACES:
        assert "1.2.3" in (tmp_path / name).read_text(), name


@pytest.mark.parametrize("change", ["missing", "repeated"])
def test_a_release_writes_no_version_unless_each_file_has_all_its_places(tmp_path: Path, change: str) -> None:
    release = load(ROOT / "tests" / "platforms" / "release.py")
    texts = {name: (ROOT / name).read_text(encoding="utf-8") for name in release.PLACES}
    line = 'dependencies = ["maskedge==0.0.0"]\n'
    fleet = re.sub(r"(?m)^dependencies = .*\n", "" if change == "missing" else line + line, texts["fleet/pyproject.toml"])
    texts["fleet/pyproject.toml"] = fleet
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(SystemExit, match=r"error: fleet/pyproject.toml must have one line .* and has [02]\.$"):
        release.write_version(tmp_path, "1.2.3")
    assert {name: (tmp_path / name).read_text(encoding="utf-8") for name in texts} == texts


@pytest.fixture
def maintainer_script(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a script of the Debian package on folders of the test. Programs that change the system print their arguments instead."""
    for name in ("install", "getent", "deluser", "systemctl"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho {name} "$@"\n')
        (tmp_path / name).chmod(0o755)
    (tmp_path / "id").write_text("#!/bin/sh\necho 100\n")
    (tmp_path / "id").chmod(0o755)

    def run(name: str, *arguments: str, **programs: str) -> subprocess.CompletedProcess[str]:
        for program, text in programs.items():
            (tmp_path / program).write_text(f"#!/bin/sh\n{text}\n")
            (tmp_path / program).chmod(0o755)
        script = (DEPLOY / "debian" / name).read_text(encoding="utf-8")
        for folder in ("/etc/systemd/system", "/run/systemd/system", "/var/lib", "/etc/maskedge", "/opt/maskedge"):
            script = script.replace(folder, str(tmp_path))
        command = ["sh", "-c", script, name, *arguments]
        return subprocess.run(command, env={"PATH": f"{tmp_path}:/bin:/usr/bin"}, capture_output=True, text=True, check=False)

    return run


def test_the_debian_package_names_units_that_are_not_its_own(
    tmp_path: Path, maintainer_script: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    said = []
    for program in ("/srv/own", tmp_path, None):
        done = [maintainer_script("postinst", "configure", "0.1.0-1"), maintainer_script("prerm", "remove")]
        assert [(one.returncode, one.stderr) for one in done] == [(0, "")] * 2
        said.append([one.stdout for one in done])
        for name in ("maskedge.service", "maskedge@.service"):
            (tmp_path / name).write_text(f"[Service]\nExecStart={program}/bin/edge-run --wait\n")
    assert "maskedge:" not in "".join(said[0])
    for upgrade, _ in said[1:]:
        assert "maskedge.service replaces the service of this package: remove it" in upgrade
        assert "systemctl try-restart maskedge.service maskedge@*.service" in upgrade
    for line in ("systemctl stop maskedge@*.service", "maskedge@.service stays, without its program"):
        assert [line in removal for _, removal in said] == [False, False, True], "a unit of another installation goes on"


def test_the_debian_package_installs_for_an_account_with_another_group(
    tmp_path: Path, maintainer_script: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = maintainer_script("postinst", "configure", "0.1.0-1")
    assert f"install -d -o maskedge -g 100 -m 0750 {tmp_path}/maskedge" in done.stdout


def test_the_debian_package_is_purged_with_a_disk_on_its_folder(
    tmp_path: Path, maintainer_script: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """`rm` empties a mounted folder, and fails to remove it."""
    refuse = 'case "$*" in -rf*) echo "rm: $*: Device or resource busy" >&2; exit 1;; esac'
    done = maintainer_script("postrm", "purge", rm=refuse)
    assert done.returncode == 0
    assert f"{tmp_path}/private/maskedge" in done.stderr, "the folder of a dynamic user"
    assert "could not be removed: unmount it, then remove it" in done.stdout
    assert "deluser --quiet --system maskedge" in done.stdout


def test_a_debian_package_of_a_pre_release_is_older_than_that_of_the_release() -> None:
    versions = ["1.2.3a1", "1.2.3b2", "1.2.3rc1", "1.2.3rc10", "1.2.3", "1.2.4a1"]
    debian = [load(DEPLOY / "debian" / "deb_package.py").debian_version(version) for version in versions]
    assert debian == ["1.2.3~a1", "1.2.3~b2", "1.2.3~rc1", "1.2.3~rc10", "1.2.3", "1.2.4~a1"]
    if shutil.which("dpkg"):
        for older, newer in pairwise(debian):
            subprocess.run(["dpkg", "--compare-versions", f"{older}-1~trixie", "lt", f"{newer}-1~trixie"], check=True)


def test_requirements_have_hashes() -> None:
    for name in ("edge", "fleet", "ci", "release"):
        text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
        pinned = re.findall(r"(?m)^[a-z0-9][\w.-]*==\S+.*$", text)
        assert pinned
        assert all(line.endswith("\\") for line in pinned), "each requirement has a hash"


def test_the_health_check_of_the_images(supervisor: str) -> None:
    script = DEPLOY / "image" / "healthy.py"
    with socket.create_server(("127.0.0.1", 0)) as other:

        def greet() -> None:
            client, _ = other.accept()
            with client:
                client.sendall(b"SSH-2.0-server\r\n")
                client.recv(1000)

        threading.Thread(target=greet, daemon=True).start()
        for address in (supervisor, "http://127.0.0.1:9/", f"http://127.0.0.1:{other.getsockname()[1]}/", "127.0.0.1:8080"):
            done = subprocess.run([sys.executable, script, address], capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
            assert done.stderr.startswith(f"{address}: ")
