"""Benchmark reports as the page shows them: those of a checkout, and those that a user brings."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskedge.errors import UsageError
from maskedge.modelfile.contract import MODELS, read_catalogue

NEWEST = {"speed": 2, "accuracy": 2, "compare": 1, "nets": 2}
"""Reports of `edge-bench` that the page can show, and their newest version; a report's schema is `maskedge.KIND/VERSION`."""
KINDS = tuple(NEWEST)
MAX_BYTES = 20_000_000
"""Bytes of the largest report that is read."""
_ENGINES = {"onnxruntime": "ONNX Runtime", "pytorch": "eager PyTorch"}
UNKNOWN = "\N{EN DASH}"
"""What stands where there is no figure."""
QUICK = ("speed", "--quick")
"""The quick benchmark, as arguments of `edge-bench`."""


@dataclass(frozen=True)
class Report:
    """A report of `edge-bench`.

    Attributes:
        name: Where it comes from, for people.
        kind: One of `KINDS`.
        content: The JSON object.
    """

    name: str
    kind: str
    content: Mapping[str, Any]

    @property
    def machine(self) -> str:
        """What it was measured on, and when."""
        facts = self.content.get("facts", {})
        day = str(self.content.get("time", ""))[:10]
        words = [
            str(facts.get("machine", "an unknown machine")),
            f"{facts.get('cores', '?')} cores",
            f"onnxruntime {facts.get('onnxruntime', '?')}",
        ]
        return ", ".join(words + ([day] if day else []))

    def speeds(self) -> list[dict[str, Any]]:
        """Give the rows of a speed report: `name`, `rate` with its `low` and `high`, `ratio`, `p50` and `p95` in milliseconds."""
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
        """Give the configurations of a report of accuracy or comparison: `name`, `milliseconds` a picture, `f1`."""
        if self.kind == "compare":
            rows = [(row["name"], row["milliseconds"], row["f1"]) for row in self.content["rows"]]
        else:
            rows = [(row["name"], row["milliseconds_p50"], row["together"]["f1"]) for row in self.content["pipelines"]]
        return [
            {"report": self.name, "name": str(name), "milliseconds": float(milliseconds), "f1": float(f1)}
            for name, milliseconds, f1 in rows
        ]

    def nets(self) -> list[dict[str, Any]]:
        """Give the nets of a report of their time: `name`, `milliseconds` a face, `ratio` to the original one."""
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
        """Give its rows, whatever its kind."""
        if self.kind == "speed":
            return self.speeds()
        return self.nets() if self.kind == "nets" else self.points()


def read_report(name: str, content: bytes) -> Report:
    """Read a report.

    Raises:
        UsageError: It is no report of `edge-bench` that the page can show; the text says why.
    """
    if len(content) > MAX_BYTES:
        raise UsageError(f"{name} has {len(content) / 1e6:.0f} MB; a report has a few at most: is it the right file?")
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{name} is no JSON file ({' '.join(str(error).split())[:120]}): give what edge-bench --json wrote."
        ) from error
    schema = str(values.get("schema")) if isinstance(values, dict) else "none"
    found = re.fullmatch(r"maskedge\.([a-z]+)/([0-9]{1,9})", schema)
    kind = found[1] if found else ""
    if found is None or kind not in NEWEST:
        raise UsageError(
            f"{name} is no report that this page shows (schema {schema}): give what edge-bench {' or '.join(KINDS)} wrote."
        )
    if int(found[2]) > NEWEST[kind]:
        raise UsageError(
            f"{name} is of the newer version {int(found[2])} of maskedge.{kind}, this page reads {NEWEST[kind]}: update maskedge."
        )
    report = Report(name, kind, values)
    try:
        report.rows()
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{name} calls itself {schema} and lacks what such a report holds ({error!r}): write it again.") from error
    return report


def results_folder() -> Path | None:
    """Give the folder of the committed reports; None where maskedge runs from a wheel."""
    folder = MODELS.parents[2] / "benchmarks" / "results"
    return folder if folder.is_dir() else None


def committed_reports() -> list[Report]:
    """Give the committed reports that the page shows."""
    folder = results_folder()
    # The comparison joins the two reports that are shown already: the same F1 beside other times.
    paths = [folder / f"{kind}.json" for kind in KINDS if kind != "compare"] if folder else []
    return [read_report("committed", path.read_bytes()) for path in paths if path.is_file()]


def bundled_figures() -> list[dict[str, str]]:
    """Give the headline figures of the bundled models as texts: they stand in the package, with and without a checkout."""

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
    """Find the committed report of the training that a model's card tells of: same net, size, split and temperature."""
    folder = results_folder()
    for path in sorted((folder / "training").glob("*.json")) if folder else []:
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        same = all(report.get(key) == card.get(key) for key in ("net", "parameters", "temperature"))
        if same and report.get("split", {}).get("digest") == card.get("split", {}).get("digest"):
            return report
    return None


def start_quick(path: Path) -> subprocess.Popen[str]:
    """Start the quick benchmark in a process of its own, so that this page does not slow it; it writes its report to `path`."""
    code = "from maskedge.cli.workstation import bench; bench()"
    command = [sys.executable, "-c", code, *QUICK, "--json", str(path)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)  # noqa: S603  (our own command)
