"""Accelerators of ONNX Runtime: a model moves to one only if its outputs stay the same."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from maskedge import MaskDetector
from maskedge.config import ModelConfig
from maskedge.errors import UsageError
from maskedge.modelfile import onnx_session as providers
from maskedge.modelfile.precision import bundled_classifier
from maskedge.settings import PROVIDERS
from maskedge.sources import demo
from maskedge.vision.acceleration import accelerate, try_accelerator
from maskedge.vision.classifier import MaskClassifier
from maskedge.vision.detectors.network import CnnDetector


@pytest.fixture(autouse=True)
def _default() -> Iterator[None]:
    yield
    providers.choose_provider("auto")


@pytest.fixture
def azure(monkeypatch: pytest.MonkeyPatch) -> str:
    """A provider that every build of onnxruntime for x86-64 has. It leaves all operators to the processor."""
    import onnxruntime

    if "AzureExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has no second provider")
    monkeypatch.setitem(providers.ORT_NAMES, "azure", "AzureExecutionProvider")
    return "azure"


def test_every_setting_has_a_provider() -> None:
    assert set(PROVIDERS) == {"auto", *providers.ORT_NAMES}
    with pytest.raises(UsageError, match=r"model\.provider is one of auto, cpu"):
        ModelConfig(provider="gpu")


@pytest.mark.parametrize("provider", ["auto", "cpu", "openvino"])
def test_the_processor_is_used_without_an_accelerator(provider: str, caplog: pytest.LogCaptureFixture) -> None:
    providers.choose_provider(provider)
    with caplog.at_level(logging.INFO):
        detector = MaskDetector(detector="cnn")
    assert detector.provider == "cpu"
    assert len(detector(demo.draw(150))) > 2
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == (2 if provider == "openvino" else 0), "one line a model"
    assert all("runs on the processor, not on openvino: the installed onnxruntime lacks it" in line for line in lines)


@pytest.mark.parametrize("kind", [MaskClassifier, CnnDetector])
def test_a_model_moves_to_a_provider_with_the_same_outputs(kind: type[MaskClassifier | CnnDetector], azure: str) -> None:
    model = kind()
    before = model.session
    trial = try_accelerator(model, azure, keep=lambda _: True)
    assert (trial.problem, trial.ratio > 0) == ("", True)
    assert model.session is not before
    assert "AzureExecutionProvider" in model.session.get_providers()


def test_a_slower_provider_is_not_kept(azure: str) -> None:
    model = MaskClassifier()
    before = model.session
    trial = try_accelerator(model, azure, keep=lambda _: False)
    assert "times as long as the processor" in trial.problem
    assert model.session is before


def test_a_chosen_provider_is_used(azure: str) -> None:
    providers.choose_provider(azure)
    assert accelerate(MaskClassifier()) == azure


def test_other_outputs_are_refused_in_one_line(azure: str, caplog: pytest.LogCaptureFixture) -> None:
    """The self-test expects other outputs, as if the provider computed something else."""
    providers.choose_provider(azure)
    model = MaskClassifier()
    before = model.session
    text = model.contract.selftest
    assert text is not None
    object.__setattr__(model.contract, "selftest", text.replace('"answers": [[0.', '"answers": [[1.', 1).replace("[[9.", "[[0.", 1))
    with caplog.at_level(logging.WARNING):
        assert accelerate(model) == "cpu"
    assert model.session is before
    (line,) = [record.getMessage() for record in caplog.records]
    assert "its outputs differ by" in line


def test_a_model_without_a_self_test_stays_on_the_processor(azure: str, caplog: pytest.LogCaptureFixture) -> None:
    providers.choose_provider(azure)
    model = MaskClassifier()
    object.__setattr__(model.contract, "selftest", None)
    assert accelerate(model) == "cpu"
    assert "the file holds no self-test" in caplog.text


def test_a_missing_library_of_an_accelerator_is_one_line(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A build may have a provider whose driver is missing: ONNX Runtime then raises or leaves it out."""
    monkeypatch.setitem(providers.ORT_NAMES, "absent", "AbsentExecutionProvider")
    monkeypatch.setattr("maskedge.vision.acceleration.available_accelerators", lambda: ["absent"])
    providers.choose_provider("absent")
    model = MaskClassifier(Path(bundled_classifier()))
    assert accelerate(model) == "cpu"
    assert len(caplog.records) == 1
    assert np.isfinite(model.classify_crops(np.zeros((1, 64, 64, 3), np.uint8))).all()


def test_an_error_without_a_text_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("maskedge.vision.acceleration.create_session", fail)
    assert try_accelerator(MaskClassifier(Path(bundled_classifier())), "cuda").problem == "MemoryError"
