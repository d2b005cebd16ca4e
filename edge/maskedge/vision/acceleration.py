"""Runs a loaded model on an accelerator, if the accelerator gives the same outputs.

An accelerator rounds in its own way, or may be set up wrongly. A model therefore moves to it only
after its self-test has passed there. Otherwise it stays on the processor, which the log says.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from maskedge.errors import ModelError
from maskedge.modelfile.contract import read_model
from maskedge.modelfile.onnx_session import ORT_NAMES, available_accelerators, chosen_provider, create_session
from maskedge.support.log import NAME

from .classifier import MaskClassifier
from .detectors.network import CnnDetector
from .self_test import run_self_test

_ROUNDS = 7
"""Timed runs on the processor and on the accelerator, in turn. The shortest counts."""
_log = logging.getLogger(NAME)


@dataclass(frozen=True)
class Trial:
    """The trial of a model on an accelerator.

    Attributes:
        problem: Why the model cannot run there; empty if it can.
        ratio: Time there divided by the time on the processor; 0 if it was not measured.
    """

    problem: str = ""
    ratio: float = 0.0


def accelerate(model: MaskClassifier | CnnDetector, threads: int = 1) -> str:
    """Move a model to the accelerator of the setting `model.provider`.

    With `auto`, every accelerator of the installed onnxruntime is tried, and the first one that is
    faster than the processor is used.

    Args:
        model: The loaded model.
        threads: Threads that ONNX Runtime may use on the processor.

    Returns:
        Name of the provider on which the model runs.
    """
    chosen = chosen_provider()
    if chosen == "cpu":
        return "cpu"
    available = available_accelerators()
    if chosen == "auto":
        names = available
    elif chosen in available:
        names = [chosen]
    else:
        _stay(model, chosen, f"the installed onnxruntime lacks it (it has {', '.join([*available, 'cpu'])}; docs/device.md)")
        return "cpu"
    for name in names:
        trial = try_accelerator(model, name, threads, keep=lambda ratio: chosen != "auto" or ratio < 1)
        if not trial.problem:
            return name
        _stay(model, name, trial.problem)
    return "cpu"


def try_accelerator(
    model: MaskClassifier | CnnDetector, name: str, threads: int = 1, keep: Callable[[float], bool] = lambda _: False
) -> Trial:
    """Run the self-test of a model on an accelerator, and time it there.

    Args:
        model: The model, loaded on the processor.
        name: Name of the accelerator.
        threads: Threads that ONNX Runtime may use on the processor.
        keep: Receives the ratio of the times, and returns True to leave the model there.
    """
    processor = model.session
    try:
        model.session = create_session(read_model(model.path), threads, [ORT_NAMES[name], ORT_NAMES["cpu"]])
        if ORT_NAMES[name] not in model.session.get_providers():
            raise ModelError("its libraries or its device are missing")
        found = run_self_test(model)
        if not found.passed:
            raise ModelError(f"its outputs differ by {found.worst:.2g}, allowed are {found.tolerance:g}")
        accelerator, times = model.session, {"processor": 1e9, "accelerator": 1e9}
        for _ in range(_ROUNDS):
            for place, session in (("processor", processor), ("accelerator", accelerator)):
                model.session = session
                started = time.perf_counter()
                run_self_test(model)
                times[place] = min(times[place], time.perf_counter() - started)
        ratio = times["accelerator"] / times["processor"]
        if keep(ratio):
            model.session = accelerator
            return Trial(ratio=ratio)
        model.session = processor
        return Trial(f"it takes {ratio:.1f} times as long as the processor", ratio)
    except Exception as error:  # noqa: BLE001  (the libraries of an accelerator raise anything)
        model.session = processor
        return Trial(" ".join(str(error).split())[:200].rstrip(".") or type(error).__name__)


def _stay(model: MaskClassifier | CnnDetector, name: str, problem: str) -> None:
    level = logging.INFO if chosen_provider() == "auto" else logging.WARNING
    _log.log(level, "%s runs on the processor, not on %s: %s.", model.path.name, name, problem)
