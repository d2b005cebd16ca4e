"""Each kind of extension costs one file: the toys of tests/toys run in the real commands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from maskedge import sources
from maskedge.alerts import conditions, registry
from maskedge.sinks import SINKS
from maskedge.vision import detectors
from toys import action, condition, source

SETTINGS = """
[source]
uri = "toy"

[detect]
every = 1
{detect}
[output]
show = false

[events]
file = "events.jsonl"

[toy]
file = "faces.txt"

[[alerts]]
name = "somebody"
when = "toy"
actions = ["event", "toy"]
note = "note.txt"
"""


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Register the toys in the way that CONTRIBUTING describes, for one test."""
    monkeypatch.setattr(sources, "RECORDED_KINDS", (source.KIND, *sources.RECORDED_KINDS))
    monkeypatch.setattr(conditions, "CONDITIONS", [*conditions.CONDITIONS, condition.ToyCondition])
    monkeypatch.setattr(registry, "CONDITIONS", conditions.CONDITIONS)
    registry.ACTIONS.append(action.ToyAction)
    SINKS.append("toys.sink:ToySink")
    yield
    registry.ACTIONS.remove(action.ToyAction)
    SINKS.remove("toys.sink:ToySink")


def run(invoke, folder: Path, monkeypatch: pytest.MonkeyPatch, detect: str = "", *arguments: str | Path) -> list[dict]:  # type: ignore[no-untyped-def,type-arg]
    """Run `edge-run` with the settings above and return the events."""
    monkeypatch.chdir(folder)
    Path("edge.toml").write_text(SETTINGS.format(detect=detect))
    done = invoke("edge-run", "--config", "edge.toml", "--quiet", *arguments)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in Path("events.jsonl").read_text().splitlines()]


def test_source_sink_condition_and_action_run_together(toys, invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    events = run(invoke, tmp_path, monkeypatch)
    frames = [event for event in events if "faces" in event]
    assert len(frames) == source.FRAMES
    assert {event["source"] for event in events} == {"toy"}
    counts = [len(event["faces"]) for event in frames]
    assert max(counts) > 0
    assert (tmp_path / "faces.txt").read_text().split() == [str(count) for count in counts]
    assert any(event.get("event") == "alert" and event.get("rule") == "somebody" for event in events)
    assert (tmp_path / "note.txt").read_text().splitlines()[0] == "alert somebody"


def test_keys_and_names_of_the_toys_are_checked_like_all_others(
    toys, invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    for text, expected in (
        ("[toy]\nfile = 3\n", "toy.file"),
        ('[toy]\nfiel = "x"\n', "fiel"),
        ('[[alerts]]\nname = "a"\nwhen = "tyo"\n', "toy"),
    ):
        Path("edge.toml").write_text(text)
        done = invoke("edge-run", "--config", "edge.toml", "--source", "demo", "--max-frames", "1", "--no-show")
        assert done.returncode == 2
        assert expected in done.stderr
    printed = invoke("edge-run", "--source", "demo", "--print-config").stdout
    assert "[toy]" in printed


def test_detector_is_chosen_by_its_name(toys, invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    assert "toy" not in detectors.detector_names()
    monkeypatch.setattr(detectors, "_names", {**detectors._names})
    from toys import detector

    found = detectors.load_detector("toy")
    assert isinstance(found, detector.ToyDetector)
    assert "toy" in detectors.detector_names()
    events = run(invoke, tmp_path, monkeypatch, 'detector = "toy"')
    assert sum(len(event.get("faces", ())) for event in events) > 0
    done = invoke("edge-run", "--source", "demo", "--detector", "none", "--no-show")
    assert done.returncode == 2
    assert "toy" in done.stderr


def test_net_is_exported_and_runs(toys, invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (make test installs it)")
    from maskedge.modelfile.crop import CropRule
    from maskedge_train.classifier.checkpoint import ClassifierSpec
    from maskedge_train.classifier.nets import NETS, build
    from toys import net

    monkeypatch.setitem(NETS, "toy", net.ToyNet)
    torch.manual_seed(0)
    labels = ("with_mask", "without_mask")
    spec = ClassifierSpec("toy", labels, 64, CropRule())
    weights = {f"net.{name}": value for name, value in build("toy", len(labels)).state_dict().items()}
    torch.save({"maskedge": spec.to_dict(), "state_dict": weights}, tmp_path / "toy.ckpt")
    done = invoke("edge-export", tmp_path / "toy.ckpt", "-o", tmp_path / "toy.onnx")
    assert done.returncode == 0, done.stderr
    events = run(invoke, tmp_path, monkeypatch, "face_threshold = 0.0", "--model", tmp_path / "toy.onnx")
    assert {face["label"] for event in events for face in event.get("faces", ())} <= {*labels}
    assert sum(len(event.get("faces", ())) for event in events) > 0
