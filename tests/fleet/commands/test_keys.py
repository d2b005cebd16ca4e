"""The key that signs commands: `edge-fleet key`."""

from __future__ import annotations

import resource
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from maskedge.errors import OutputError
from maskedge.modelfile.key_files import write_key_pair

Invoke = Callable[..., "subprocess.CompletedProcess[str]"]


def test_a_key_is_private_and_never_overwritten(invoke: Invoke, tmp_path: Path) -> None:
    path = tmp_path / "fleet.pem"
    created = invoke("edge-fleet", "key", "create", path)
    assert created.returncode == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    identity = created.stdout.split()[1]
    assert len(identity) == 16
    for file in (path, tmp_path / "fleet.pem.pub"):
        assert invoke("edge-fleet", "key", "show", file).stdout.strip() == identity
    before = path.read_bytes()
    again = invoke("edge-fleet", "key", "create", path)
    assert again.returncode == 2
    assert "a key is never replaced" in again.stderr
    assert path.read_bytes() == before
    # A public key alone is not overwritten either, and no private key is left.
    path.unlink()
    assert invoke("edge-fleet", "key", "create", path).returncode == 2
    assert not path.exists()


def test_a_key_that_cannot_be_written_leaves_no_file(invoke: Invoke, tmp_path: Path) -> None:
    result = invoke("edge-fleet", "key", "create", tmp_path / "missing" / "key.pem")
    assert result.returncode == 5
    assert result.stderr.startswith("error: ")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_no_part_of_a_key(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(OutputError, match="cannot be written"):
            write_key_pair(tmp_path / "key.pem")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_another_file_is_no_key(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    for name in ("text", "missing"):
        result = invoke("edge-fleet", "key", "show", tmp_path / name)
        assert result.returncode == 2
        assert result.stderr.startswith("error: ")
        assert "Traceback" not in result.stderr
