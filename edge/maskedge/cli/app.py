"""`edge-app`: the interactive page."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import click

from maskedge.errors import OutputError
from maskedge.version import VERSION

from .common import Command, require_extra, require_runtime, silence_libraries

EPILOG = """\b
The page is at http://HOST:PORT until Ctrl-C ends it.

\b
Exit codes:
  1    OpenCV or ONNX Runtime is missing or cannot be loaded
  2    wrong usage, the extra app is not installed, or the port is in use
  130  stopped by Ctrl-C
"""


@click.command(cls=Command, epilog=EPILOG)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Listen on this address; 0.0.0.0 admits the whole network.",
)
@click.option(
    "--port", type=click.IntRange(1, 65535), default=8501, show_default=True, metavar="PORT", help="Listen on this TCP port."
)
@click.option(
    "--max-upload",
    type=click.IntRange(1, 2000),
    default=100,
    show_default=True,
    metavar="MB",
    help="Accept uploads of up to this size.",
)
@click.option(
    "--trusted-key",
    "trusted_keys",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="Take only models that this public key has signed; bundled: the key of the bundled models. May be repeated.",
)
@click.version_option(VERSION)
def main(host: str, port: int, max_upload: int, trusted_keys: tuple[Path, ...]) -> None:
    """Serve a web page to try pictures, videos, the browser's camera, models and benchmarks."""
    silence_libraries()
    # These variables must be set before Streamlit is loaded. It then prints no messages and sends
    # no statistics.
    os.environ.setdefault("STREAMLIT_LOGGER_LEVEL", "warning")
    os.environ.setdefault("STREAMLIT_BROWSER_GATHER_USAGE_STATS", "false")
    with require_extra("app"):
        import streamlit  # noqa: F401
    with require_runtime():
        from maskedge.app.server import check_port, resolves_to_loopback, serve
        from maskedge.modelfile.trusted import trust_keys
    trust_keys(trusted_keys)
    check_port(host, port)
    shown = f"[{host}]" if ":" in host else host
    with contextlib.suppress(OutputError):  # the page needs no standard output
        click.echo(f"maskedge: http://{'127.0.0.1' if host == '0.0.0.0' else shown}:{port} (Ctrl-C to stop)")  # noqa: S104
    if not resolves_to_loopback(host):
        click.echo("warning: everyone who can reach this address can use the page, which has no password.", err=True)
    _set_home()
    serve(host, port, max_upload)


def _set_home() -> None:
    """Name a home folder for a user without one, such as a number without an account in a container.

    Streamlit looks for its settings in it, and fails if there is none.
    """
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = "/nonexistent"


if __name__ == "__main__":
    main()
