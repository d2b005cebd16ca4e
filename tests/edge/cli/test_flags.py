"""Flags: given once, and never ignored silently."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from maskedge.cli.flags import FLAGS, check_flags, read_flags
from maskedge.config import load_config
from maskedge.errors import UsageError
from maskedge.sources import SourceConfig


def check(**flags: Any) -> None:
    own = {key.replace("__", "."): value for key, value in flags.items()}
    check_flags(load_config(None, {}, own).config, own)


def test_an_option_with_one_value_is_given_once(invoke: Callable[..., Any]) -> None:
    for flag in FLAGS:
        name = flag.names.split("/")[0]
        value = () if not flag.metavar and flag.type is None else ("1",)
        # A switch may be repeated without harm, and some flags are lists.
        if not flag.multiple and (value or "/" in flag.names):
            done = invoke("edge-run", name, *value, name, *value)
            assert (done.returncode, f"{name} is given 2 times" in done.stderr) == (2, True)
    done = invoke("edge-run", "--source", "demo", "--source", "x", "--camera", "0")
    assert (done.returncode, "--source is given 2 times: give it once" in done.stderr) == (2, True)
    done = invoke("edge-run", "--show", "--no-show")
    assert (done.returncode, "is given 2 times" in done.stderr) == (2, True)


def test_the_other_commands_take_an_option_once_too(invoke: Callable[..., Any], tmp_path: Path) -> None:
    for command in (
        ("edge-train", "classifier", "--epochs", "1", "--epochs", "2"),
        ("edge-export", "x.ckpt", "-o", "a.onnx", "-o", "b.onnx"),
        ("edge-app", "--port", "1", "--port", "2"),
    ):
        done = invoke(*command)
        assert done.returncode == 2
        assert "is given 2 times" in done.stderr


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"source__uri": "demo", "source__fps": 5.0}, "--fps has no effect on this source, only on cameras, or files with --live"),
        (
            {"source__uri": "demo", "source__width": 640, "source__height": 480},
            "--width has no effect on this source, only on cameras and streams",
        ),
        ({"source__uri": "demo", "source__max_retries": 3}, "--max-retries has no effect on this source"),
        ({"source__uri": "demo", "limits__max_fps": 5.0}, "--max-fps has no effect on this source, only on live sources"),
        ({"source__uri": "clip.mp4", "limits__cpu_budget": 50.0}, "--cpu-budget has no effect on this source"),
        ({"source__camera": "0", "source__loop": True}, "--loop has no effect on this source, only on video files"),
        ({"source__uri": "rtsp://camera/1", "source__live": True}, "--live has no effect on this source"),
        (
            {"source__uri": "demo", "detect__detector": "cnn", "detect__cascade": Path("a.xml")},
            "--detector and --cascade exclude each other",
        ),
        ({"source__uri": "demo", "web__picture": True}, "--serve-picture needs --serve"),
        ({"source__uri": " "}, "the source address is empty"),
    ],
)
def test_flags_that_would_be_left_out_are_refused(flags: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        check(**flags)


def test_flags_that_go_together_are_taken() -> None:
    check(source__uri="demo", source__live=True, source__fps=5.0, limits__max_fps=5.0, source__loop=True)
    check(
        source__camera="0", source__width=640, source__height=480, source__fps=15.0, limits__cpu_budget=50.0, source__max_retries=3
    )
    check(source__uri="demo", source__wait=True)
    check(source__uri="demo", web__picture=True, web__serve="127.0.0.1:0")


def test_what_stands_in_a_file_may_be_for_another_source(tmp_path: Path) -> None:
    file = tmp_path / "edge.toml"
    file.write_text("[source]\ncamera = '0'\nfps = 15\nwidth = 640\nheight = 480\n[limits]\nmax_fps = 5\n")
    flags = {"source.uri": "demo"}
    check_flags(load_config(file, {}, flags).config, flags)


def test_help_shows_the_default_of_a_source_key() -> None:
    """The help must not load the sources, so the table repeats their defaults."""
    shown = {flag.key.removeprefix("source."): flag.default for flag in FLAGS if flag.key.startswith("source.")}
    assert shown["stall_timeout"] == str(SourceConfig().stall_timeout)
    assert [key for key, default in shown.items() if default] == ["stall_timeout", "max_retries"]


def test_labels_that_name_nothing_are_refused(invoke: Callable[..., Any]) -> None:
    done = invoke("edge-run", "--source", "demo", "--labels", " , ")
    assert (done.returncode, "the list is empty" in done.stderr) == (2, True)


@pytest.mark.parametrize("source", ["0", "/dev/v4l/by-id/usb-a=b", "rtsp://cam/1?user=me", "gst:videotestsrc pattern=1"])
def test_a_camera_without_a_name_is_a_source_as_it_stands(source: str) -> None:
    parameters = {flag.key.replace(".", "__"): (source,) if flag.key == "source.camera" else None for flag in FLAGS}
    assert read_flags(parameters) == {"source.camera": source}
