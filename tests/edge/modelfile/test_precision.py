"""The choice between float32 and int8 of the bundled models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from maskedge.config import ModelConfig
from maskedge.errors import UsageError
from maskedge.modelfile.precision import bundled_classifier, bundled_detector, choose_precision, has_dot_products
from maskedge.settings import PRECISIONS
from maskedge.vision.classifier import MaskClassifier
from maskedge.vision.detectors.network import CnnDetector


@pytest.fixture
def restored() -> Iterator[None]:
    yield
    choose_precision("auto")


@pytest.mark.parametrize(
    ("text", "has"),
    [
        ("processor\t: 0\nflags\t\t: fpu sse2 avx2 avx512_vnni\n", True),
        ("flags : avx2 avx_vnni sha\n", True),
        ("Features\t: fp asimd asimddp sve\n", True),
        ("flags : fpu avx2 avx512f\n", False),
        ("Features\t: fp asimd evtstrm crc32 cpuid\n", False),
        ("model name : avx_vnni\n", False),
        ("", False),
    ],
)
def test_dot_products_are_read_from_the_processor(tmp_path: Path, text: str, has: bool) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert has_dot_products(tmp_path / "cpuinfo") == has


def test_an_unknown_system_has_none(tmp_path: Path) -> None:
    assert not has_dot_products(tmp_path / "none")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_has_files(precision: str) -> None:
    for path in (bundled_classifier(precision), bundled_detector(precision)):
        assert path.is_file()
        assert precision == "auto" or (precision == "int8") == path.name.endswith(".int8.onnx")
    wanted = "int8" if has_dot_products() else "float32"
    assert bundled_classifier("auto") == bundled_classifier(wanted)


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_models_are_loaded_in_the_chosen_precision(precision: str) -> None:
    choose_precision(precision)
    assert MaskClassifier().path == bundled_classifier(precision)
    assert CnnDetector().path == bundled_detector(precision)


def test_other_words_are_refused() -> None:
    with pytest.raises(UsageError, match="auto, float32, int8"):
        ModelConfig(precision="int4")
