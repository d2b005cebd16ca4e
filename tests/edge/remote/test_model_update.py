"""Updates of the model of a running device: what is taken, what is refused, and the way back."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.fleet.model_updates import (
    ModelServer,
    disagreeing,
    failing,
    key_pair,
    offer,
    other_contract,
    other_labels,
    running,
    same_model,
    slower,
)
from helpers.support import write_model
from maskedge.errors import MaskedgeError, ModelError, OutputError, UsageError
from maskedge.modelfile.contract import default_detector, default_model
from maskedge.modelfile.signature import load_private_key, parse_signature, sign_model
from maskedge.remote.model_trial import TrialLimits
from maskedge.remote.model_update import ModelUpdater
from maskedge.vision.pipeline import MaskDetector
from maskedge.vision.worker import DetectionWorker


def limits(**changes: float) -> TrialLimits:
    """Return limits for a quick trial on a busy machine."""
    quick: dict[str, Any] = {
        "latency_ratio": 10.0,
        "frames": 2,
        "frames_seconds": 60.0,
        "confirm_seconds": 0.4,
        "report_seconds": 60.0,
    }
    return TrialLimits(**{**quick, **changes})


LIMITS = limits()


@dataclass
class Reports:
    """The reported stages."""

    stages: list[str] = field(default_factory=list)
    details: list[Mapping[str, Any]] = field(default_factory=list)

    def __call__(self, stage: str, sentence: str, details: Mapping[str, Any]) -> None:
        assert sentence.endswith(".")
        self.stages.append(stage)
        self.details.append(details)


@dataclass
class Device:
    """A device with trusted keys, and a server."""

    folder: Path
    server: ModelServer
    private: Path
    public: Path

    @property
    def key(self) -> Any:
        return load_private_key(self.private)

    def updater(self, within: TrialLimits = LIMITS, fixed: Mapping[str, str] | None = None) -> ModelUpdater:
        return ModelUpdater(self.folder, [self.public], ca_file=self.server.ca_file, limits=within, fixed=fixed)

    def offer(self, content: bytes, release: int, kind: str = "classifier") -> dict[str, Any]:
        return offer(self.server, content, self.key, release, kind)


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    server = ModelServer(tmp_path)
    key_pair(tmp_path)
    yield Device(tmp_path / "state", server, tmp_path / "key", tmp_path / "key.pub")
    server.close()


def start(updater: ModelUpdater, *, asynchronous: bool = False) -> MaskDetector:
    """Open the models as edge-run does, and track."""
    detector = updater.open(lambda classifier, network: MaskDetector(classifier, detector_model=network, detect_every=2))
    detector.start_tracking(asynchronous=asynchronous)
    return detector


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_running_device_goes_over_to_a_new_model_without_losing_a_track(device: Device, asynchronous: bool) -> None:
    updater, reports, content = device.updater(), Reports(), same_model("new")
    detector = start(updater, asynchronous=asynchronous)
    with running(detector) as camera:
        camera.wait_for(30)
        frames = camera.frames[0]
        before = {face.track for face in camera.faces[0]}
        sentence = updater.update(device.offer(content, 1), reports, "command-1")
        assert camera.frames[0] > frames
        camera.wait_for(10)
        assert {face.track for face in camera.faces[0]} & before
        assert camera.failure is None
    assert "release 1, confirmed" in sentence
    assert reports.stages == ["downloaded", "verified", "trial", "active", "active"]
    assert [one["confirmed"] for one in reports.details[-2:]] == [False, True]
    assert reports.details[2]["agreement"] == 1
    assert digest(detector.classifier.path.read_bytes()) == digest(content)
    updater.close()
    detector.close()
    again = start(device.updater())
    assert digest(again.classifier.path.read_bytes()) == digest(content)


def test_named_cameras_go_over_together_and_keep_what_is_theirs(device: Device) -> None:
    updater, content = device.updater(), same_model("new")
    root = updater.open(lambda classifier, network: MaskDetector(classifier, detector_model=network, detect_every=2))
    worker = DetectionWorker(root.analyzer.analyze)
    shared = [root.share(worker) for _ in range(2)]
    replaced: list[int] = []
    for number, detector in enumerate(shared):
        detector.set_face_threshold(0.5 + number / 10)
        detector.on_replaced = lambda number=number: replaced.append(number)  # type: ignore[misc]
        detector.start_tracking(asynchronous=True)
    with running(*shared) as camera:
        camera.wait_for(10)
        updater.update(device.offer(content, 1), Reports())
        camera.wait_for(10)
        assert camera.failure is None
        assert all(camera.faces)
    assert sorted(replaced) == [0, 1]
    assert [detector.face_threshold for detector in shared] == [0.5, 0.6]
    assert {digest(detector.classifier.path.read_bytes()) for detector in shared} == {digest(content)}
    # A camera that is added later has the new model, too.
    assert digest(root.share(worker).classifier.path.read_bytes()) == digest(content)
    updater.close()
    worker.close()


def refused(device: Device, arguments: Mapping[str, Any], match: str, within: TrialLimits = LIMITS) -> list[str]:
    """Check that an update is refused and that the present model stays. Return the stages."""
    updater, reports = device.updater(within), Reports()
    detector = start(updater)
    path, state = detector.classifier.path, updater.store.state("classifier")
    with running(detector) as camera:
        with pytest.raises(MaskedgeError, match=match) as caught:
            updater.update(arguments, reports)
        camera.wait_for(3)
    assert "\n" not in str(caught.value)
    assert detector.classifier.path == path
    assert updater.store.state("classifier") == state
    assert not list((device.folder / "models" / "files").glob("*")) or state.active is not None
    updater.close()
    return reports.stages


def test_model_that_does_not_fit_on_the_disk_leaves_no_files(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    updater, content = device.updater(), same_model("new")
    start(updater)

    def write(path: Path, written: bytes | str, **options: Any) -> None:
        if path.suffix == ".onnx":
            raise OutputError(f"{path} cannot be written (No space left on device): free some space.")
        path.write_text(str(written))

    monkeypatch.setattr("maskedge.remote.model_store.write_file", write)
    with pytest.raises(OutputError, match="No space left"):
        updater.update(device.offer(content, 1), Reports())
    assert not list((device.folder / "models" / "files").iterdir())
    updater.close()


def test_model_with_other_labels_is_refused(device: Device) -> None:
    assert refused(device, device.offer(other_labels(), 1), "has the labels without_mask, with_mask") == ["downloaded"]


def test_disagreeing_model_is_refused_by_the_trial(device: Device) -> None:
    assert refused(device, device.offer(disagreeing(), 1), r"failed the trial .* agrees .* on \d+%") == ["downloaded", "verified"]


def test_slower_model_is_refused_by_the_trial(device: Device) -> None:
    strict = limits(latency_ratio=1.5)
    assert refused(device, device.offer(slower(), 1), r"failed the trial .* a detection takes", strict) == [
        "downloaded",
        "verified",
    ]


def test_damaged_and_truncated_files_are_refused(device: Device) -> None:
    content = same_model("new")
    arguments = device.offer(content, 1)
    path = f"/{arguments['sha256']}"
    device.server.files[path] = content[:1000] + b"XXXX" + content[1004:]
    assert refused(device, arguments, "SHA-256 differs") == []
    device.server.files[path] = content[:-1]
    assert refused(device, arguments, "instead of") == []
    # Signed as it is: the contract and its own checksum still hold.
    damaged = content[:100_000] + bytes(64) + content[100_064:]
    assert refused(device, device.offer(damaged, 1), r"damaged|refused") == ["downloaded"]


def test_file_of_another_kind_or_contract_is_refused(device: Device, tmp_path: Path) -> None:
    network = default_detector().read_bytes()
    arguments = device.offer(network, 1, "classifier")
    assert refused(device, arguments, "differ from those of the signature") == []
    content = other_contract()
    signature = device.offer(same_model("x"), 1)["signature"]
    arguments = device.offer(same_model("y"), 1) | {"signature": signature}
    assert refused(device, arguments, "differ from those of the signature") == []
    with pytest.raises(ModelError, match="contract version"):
        sign_model(content, device.key, 1)
    assert device.server.requests == []


def test_forged_signatures_cause_no_download(device: Device, tmp_path: Path) -> None:
    stranger = key_pair(tmp_path, "stranger")[0]
    random, content = np.random.default_rng(3), same_model("new")
    good = device.offer(content, 1)
    updater, reports = device.updater(), Reports()
    start(updater)
    forged = [good | {"signature": good["signature"] | {"release": int(random.integers(2, 2**50))}} for _ in range(200)]
    forged += [good | {"signature": sign_model(content, stranger, release)} for release in range(2, 102)]
    forged += [
        good | {"signature": good["signature"] | {"signature": good["signature"]["signature"][:length]}} for length in range(88)
    ]
    forged += [good | {name: None} for name in good] + [{}, {"url": "x"}]
    for arguments in forged:
        with pytest.raises(ModelError):
            updater.update(arguments, reports)
    assert reports.stages == []
    assert device.server.requests == []
    assert not (device.folder / "models").exists()


def test_older_release_is_refused_for_ever(device: Device) -> None:
    updater = device.updater()
    detector = start(updater)
    with running(detector) as camera:
        camera.wait_for(3)
        updater.update(device.offer(same_model("two"), 2), Reports())
        for release in (1, 2):
            with pytest.raises(ModelError, match="not newer than release 2"):
                updater.update(device.offer(same_model(f"old {release}"), release), Reports())
        reports = Reports()
        assert updater.revert("classifier", reports) == "the classifier is the bundled one again."
        assert reports.stages == ["rolled_back"]
        with pytest.raises(ModelError, match="not newer than release 2"):
            updater.update(device.offer(same_model("two"), 2), Reports())
        camera.wait_for(3)
    assert detector.classifier.path.parent == default_model().parent
    with pytest.raises(ModelError, match="no model to go back to"):
        updater.revert("classifier", Reports())
    updater.close()


def test_same_model_again_changes_nothing(device: Device) -> None:
    updater = device.updater()
    detector = start(updater)
    with running(detector):
        updater.update(device.offer(same_model("two"), 2), Reports())
        reports = Reports()
        assert updater.update(device.offer(same_model("two"), 2), reports) == "the classifier is release 2 already."
    assert reports.stages == []
    updater.close()


def test_bundled_release_of_the_same_key_is_not_replaced_by_an_older_one(device: Device, tmp_path: Path) -> None:
    own = tmp_path / "own.onnx"
    own.write_bytes(same_model("own"))
    (tmp_path / "own.onnx.sig").write_text(json.dumps(sign_model(own.read_bytes(), device.key, 9)))
    updater = device.updater()
    updater.open(lambda classifier, network: MaskDetector(classifier or own, detector_model=network))
    with pytest.raises(ModelError, match="not newer than release 9"):
        updater.update(device.offer(same_model("new"), 8), Reports())


def test_model_set_by_the_configuration_is_not_updated(device: Device) -> None:
    updater = device.updater(fixed={"classifier": "model.file"})
    start(updater)
    with pytest.raises(ModelError, match=r"set by model\.file"):
        updater.update(device.offer(same_model("new"), 1), Reports())


def test_trial_needs_frames_of_a_camera(device: Device) -> None:
    updater = device.updater(limits(frames_seconds=0.3))
    start(updater)
    with pytest.raises(ModelError, match="no camera has delivered enough pictures"):
        updater.update(device.offer(same_model("new"), 1), Reports())
    assert not list((device.folder / "models" / "files").iterdir())


@pytest.mark.parametrize("asynchronous", [False, True])
def test_network_that_fails_in_use_is_replaced_in_the_same_run(device: Device, asynchronous: bool) -> None:
    updater, reports = device.updater(limits(confirm_seconds=30.0, report_seconds=30.0)), Reports()
    detector = start(updater, asynchronous=asynchronous)
    errors: list[Exception] = []

    def update() -> None:
        try:
            updater.update(device.offer(failing(190), 1), reports, "command-1")
        except MaskedgeError as error:
            errors.append(error)

    with running(detector) as camera:
        thread = threading.Thread(target=update)
        thread.start()
        end = time.monotonic() + 60
        while "active" not in reports.stages and not errors and time.monotonic() < end:
            time.sleep(0.05)
        assert reports.stages[-1:] == ["active"], errors
        camera.wait_for(5)
        camera.brightness = 110
        thread.join(60)
        assert not thread.is_alive()
        camera.brightness = 0
        camera.wait_for(20)
        assert camera.failure is None
        assert camera.faces[0]
    assert reports.stages[-1] == "rolled_back"
    assert "given up for the bundled one" in str(errors[0])
    assert detector.classifier.path.parent == default_model().parent
    assert updater.store.state("classifier").active is None
    updater.close()
    detector.close()


def test_confirmed_network_that_fails_later_is_replaced_too(device: Device) -> None:
    updater = device.updater()
    detector = start(updater)
    late: list[tuple[str, str, str]] = []
    updater.on_late_report = lambda command, stage, sentence, details: late.append((command, stage, sentence))
    with running(detector) as camera:
        updater.update(device.offer(failing(190), 1), Reports(), "command-1")
        camera.brightness = 110
        camera.wait_for(10)
        assert camera.failure is None
    assert detector.classifier.path.parent == default_model().parent
    updater.close()
    # The fleet learns it at once, and once.
    assert [one[:2] for one in late] == [("command-1", "rolled_back")]
    assert "was given up for the bundled one" in late[0][2]
    assert updater.given_up() == []


def test_bundled_network_that_fails_ends_the_run(device: Device, tmp_path: Path) -> None:
    path = tmp_path / "own.onnx"
    path.write_bytes(failing(190))
    updater = device.updater(fixed={"classifier": "model.file"})
    detector = updater.open(lambda classifier, network: MaskDetector(path, detect_every=2))
    detector.start_tracking()
    with running(detector) as camera:
        camera.wait_for(3)
        camera.brightness = 110
        with pytest.raises(AssertionError, match="not probabilities"):
            camera.wait_for(10)


def test_model_that_is_much_slower_in_use_is_given_up(device: Device) -> None:
    updater, reports = device.updater(limits(latency_ratio=1000.0)), Reports()
    detector = start(updater)
    # The trial is passed by a generous limit. In use, a strict one applies.

    def report(stage: str, sentence: str, details: Mapping[str, Any]) -> None:
        reports(stage, sentence, details)
        if stage == "trial":
            updater._limits = limits(latency_ratio=0.6, confirm_seconds=60.0, report_seconds=30.0)

    with running(detector, interval=0.005) as camera:
        camera.wait_for(60)
        with pytest.raises(ModelError, match="a detection takes"):
            updater.update(device.offer(slower(), 1), report)
        camera.wait_for(3)
    assert reports.stages[-1] == "rolled_back"
    assert detector.classifier.path.parent == default_model().parent
    updater.close()


def test_model_with_which_many_frames_are_dropped_is_given_up(device: Device) -> None:
    updater, reports = device.updater(limits(confirm_seconds=30.0, report_seconds=30.0)), Reports()
    detector = start(updater)
    with running(detector) as camera:
        updater.count_frames(lambda: (camera.frames[0], camera.frames[0] // 2 if "active" in reports.stages else 0))
        with pytest.raises(ModelError, match="of the frames are dropped"):
            updater.update(device.offer(same_model("new"), 1), reports)
        camera.wait_for(2)
    assert detector.classifier.path.parent == default_model().parent
    updater.close()


def test_restart_before_the_confirmation_goes_on_with_the_trial(device: Device) -> None:
    updater, content = device.updater(limits(confirm_seconds=30.0, report_seconds=0.1)), same_model("new")
    with running(start(updater)):
        assert "not confirmed yet" in updater.update(device.offer(content, 1), Reports(), "command-1")
        with pytest.raises(ModelError, match="not confirmed yet"):
            updater.update(device.offer(same_model("newer"), 2), Reports())
    updater.close()
    assert not updater.store.state("classifier").confirmed
    late: list[tuple[str, str]] = []
    again = device.updater()
    again.on_late_report = lambda command, stage, sentence, details: late.append((command, stage))
    detector = start(again)
    with running(detector) as camera:
        end = time.monotonic() + 60
        while not late and time.monotonic() < end:
            time.sleep(0.05)
        assert camera.failure is None
    assert late == [("command-1", "active")]
    assert again.store.state("classifier").confirmed
    again.close()


def test_command_takes_a_model_back_before_it_is_confirmed(device: Device) -> None:
    updater = device.updater(limits(confirm_seconds=30.0, report_seconds=30.0))
    detector, reports, errors = start(updater), Reports(), []

    def update() -> None:
        try:
            updater.update(device.offer(same_model("new"), 1), reports)
        except ModelError as error:
            errors.append(str(error))

    with running(detector) as camera:
        thread = threading.Thread(target=update)
        thread.start()
        end = time.monotonic() + 60
        while "active" not in reports.stages and time.monotonic() < end:
            time.sleep(0.05)
        updater.revert("classifier", Reports())
        thread.join(60)
        camera.wait_for(3)
    assert errors == ["the classifier was taken back by a command before it was confirmed."]
    assert detector.classifier.path.parent == default_model().parent
    updater.close()


def test_wrong_configuration_costs_no_good_model(device: Device) -> None:
    updater, content = device.updater(), same_model("new")
    with running(start(updater)):
        updater.update(device.offer(content, 1), Reports())
    updater.close()

    def build(classifier: Path | None, network: Path | None) -> MaskDetector:
        raise UsageError("there is no detector 'x'.")

    with pytest.raises(UsageError, match="no detector"):
        device.updater().open(build)
    assert device.updater().store.choose("classifier") is not None
    # Labels that the new model lacks are no reason to fail at the start: the bundled one has them.
    stored = device.updater().open(lambda classifier, network: MaskDetector(classifier))
    assert digest(stored.classifier.path.read_bytes()) == digest(content)


def test_stored_model_of_a_key_that_is_not_trusted_any_more_is_given_up(device: Device, tmp_path: Path) -> None:
    updater = device.updater()
    with running(start(updater)):
        updater.update(device.offer(same_model("new"), 1), Reports())
    updater.close()
    _, other = key_pair(tmp_path, "other")
    later = ModelUpdater(device.folder, [other])
    assert start(later).classifier.path.parent == default_model().parent
    assert "not trusted" in later.given_up()[0].sentence


def test_stored_model_that_the_runtime_refuses_is_given_up(device: Device, tmp_path: Path) -> None:
    # A tiny model that is whole and signed, but lacks the labels that this device chooses from.
    updater = device.updater()
    content = write_model(tmp_path / "tiny.onnx").read_bytes()
    model = updater.store.add(content, parse_signature(sign_model(content, device.key, 1)))
    updater.store.activate("classifier", model)
    detector = updater.open(lambda classifier, network: MaskDetector(classifier, labels=["with_mask", "incorrect_mask"]))
    assert detector.classifier.path.parent == default_model().parent
    updater.close()


def test_detector_network_is_updated_and_reverted(device: Device) -> None:
    updater, reports = (
        device.updater(limits(latency_ratio=50.0, agreement=0.3, frames_seconds=15, confirm_seconds=0.4)),
        Reports(),
    )
    detector = start(updater)
    with running(detector) as camera:
        camera.wait_for(5)
        updater.update(device.offer(default_detector().read_bytes(), 1, "detector"), reports)
        camera.wait_for(10)
        assert camera.faces[0]
        assert detector.detector_name != "haar"
        updater.revert("detector", reports)
        camera.wait_for(10)
        assert camera.faces[0]
        assert detector.detector_name == "haar"
    assert camera.failure is None
    assert reports.stages == ["downloaded", "verified", "trial", "active", "active", "rolled_back"]
    updater.close()
