"""`edge-bench tune`: the choice, and the edit of an edge.toml."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import pytest

from maskedge.config import load_config
from maskedge_bench.tune import measure
from maskedge_bench.tune.edit import as_lines, with_values
from maskedge_bench.tune.measure import MODELS, PRECISIONS, Tuning, measure_tuning

tomllib = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

CHOICE = {("model", "precision"): "int8", ("limits", "threads"): 2}


def tuning(int8: float, two: float, refused: tuple[str, ...] = ()) -> Tuning:
    """float32 takes 1 ms; int8 and a second thread take these shares."""
    times = {
        (model, precision, threads): (int8 if precision == "int8" else 1.0) * (two if threads == 2 else 1.0)
        for model in MODELS
        for precision in PRECISIONS
        for threads in (1, 2)
    }
    return Tuning(times, refused, True)


@pytest.mark.parametrize(
    ("int8", "two", "refused", "precision", "threads"),
    [
        (0.5, 0.9, (), "int8", 1),
        (0.97, 0.6, (), "float32", 2),
        (1.5, 0.8, (), "float32", 1),
        (0.5, 0.9, ("cnn",), "float32", 1),
    ],
)
def test_the_fastest_that_works_is_chosen(int8: float, two: float, refused: tuple[str, ...], precision: str, threads: int) -> None:
    own = tuning(int8, two, refused)
    assert (own.precision, own.threads) == (precision, threads)


def test_it_is_measured_with_the_bundled_models() -> None:
    done: list[float] = []
    measured = measure_tuning(0.0, done.append)
    assert measured.refused == ()
    assert all(0 < milliseconds < 1000 for milliseconds in measured.milliseconds.values())
    assert len(done) == 4


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# mine\n",
        '[model]\nprecision = "float32"  # as measured\nlabels = ["a", "b"]\n',
        '[model]\n# precision = "auto"\n\n[limits] # of the Pi\nmax_fps = 5.0\nthreads=1\n[source]\nuri = "demo"',
        "[ model ]\n[limits]\n",
        '[[alerts]]\nwhen = "x"\n[limits]\ncpu_budget = 50\n',
    ],
)
def test_only_the_values_are_changed(text: str) -> None:
    edited = with_values(text, CHOICE)
    assert edited is not None
    before, after = tomllib.loads(text), tomllib.loads(edited)
    assert after["model"]["precision"] == "int8"
    assert after["limits"]["threads"] == 2
    for section, values in before.items():
        rest = dict(after[section]) if isinstance(values, dict) else after[section]
        if isinstance(values, dict):
            assert {key: value for key, value in rest.items() if (section, key) not in CHOICE} == {
                key: value for key, value in values.items() if (section, key) not in CHOICE
            }
        else:
            assert rest == values
    for line in text.splitlines():
        comment = line.partition("#")[2]
        assert comment in edited
    assert with_values(edited, CHOICE) == edited


@pytest.mark.parametrize(
    "text", ["# mine\n", '[model]\nprecision = "auto"  # a\n[limits]\nmax_fps = 5.0\n', '[source]\nuri = "demo"\n']
)
def test_line_ends_stay(text: str) -> None:
    plain, edited = with_values(text, CHOICE), with_values(text.replace("\n", "\r\n"), CHOICE)
    assert plain is not None
    assert edited == plain.replace("\n", "\r\n")


@pytest.mark.parametrize(
    "text",
    [
        'model.precision = "auto"\n',
        'model = { precision = "auto" }\n',
        '[model]\nlabels = """\n[model]\n"""\n"precision" = "auto"\n',
        "[[model]]\n",
        '[model]\nprecision = """auto"""\n',
    ],
)
def test_unusual_forms_are_left_alone(text: str) -> None:
    assert with_values(text, CHOICE) is None


def test_the_printed_lines_are_a_configuration() -> None:
    assert tomllib.loads(as_lines(CHOICE)) == {"model": {"precision": "int8"}, "limits": {"threads": 2}}


def test_the_command_writes_the_configuration(invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(measure, "measure_tuning", lambda progress: tuning(0.5, 0.5))
    config = tmp_path / "edge.toml"
    config.write_text('# the door\n[source]\nuri = "demo"\n')
    done = invoke("edge-bench", "tune", "--config", config)
    assert done.returncode == 0, done.stderr
    assert "int8 is 2.00 x as fast as float32" in done.stdout
    assert config.read_text().startswith('# the door\n[source]\nuri = "demo"\n')
    loaded = load_config(config, {}, {}).config
    assert (loaded.model.precision, loaded.limits.threads) == ("int8", 2)
    # The choice of one thread replaces an earlier one of two.
    monkeypatch.setattr(measure, "measure_tuning", lambda progress: tuning(0.5, 0.9))
    done = invoke("edge-bench", "tune", "--config", config)
    assert "limits.threads = 1" in done.stdout
    assert load_config(config, {}, {}).config.limits.threads == 1
    config.write_text('model.precision = "auto"\n')
    done = invoke("edge-bench", "tune", "--config", config)
    assert "was not changed" in done.stdout
    assert config.read_text() == 'model.precision = "auto"\n'
    config.write_text("[model]\nfil = 3\n")
    assert invoke("edge-bench", "tune", "--config", config).returncode == 2
    # A file that cannot be written is refused before the measurement, and a change during it stays.
    monkeypatch.setattr(measure, "measure_tuning", lambda progress: pytest.fail("measured"))
    assert invoke("edge-bench", "tune", "--config", tmp_path / ("a" * 300)).returncode == 5
    assert invoke("edge-bench", "tune", "--config", tmp_path / ("a" * 300) / "edge.toml").returncode == 2

    def edit(progress: object) -> Tuning:
        config.write_text('[source]\nuri = "0"\n')
        return tuning(0.5, 0.9)

    config.write_text("")
    monkeypatch.setattr(measure, "measure_tuning", edit)
    assert invoke("edge-bench", "tune", "--config", config).returncode == 0
    loaded = load_config(config, {}, {}).config
    assert (loaded.source.uri, loaded.model.precision) == ("0", "int8")
    printed = invoke("edge-bench", "tune")
    assert printed.returncode == 0
    assert '[model]\nprecision = "int8"' in printed.stdout
