"""A real Prometheus on a free port of loopback."""

from __future__ import annotations

import atexit
import json
import shutil
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.brokers import wait_for
from helpers.support import free_port


class Prometheus:
    """A server with the configuration of deploy/prometheus, which scrapes quickly.

    Args:
        folder: Folder for its files.
        configuration: The configuration. Every job scrapes the targets of `targets` instead of its own.
        rules: Files of rules.
        targets: Host and port of the targets, by job.
        credentials: File with the token, by job.
    """

    def __init__(
        self, folder: Path, configuration: Path, rules: list[Path], targets: dict[str, list[str]], credentials: dict[str, Path]
    ) -> None:
        program = shutil.which("prometheus")
        if program is None:
            pytest.skip("prometheus is not installed")
        content = yaml.safe_load(configuration.read_text())
        content["global"] = {"scrape_interval": "500ms", "scrape_timeout": "450ms", "evaluation_interval": "1s"}
        content["rule_files"] = [str(path) for path in rules]
        content["scrape_configs"] = [job for job in content["scrape_configs"] if job["job_name"] in targets]
        for job in content["scrape_configs"]:
            job.pop("file_sd_configs", None)
            job["static_configs"] = [{"targets": targets[job["job_name"]]}]
            job["authorization"]["credentials_file"] = str(credentials[job["job_name"]])
        self.configuration = folder / "prometheus.yml"
        self.configuration.write_text(yaml.safe_dump(content))
        port = free_port()
        self._url = f"http://127.0.0.1:{port}"
        options = (f"--config.file={self.configuration}", f"--storage.tsdb.path={folder / 'data'}")
        with (folder / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(
                [program, *options, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log, cwd=folder
            )
        # A failing test may not stop it.
        atexit.register(self.stop)
        wait_for(self._is_ready, "prometheus")

    def _is_ready(self) -> bool:
        assert self._process.poll() is None
        try:
            with urllib.request.urlopen(f"{self._url}/-/ready", timeout=5) as answer:  # noqa: S310  (loopback)
                return bool(answer.status == 200)
        except OSError:
            return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series that an expression has now."""
        address = f"{self._url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
        with urllib.request.urlopen(address, timeout=10) as answer:  # noqa: S310  (loopback)
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return result

    def rules(self) -> list[dict[str, Any]]:
        """Return the loaded rules."""
        with urllib.request.urlopen(f"{self._url}/api/v1/rules", timeout=10) as answer:  # noqa: S310  (loopback)
            groups = json.load(answer)["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def stop(self) -> None:
        """Stop it."""
        self._process.terminate()
        self._process.wait(20)
