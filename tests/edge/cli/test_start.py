"""The start of a command, before the run handles signals and errors itself."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.support import environment
from maskedge import UsageError
from maskedge.cli import doctor
from maskedge.system.state_folder import state_folder

_SIGNAL_DURING_AN_IMPORT = """
import os, signal
from maskedge.cli.common import end_on_signal, require_runtime

end_on_signal()
with require_runtime():
    try:
        os.kill(os.getpid(), signal.{name})
    except BaseException as ending:
        raise ImportError("initialization failed") from ending  # as a native library does
"""
_SIGNAL_IN_A_COMMAND = """
import os, signal
from maskedge.cli import leave_at_signals

leave_at_signals()
import click
from maskedge.cli.common import Command, require_extra

@click.command(cls=Command)
def main():
    with require_extra("export"):
        {imports}
    try:
        os.kill(os.getpid(), signal.{name})
    finally:
        print("cleaned", flush=True)

main()
"""
_LOST_IN_AN_IMPORT = """
        try:
            os.kill(os.getpid(), signal.{name})
        except BaseException:
            raise RecursionError("maximum recursion depth exceeded")  # as NumPy does
"""
_NO_MEMORY = """
from maskedge.cli.common import require_runtime

with require_runtime():
    raise ImportError("libcrypto-a324fe28.so.1.1.1k: failed to map segment from shared object")
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment())


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_while_a_library_is_loaded_ends_with_its_code(name: str) -> None:
    done = run(_SIGNAL_DURING_AN_IMPORT.format(name=name))
    assert (done.returncode, done.stderr) == (128 + signal.Signals[name], "")


@pytest.mark.parametrize(("imports", "output"), [(_LOST_IN_AN_IMPORT, ""), ("pass", "cleaned\n")])
@pytest.mark.parametrize(("name", "words"), [("SIGINT", "stopped\n"), ("SIGTERM", "")])
def test_a_signal_ends_a_command_at_once_in_its_imports_and_later_after_its_cleaning(
    imports: str, output: str, name: str, words: str
) -> None:
    done = run(_SIGNAL_IN_A_COMMAND.format(imports=imports.format(name=name), name=name))
    assert (done.returncode, done.stdout, done.stderr) == (128 + signal.Signals[name], output, words if output else "")


@pytest.mark.parametrize("library", ["cv2", "onnxruntime"])
def test_a_signal_while_the_doctor_loads_a_library_ends_it(library: str) -> None:
    done = run(
        "import os, signal, sys\nfrom maskedge.cli import common, doctor\n"
        "for number, handler in common._PLAIN_HANDLERS.items():\n    signal.signal(number, handler)\n"
        "class Lost:\n    def find_spec(self, name, *_):\n"
        f"        if name == '{library}':\n"
        "            try:\n                os.kill(os.getpid(), signal.SIGTERM)\n"
        "            except BaseException:\n                raise ImportError(name)\n"
        "sys.meta_path.insert(0, Lost())\nprint([*doctor._opencv(), *doctor._onnxruntime()])"
    )
    assert (done.returncode, done.stdout, done.stderr) == (143, "", "")


def test_an_interrupt_while_the_arguments_are_read_ends_with_its_code() -> None:
    done = run(
        "import os, signal\nfrom maskedge.cli import leave_at_signals\nleave_at_signals()\n"
        "import click\nfrom maskedge.cli.common import Command\n"
        "late = click.Option(['--late'], callback=lambda *_: os.kill(os.getpid(), signal.SIGINT))\n"
        "Command('late', params=[late]).main()"
    )
    assert (done.returncode, done.stderr) == (130, "")


def test_a_library_without_memory_is_not_called_missing() -> None:
    done = run(_NO_MEMORY)
    assert done.returncode == 1
    assert "not enough memory to load libcrypto" in done.stderr
    assert "missing" not in done.stderr


@pytest.mark.parametrize("command", ["edge_run", "edge_doctor", "edge_app", "workstation.export"])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_during_the_imports_of_a_command_ends_with_its_code(command: str, name: str) -> None:
    done = run(
        "import os, signal, sys\nimport maskedge.cli.workstation\n"
        "class Late:\n    def find_spec(self, *_):\n"
        f"        os.kill(os.getpid(), signal.{name})\n        signal.pause()\n"
        f"sys.meta_path.insert(0, Late())\nmaskedge.cli.{command}()"
    )
    assert (done.returncode, done.stderr) == (128 + signal.Signals[name], "")


def test_a_request_to_reload_before_the_configuration_is_read_ends_nothing() -> None:
    done = run(
        "import os, signal, sys\nfrom maskedge.cli import edge_run\n"
        "class Late:\n    def find_spec(self, *_):\n"
        "        os.kill(os.getpid(), signal.SIGHUP)\n        sys.meta_path.remove(self)\n"
        "sys.meta_path.insert(0, Late())\nsys.argv = ['edge-run', '--version']\nedge_run()"
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGALRM"])
def test_a_signal_at_the_very_end_does_not_replace_the_exit_code(name: str) -> None:
    done = run(
        "import atexit, os, signal, sys\nfrom maskedge.cli import edge_run\n"
        f"atexit.register(os.kill, os.getpid(), signal.{name})\nsys.argv = ['edge-run', '--version']\nedge_run()"
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_whose_exception_is_lost_in_a_callback_of_the_import_system_is_sent_again(name: str) -> None:
    done = run(
        "import os, signal, sys, time, weakref\nfrom maskedge.cli.common import early_signal, end_on_signal\n"
        "class Lock: pass\n"
        "end_on_signal()\nos.kill(os.getpid(), signal.SIGALRM)  # not its own\nlock = Lock()\n"
        f"watched = weakref.ref(lock, lambda _: os.kill(os.getpid(), signal.{name}))\n"
        "try:\n    del lock\n    time.sleep(20)\n"
        "except BaseException:\n    sys.exit(128 + early_signal())"
    )
    assert (done.returncode, done.stderr) == (128 + signal.Signals[name], "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("edge-run", "history", "--file", "~nobody-here/history.sqlite3"),
        ("edge-run", "--install-service", "--config", "~nobody-here/edge.toml"),
        ("edge-app", "--trusted-key", "~nobody-here/key.pub"),
    ],
)
def test_an_unknown_home_folder_is_named(invoke, arguments: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    done = invoke(*arguments)
    assert done.returncode == 2
    assert done.stderr.endswith(f"{arguments[-1]} names a home folder that does not exist: check the path.\n")


def test_a_user_without_a_home_folder_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("STATE_DIRECTORY", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "expanduser", refuse)
    with pytest.raises(UsageError, match="no home folder for the state: set XDG_STATE_HOME"):
        state_folder()
    (finding,) = doctor._updates()
    assert (finding.state, finding.remedy) == ("note", "set XDG_STATE_HOME to a folder.")
