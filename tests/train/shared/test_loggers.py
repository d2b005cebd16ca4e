"""Loggers of a training."""

from __future__ import annotations

import contextlib
import csv
import os
from importlib.util import find_spec
from pathlib import Path

import pytest

from maskedge.errors import UsageError
from maskedge_train.shared.engine import open_logger


def test_csv_has_a_row_for_each_step(tmp_path: Path) -> None:
    logger = open_logger("csv", tmp_path)
    for step in range(3):
        logger.log_metrics({"val_loss": 1.0 / (step + 1)}, step=step)
    logger.save()
    with (tmp_path / "logs" / "metrics.csv").open(encoding="utf-8") as file:
        assert [float(row["val_loss"]) for row in csv.DictReader(file)] == pytest.approx([1, 1 / 2, 1 / 3])


def test_mlflow_needs_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UsageError, match="set MLFLOW_TRACKING_URI"):
        open_logger("mlflow", tmp_path)


@pytest.mark.parametrize("own", [None, "false"])
def test_mlflow_reports_its_use_to_nobody_unless_asked_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str | None) -> None:
    environment = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db", "MLFLOW_DISABLE_TELEMETRY": own}
    left = {name: value for name, value in os.environ.items() if name not in environment}
    monkeypatch.setattr(os, "environ", left | {name: value for name, value in environment.items() if value})
    with contextlib.suppress(UsageError):  # MLflow is not installed
        open_logger("mlflow", tmp_path)
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == (own or "true")


@pytest.mark.skipif(find_spec("mlflow") is not None, reason="mlflow is installed")
def test_missing_mlflow_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(tmp_path))
    with pytest.raises(UsageError, match="pip install mlflow-skinny"):
        open_logger("mlflow", tmp_path)


@pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed")
def test_mlflow_gets_the_run_under_the_name_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    logger = open_logger("mlflow", tmp_path / "edgenet-3")
    logger.log_metrics({"val_loss": 0.5}, step=1)
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name("maskedge")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "edgenet-3"
    assert run.data.metrics == {"val_loss": 0.5}
