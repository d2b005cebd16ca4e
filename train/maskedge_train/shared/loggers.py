"""Loggers of a training: files in its folder, or a server that a team shares."""

from __future__ import annotations

import os
from pathlib import Path

from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger

from maskedge.errors import UsageError

EXPERIMENT = "maskedge"
"""Name of the experiment at MLflow, unless MLFLOW_EXPERIMENT_NAME names another one."""


def open_logger(name: str, out: Path) -> Logger:
    """Return a logger of Lightning.

    Args:
        name: `tensorboard`, `csv` or `mlflow`.
        out: Folder of the training. `tensorboard` and `csv` write into its folder `logs`. Its name is
            the name of the run at MLflow, whose server is in MLFLOW_TRACKING_URI.

    Raises:
        UsageError: The package mlflow is missing, or no server is named.
    """
    if name == "csv":
        return CSVLogger(out, name="", version="logs")
    if name != "mlflow":
        return TensorBoardLogger(out, name="", version="logs")
    server = os.environ.get("MLFLOW_TRACKING_URI")
    if not server:
        raise UsageError("--logger mlflow needs a server: set MLFLOW_TRACKING_URI, such as http://mlflow.example.org:5000.")
    experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
    try:
        logger = MLFlowLogger(experiment, run_name=out.name, tracking_uri=server)
    except ModuleNotFoundError as error:
        raise UsageError("--logger mlflow needs the package mlflow: pip install mlflow-skinny.") from error
    return logger
