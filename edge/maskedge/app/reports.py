"""Read benchmark reports for the app: committed reports of a checkout, and uploads."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskedge.errors import UsageError
from maskedge.modelfile.contract import MODELS, read_catalogue
from maskedge.support.workers import child_environment, python_command

LATEST_VERSIONS = {"speed": 2, "accuracy": 2, "compare": 1, "nets": 2}
"""Kinds of `edge-bench` reports that the app shows, with their latest version.

The schema of a report is `maskedge.KIND/VERSION`.
"""
KINDS = tuple(LATEST_VERSIONS)
MAX_BYTES = 20_000_000
"""Maximum size of a report in bytes."""
_ENGINES = {"onnxruntime": "ONNX Runtime", "pytorch": "eager PyTorch"}
UNKNOWN = "\N{EN DASH}"
"""The text of an unknown figure."""
QUICK = ("speed", "--quick")
"""The arguments of `edge-bench` for the quick benchmark."""


@dataclass(frozen=True)
class Report:
    """A report of `edge-bench`.

    Attributes:
        name: Display name of the report's origin.
        kind: One of `KINDS`.
        content: The JSON object.
    """

    name: str
    kind: str
    content: Mapping[str, Any]

    @property
    def machine(self) -> str:
        """The machine and the date of the measurement."""
        facts = self.content.get("facts", {})
        day = str(self.content.get("time", ""))[:10]
        parts = [
            str(facts.get("machine", "unknown machine")),
            f"{facts.get('cores', '?')} cores",
            f"onnxruntime {facts.get('onnxruntime', '?')}",
        ]
        return ", ".join(parts + ([day] if day else []))

    def speeds(self) -> list[dict[str, Any]]:
        """Return the rows of a speed report.

        A row has `name`, `rate` with `low` and `high`, `ratio`, `p50` and `p95` in milliseconds.
        """
        rows = []
        for row in self.content["pipelines"]:
            rate, ratio, total = row["frames_per_second"], row["ratio_to_baseline"], row["stages_ms"]["total"]
            rows.append(
                {
                    "report": self.name,
                    "name": str(row["name"]),
                    "rate": float(rate["median"]),
                    "low": float(rate["min"]),
                    "high": float(rate["max"]),
                    "ratio": float(ratio["median"]) if ratio else None,
                    "p50": float(total["p50"]),
                    "p95": float(total["p95"]),
                }
            )
        return rows

    def points(self) -> list[dict[str, Any]]:
        """Return the rows of an accuracy or comparison report.

        A row has `name`, `milliseconds` per picture and `f1`.
        """
        if self.kind == "compare":
            rows = [(row["name"], row["milliseconds"], row["f1"]) for row in self.content["rows"]]
        else:
            rows = [(row["name"], row["milliseconds_p50"], row["together"]["f1"]) for row in self.content["pipelines"]]
        return [
            {"report": self.name, "name": str(name), "milliseconds": float(milliseconds), "f1": float(f1)}
            for name, milliseconds, f1 in rows
        ]

    def nets(self) -> list[dict[str, Any]]:
        """Return the rows of a report of network latency.

        A row has `name`, `milliseconds` per face and `ratio` to the original network.
        """
        return [
            {
                "report": self.name,
                "name": f"{row['model']} ({_ENGINES.get(row['engine'], row['engine'])})",
                "milliseconds": float(row["milliseconds_a_face"]["median"]),
                "ratio": float(row["ratio_to_baseline"]["median"]),
            }
            for row in self.content["nets"]
        ]

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of a report of any kind."""
        if self.kind == "speed":
            return self.speeds()
        return self.nets() if self.kind == "nets" else self.points()


def read_report(name: str, content: bytes) -> Report:
    """Read a report from JSON.

    Raises:
        UsageError: The content is not a report that the app can show; the message gives the reason.
    """
    if len(content) > MAX_BYTES:
        raise UsageError(
            f"{name} has {len(content) / 1e6:.0f} MB, a report has {MAX_BYTES // 1_000_000} at most: "
            "choose a file of edge-bench --json."
        )
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{name} is not a JSON file ({' '.join(str(error).split())[:120]}): choose a file of edge-bench --json."
        ) from error
    schema = str(values.get("schema")) if isinstance(values, dict) else "none"
    found = re.fullmatch(r"maskedge\.([a-z]+)/([0-9]{1,9})", schema)
    kind = found[1] if found else ""
    if found is None or kind not in LATEST_VERSIONS:
        raise UsageError(f"{name} is not a supported report (schema {schema}): choose a file of edge-bench {' or '.join(KINDS)}.")
    if int(found[2]) > LATEST_VERSIONS[kind]:
        raise UsageError(
            f"{name} has version {int(found[2])} of maskedge.{kind}, this page reads up to {LATEST_VERSIONS[kind]}: "
            "update maskedge."
        )
    report = Report(name, kind, values)
    try:
        report.rows()
        _ = report.machine
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UsageError(f"{name} is an incomplete report of schema {schema} ({error!r}): write it again.") from error
    return report


def results_folder() -> Path | None:
    """Return the folder of the committed reports; None if maskedge is installed from a wheel."""
    folder = MODELS.parents[2] / "benchmarks" / "results"
    return folder if folder.is_dir() else None


def committed_reports() -> list[Report]:
    """Return the committed reports that the app shows."""
    folder = results_folder()
    # `compare` is left out, since it repeats the F1 of `accuracy` and the times of `speed`.
    paths = [folder / f"{kind}.json" for kind in KINDS if kind != "compare"] if folder else []
    return [read_report("Committed", path.read_bytes()) for path in paths if path.is_file()]


def bundled_figures() -> list[dict[str, str]]:
    """Return the headline figures of the bundled models as text. They ship with the package."""

    def text(value: float | None, form: str) -> str:
        return UNKNOWN if value is None else format(value, form)

    rows = []
    for name, entry in read_catalogue(MODELS).items():
        test = entry.get("test", {})
        rows.append(
            {
                "model": name,
                "parameters": text(entry.get("parameters"), ","),
                "kilobytes": text(entry["bytes"] / 1000 if "bytes" in entry else None, ",.0f"),
                "accuracy": text(test.get("accuracy"), ".1%"),
                "macro_f1": text(test.get("macro_f1"), ".1%"),
                "pictures": text(test.get("pictures"), ","),
            }
        )
    return rows


def training_report(card: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the committed training report of a model card; None if there is none.

    The report and the card have the same network, number of parameters, split and temperature.
    """
    folder = results_folder()
    for path in sorted((folder / "training").glob("*.json")) if folder else []:
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        same = all(report.get(key) == card.get(key) for key in ("net", "parameters", "temperature"))
        if same and report.get("split", {}).get("digest") == card.get("split", {}).get("digest"):
            return report
    return None


def start_quick(path: Path) -> subprocess.Popen[str]:
    """Start the quick benchmark in a separate process, so that the app does not slow it down.

    It writes its report to `path`.
    """
    code = "from maskedge.cli.workstation import bench; bench()"
    command = python_command(code, *QUICK, "--json", str(path))
    return subprocess.Popen(  # noqa: S603  (our own command)
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=child_environment()
    )
