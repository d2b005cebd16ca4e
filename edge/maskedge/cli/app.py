"""`edge-app`: the interactive page."""

from __future__ import annotations

import os

import click

from .common import Command, require_extra, require_runtime, silence_libraries


@click.command(cls=Command)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to serve on; 0.0.0.0 lets the whole network in.")
@click.option("--port", type=click.IntRange(1, 65535), default=8501, show_default=True, help="TCP port.")
@click.option("--max-upload", type=click.IntRange(1, 2000), default=100, show_default=True, metavar="MB", help="Largest upload.")
@click.version_option(package_name="maskedge")
def main(host: str, port: int, max_upload: int) -> None:
    """Open a page in the browser to try everything: pictures, videos, the browser's camera, models, benchmarks."""
    silence_libraries()
    # Before Streamlit is loaded: its own words stay out of the terminal, and nothing is counted anywhere.
    os.environ.setdefault("STREAMLIT_LOGGER_LEVEL", "warning")
    os.environ.setdefault("STREAMLIT_BROWSER_GATHER_USAGE_STATS", "false")
    with require_extra("app"):
        import streamlit  # noqa: F401
    with require_runtime():
        from maskedge.app.server import LOOPBACK, check_port, serve
    check_port(host, port)
    shown = f"[{host}]" if ":" in host else host
    click.echo(f"maskedge: http://{'127.0.0.1' if host == '0.0.0.0' else shown}:{port} - Ctrl-C ends it")  # noqa: S104
    if host not in LOOPBACK:
        click.echo("warning: everyone who reaches this address can use the page; there is no password.", err=True)
    serve(host, port, max_upload)


if __name__ == "__main__":
    main()
