"""`edge-doctor`: checks that this host can run maskedge. It prints one line per check."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maskedge.cli.common import Command, fail, leave_during_imports, silence_libraries
from maskedge.cli.shortage import describe_shortage
from maskedge.errors import MaskedgeError, UsageError
from maskedge.support.install_hint import HEADLESS, OPENCV, SYSTEM_LIBRARIES, pip
from maskedge.support.text import displayable
from maskedge.system.host import host_model
from maskedge.version import VERSION

from .finding import Finding

if TYPE_CHECKING:
    from maskedge.config import Loaded

_FRAME_SIZE = (640, 480)
"""Frame for which the smallest detectable face is reported: width and height in pixels."""


EPILOG = """\b
Each line begins with ok, note (a limitation) or FAIL, and ends with a remedy
where there is one.

\b
Exit codes:
  0        no check failed
  1        a check failed, or a camera of --config cannot be used
  2        wrong usage, or an invalid configuration
  4        a model of the configuration was refused
  130,143  stopped by SIGINT or SIGTERM
"""


@click.command(cls=Command, epilog=EPILOG)
@click.option("--model", type=click.Path(path_type=Path), metavar="FILE", help="Check this model file instead of the bundled ones.")
@click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also check this edge.toml: all errors, alert actions, output folders, disk space. Then try each of its cameras for a "
    "second: size, rate, sharpness, light, smallest face, faces now.",
)
@click.version_option(VERSION)
def main(model: Path | None, file: Path | None) -> None:
    """Check that this host can run maskedge: Python, libraries, models, display and cameras."""
    silence_libraries()
    codes = {0}

    def show(findings: Iterable[Finding], code: int = 1) -> None:
        for finding in findings:
            if finding.state == "FAIL":
                codes.add(code)
            remedy = f"  -> {finding.remedy}" if finding.remedy else ""
            click.echo(displayable(f"{finding.state:5}{finding.text}{remedy}"))

    try:
        for check in (_python, _host, _opencv, _onnxruntime):
            show(check())
        loaded, problems = _load(file)
        show(problems, UsageError.exit_code)
        show(_config(loaded))
        show(_models(model, loaded))
        show(_accelerators(model))
        show(_updates())
        show(_display())
        show(_cameras(loaded))
    except MaskedgeError as error:
        fail(error)
    sys.exit(max(codes))


def _load(file: Path | None) -> tuple[Loaded | None, list[Finding]]:
    """Load the configuration. Return it, if it is valid, and a finding for each error in it."""
    if file is None:
        return None, []
    try:
        from .config_check import read_config
    except ImportError:
        return None, []  # reported by an earlier check
    return read_config(file)


def _config(loaded: Loaded | None) -> Iterator[Finding]:
    if loaded is not None:
        from .config_check import check_config

        yield from check_config(loaded)


def _python() -> Iterator[Finding]:
    text = f"Python {platform.python_version()} at {sys.executable}"
    if (3, 10) <= sys.version_info[:2] <= (3, 13):
        yield Finding("ok", text)
    else:
        yield Finding("note", text, "maskedge is tested with 3.10 to 3.13: use one of these if something fails")


def _host() -> Iterator[Finding]:
    text = f"{host_model()}, {platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"
    if sys.maxsize < 2**32:
        yield Finding("FAIL", f"{text}, 32-bit Python", "onnxruntime has no 32-bit packages: install a 64-bit system")
    else:
        yield Finding("ok", text)


def _opencv() -> Iterator[Finding]:
    names = (distribution.metadata["Name"] or "" for distribution in distributions())
    packages = sorted(
        {name.lower().replace("_", "-") for name in names if re.match(r"opencv[-_](contrib[-_])?python", name, re.IGNORECASE)}
    )
    if len(packages) > 1:
        yield Finding(
            "FAIL",
            f"{len(packages)} OpenCV packages overwrite each other: {', '.join(packages)}",
            f"{pip('uninstall', '-y', *packages)}; {pip('install', OPENCV)} (or {HEADLESS.split('>')[0]}, without windows)",
        )
    try:
        with leave_during_imports():
            import cv2
    except ImportError as error:
        remedy = (
            f"{SYSTEM_LIBRARIES}, or OpenCV without windows (docs/device.md)" if ".so" in str(error) else pip("install", OPENCV)
        )
        yield _not_loaded("OpenCV", error, remedy)
        return
    gstreamer = re.search(r"GStreamer:\s*(\w+)", cv2.getBuildInformation())
    has = "yes" if gstreamer and gstreamer[1] == "YES" else "no (CSI cameras of a Jetson need the OpenCV of JetPack)"
    package = f" from {packages[0]}" if len(packages) == 1 else ""
    yield Finding("ok", f"OpenCV {cv2.__version__}{package}, GStreamer: {has}")
    if not hasattr(cv2, "CascadeClassifier"):
        yield Finding("FAIL", f"OpenCV {cv2.__version__} has no CascadeClassifier", pip("install", OPENCV))
        return
    try:
        with leave_during_imports():
            from maskedge.vision.detectors.cascade import CascadeDetector
    except ImportError:
        return  # it needs onnxruntime, too, which has a check of its own
    try:
        cascade = CascadeDetector.default()
        yield Finding("ok", f"face cascade {cascade.path.name}: {_finds(cascade.smallest_face(*_FRAME_SIZE))}")
    except MaskedgeError as error:
        yield Finding("FAIL", str(error), pip("install", "--force-reinstall", OPENCV))


def _onnxruntime() -> Iterator[Finding]:
    try:
        with leave_during_imports():
            import onnxruntime
    except ImportError as error:
        yield _not_loaded("onnxruntime", error, pip("install", "onnxruntime>=1.20"))
        return
    yield Finding("ok", f"onnxruntime {onnxruntime.__version__}, providers: {', '.join(onnxruntime.get_available_providers())}")


def _not_loaded(library: str, error: ImportError, remedy: str) -> Finding:
    if shortage := describe_shortage(error):
        reason, _, remedy = shortage.partition(": ")
    else:
        # NumPy puts a page of advice before the cause.
        reason = " ".join(str(error).rpartition("Original error was: ")[2].split())
    return Finding("FAIL", f"{library} cannot be loaded ({reason})", remedy)


def _finds(side: float) -> str:
    return f"finds faces from {side:.0f} pixels in a picture of {_FRAME_SIZE[0]} x {_FRAME_SIZE[1]}"


def _models(chosen: Path | None, loaded: Loaded | None) -> Iterator[Finding]:
    try:
        from maskedge.modelfile.precision import bundled_classifier, bundled_detector
    except ImportError:
        return  # reported by an earlier check
    keys: tuple[Path, ...] = ()
    if loaded is not None:
        from maskedge.modelfile.trusted import trust_keys

        keys = loaded.config.model.trusted_keys
        trust_keys(keys)
    for path in (chosen,) if chosen else (bundled_classifier(), bundled_detector()):
        yield from _model(path, keys)


def _model(path: Path, keys: Sequence[Path]) -> Iterator[Finding]:
    try:
        from maskedge.modelfile.trusted import describe_signature
        from maskedge.vision.classifier import MaskClassifier
        from maskedge.vision.detectors.network import CnnDetector
        from maskedge.vision.self_test import verify
    except ImportError:
        return  # reported by an earlier check
    try:
        found = verify(path)
        signature = describe_signature(path, path.read_bytes(), keys)
        facts = f"model {path.name}: {', '.join(found.labels)}"
        if found.kind == "detector":
            facts += f"; {_finds(CnnDetector(path).smallest_face(*_FRAME_SIZE))}"
        else:
            facts += f"; {_operating_points(MaskClassifier(path).contract.card)}"
    except MaskedgeError as error:
        yield Finding("FAIL", f"model: {error}")
        return
    facts += f"; checksum verified ({', '.join(found.checksums)})" if found.checksums else "; no checksum recorded"
    facts += f"; {signature or 'not signed'}"
    facts += f"; self-test on {found.inputs} faces: largest difference {found.worst:.1e}"
    if found.passed:
        yield Finding("ok", facts)
    else:
        remedy = "this onnxruntime computes different results: install another version, or export the model again"
        yield Finding("FAIL", f"{facts}, allowed {found.tolerance:g}; {found.changed} answers changed", remedy)


def _accelerators(chosen: Path | None) -> Iterator[Finding]:
    """Try the classifier on each accelerator of the installed onnxruntime."""
    try:
        from maskedge.modelfile.onnx_session import available_accelerators
        from maskedge.vision.acceleration import try_accelerator
        from maskedge.vision.classifier import MaskClassifier
    except ImportError:
        return  # reported by an earlier check
    for name in available_accelerators():
        try:
            classifier = MaskClassifier(chosen)
        except MaskedgeError:
            return  # reported by an earlier check, or a detector
        trial = try_accelerator(classifier, name, keep=lambda _: True)
        if trial.problem:
            yield Finding("note", f"accelerator {name}: {trial.problem}", "model.provider = auto or cpu uses the processor")
        else:
            yield Finding("ok", f"accelerator {name}: same outputs, {trial.ratio:.1f} times the time of the processor")


def _operating_points(card: Mapping[str, Any]) -> str:
    """Return the face thresholds that a classifier carries, such as `haar webcam: balanced 0.94`."""
    texts = [
        f"{detector} {domain}: {', '.join(f'{name} {threshold:g}' for name, threshold in own['points'].items())}"
        for detector, domains in card.get("operating_points", {}).items()
        for domain, own in domains.items()
    ]
    return f"face thresholds ({'; '.join(texts)})" if texts else "no face thresholds of its own"


def _updates() -> Iterator[Finding]:
    """Check the models that the fleet has brought to this device."""
    try:
        from maskedge.remote.model_store import UPDATED_KINDS, ModelStore
        from maskedge.system.state_folder import state_folder
    except ImportError:
        return  # reported by an earlier check
    try:
        store = ModelStore(state_folder() / "models")
    except UsageError as error:
        # Only updates and MQTT need it.
        problem, _, remedy = str(error).partition(": ")
        yield Finding("note", problem, remedy)
        return
    for kind in UPDATED_KINDS:
        state = store.state(kind)
        if state.active is None:
            continue
        before = "the bundled one" if state.previous is None else f"release {state.previous.release}"
        text = f"updated {kind} in {store.folder}: release {state.active.release} ({state.active.sha256[:12]}), before it {before}"
        problem = store.problem(state.active)
        if problem:
            yield Finding("FAIL", f"{text}: {problem}", f"edge-run uses {before} instead: update the model again")
        else:
            yield Finding("ok", text if state.confirmed else f"{text}; not confirmed yet")


def _display() -> Iterator[Finding]:
    try:
        from maskedge.sinks.window import display_problem
    except ImportError:
        return
    problem = display_problem()
    yield (
        Finding("note", problem, "edge-run works without a window: use --save, --events or --serve")
        if problem
        else Finding("ok", "display available")
    )


def _cameras(loaded: Loaded | None) -> Iterator[Finding]:
    try:
        from maskedge.sources import list_cameras
    except ImportError:
        return
    if loaded is not None:
        from .camera_check import check_cameras

        yield from check_cameras(loaded)
    cameras = list_cameras()
    for camera in cameras:
        device = Path(camera.split(" ")[0])
        if os.access(device, os.R_OK | os.W_OK):
            yield Finding("ok", f"camera {camera}")
        else:
            yield Finding(
                "note",
                f"camera {camera}: this user may not open it",
                "sudo usermod -aG video $USER, then log in again",
            )
    if not cameras:
        yield Finding("note", "no camera found", "plug one in, or use --source FILE or --source demo")
