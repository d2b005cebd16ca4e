"""No output is an input, and none replaces what the user has without being asked to."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import pytest

from maskedge import OutputError, UsageError
from maskedge.cli.output_options import check_folder
from maskedge.config import load_config
from maskedge.runtime.outputs import check_cameras, check_run_outputs
from maskedge.sinks.base import SinkContext
from maskedge.sinks.mqtt.spool import Spool
from maskedge.sinks.save import SaveSink
from maskedge.sources import open_source
from maskedge.support.outputs import Named, check_apart, files_of, put_aside
from maskedge.types import Image


@pytest.fixture
def folder(tmp_path: Path, frames: list[Image], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two pictures, another one with a third, and names that lead to them."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for path in (photos / "a.jpg", photos / "b.png", tmp_path / "other.jpg"):
        path.write_bytes(cv2.imencode(path.suffix, frames[0])[1].tobytes())
    (tmp_path / "link.jpg").symlink_to("photos/a.jpg")
    os.link(photos / "a.jpg", tmp_path / "hard.jpg")
    (tmp_path / "album").symlink_to("photos")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(source: str, inputs: tuple[Path, ...] = (), **flags: Any) -> None:
    """Apply the rules to a run with these settings (`output_save` for `output.save`)."""
    values = {key.replace("_", ".", 1): value for key, value in flags.items()}
    config = load_config(None, {}, {"source.uri": source, **values}).config
    opened = open_source(config.source)
    try:
        check_run_outputs(config, opened, inputs=list(inputs))
    finally:
        opened.close()


def test_a_detector_and_a_secret_of_an_alert_are_inputs(folder: Path) -> None:
    (folder / "own.onnx").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"own\.onnx is the file of detect\.detector"):
        check("demo", detect_detector=str(folder / "own.onnx"), events_file=folder / "own.onnx", output_overwrite=True)
    (folder / "token").write_text("Authorization: x")
    (folder / "edge.toml").write_text(
        '[[alerts]]\nname = "door"\nwhen = "person_without_mask"\nactions = ["webhook"]\nwebhook = "http://localhost/"\n'
        f'webhook_header_file = "{folder / "token"}"\n[source]\nuri = "demo"\n'
        f'[events]\nfile = "{folder / "token"}"\n[output]\noverwrite = true\n'
    )
    config = load_config(folder / "edge.toml", {}).config
    with pytest.raises(UsageError, match=r"token is the file of webhook_header_file in alert rule 'door'"):
        check_run_outputs(config, open_source(config.source), inputs=[])


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("photos/a.jpg", "photos/a.jpg"),
        ("photos/a.jpg", "link.jpg"),
        ("photos/a.jpg", "hard.jpg"),
        ("link.jpg", "photos/../photos/a.jpg"),
        ("photos/a.jpg", "photos"),
        ("photos", "photos"),
        ("photos", "album"),
        ("photos/[ab]*", "album"),
        ("file://photos/a.jpg", "hard.jpg"),
    ],
)
def test_the_source_is_no_output(folder: Path, source: str, output: str, overwrite: bool) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}
    with pytest.raises(UsageError, match=r"is the (folder of the )?source"):
        check(source, output_save=output, output_overwrite=overwrite)
    if not Path(output).is_dir():
        with pytest.raises(UsageError, match=r"--events .* is the source"):
            check(source, events_file=output, output_overwrite=overwrite)
    assert {path: path.read_bytes() for path in folder.rglob("*.*") if path.is_file()} == before


def test_a_copy_may_stand_beside_a_single_picture(folder: Path) -> None:
    check("photos/b.png", output_save="photos")
    check("photos", output_save="empty", events_file="empty/events.jsonl")


def test_a_descriptor_of_the_source_is_no_output(folder: Path) -> None:
    with Path("photos/a.jpg").open("rb") as file:
        link = f"/proc/self/fd/{file.fileno()}"
        if not Path(link).exists():
            pytest.skip("this system has no /proc")
        with pytest.raises(UsageError, match="is the source"):
            check("photos/a.jpg", output_save=link, output_overwrite=True)
        with pytest.raises(UsageError, match="is the source"):
            check(link, events_file="photos/a.jpg", output_overwrite=True)


def test_pictures_that_link_elsewhere_keep_what_they_link_to(folder: Path) -> None:
    (folder / "links").mkdir()
    (folder / "links" / "a.jpg").symlink_to(folder / "photos" / "a.jpg")
    with pytest.raises(UsageError, match="is the source"):
        check("links", output_save="photos", output_overwrite=True)


def test_models_configurations_and_secrets_are_no_outputs(folder: Path) -> None:
    from maskedge.modelfile.contract import default_model

    (folder / "token").write_text("secret")
    (folder / "edge.toml").write_text("")
    for output, settings in (
        (str(default_model()), {}),
        ("token", {"web_token_file": Path("token")}),
        ("token", {"detect_cascade": Path("token")}),
        ("edge.toml", {"inputs": (Path("edge.toml"),)}),
    ):
        with pytest.raises(UsageError, match="which would be overwritten"):
            check("photos", events_file=output, output_overwrite=True, **settings)  # type: ignore[arg-type]


def test_two_outputs_are_two_files(folder: Path) -> None:
    with pytest.raises(UsageError, match="--save and --events are the same file"):
        check("demo", output_save="new.mp4", events_file="empty/../new.mp4")
    with pytest.raises(UsageError, match="are the same file"):
        check("demo", mqtt_spool=Path("empty"), events_file="empty/spool.sqlite3")
    check("demo", output_save="/dev/null", events_file="/dev/null")


def test_albums_are_not_the_folder_of_the_source(folder: Path) -> None:
    for key in ("snapshots_folder", "clips_folder", "mqtt_spool"):
        with pytest.raises(UsageError, match="is the source"):
            check("photos", **{key: Path("album")})
    old = folder / "empty" / "door-20260131T120000.123Z.jpg"
    shutil.copy("other.jpg", old)
    with pytest.raises(UsageError, match="removes old files"):
        check(str(old), clips_folder=Path("empty"))


def test_what_exists_is_replaced_only_when_asked_for(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"other\.jpg exists already: add --overwrite"):
        check("photos/a.jpg", output_save="other.jpg")
    check("photos/a.jpg", output_save="other.jpg", output_overwrite=True)
    for name in ("a.jpg", "b.jpg"):
        shutil.copy("other.jpg", f"empty/{name}")
    with pytest.raises(UsageError, match=r"a\.jpg and 1 more exist already"):
        check("photos", output_save="empty")
    check("photos", output_save="empty", output_overwrite=True)
    Path("log.jsonl").write_text('{"frame": 1}\n')
    with pytest.raises(UsageError, match=r"--events log\.jsonl exists already"):
        check("demo", events_file="log.jsonl")
    # Appended to, of live sources and where files rotate.
    check("demo", events_file="log.jsonl", source_live=True)
    check("demo", events_file="log.jsonl", events_rotate_daily=True)
    Path("log.jsonl").write_text("")
    check("demo", events_file="log.jsonl")


def test_the_recording_of_a_live_source_is_kept(folder: Path) -> None:
    def aside(**flags: Any) -> str | None:
        config = load_config(None, {}, {"source.uri": "demo", "output.save": "day.mp4", **flags}).config
        source = open_source(config.source)
        try:
            check_run_outputs(config, source, inputs=[])
            context = SinkContext(source)
            sink = SaveSink.open(config.output, context)
            assert sink is not None
            sink.close()
            return next(iter(context.warnings), None)
        finally:
            source.close()

    assert aside(**{"source.live": True}) is None
    Path("day.mp4").write_bytes(b"yesterday")
    assert aside(**{"source.live": True, "output.overwrite": True}) is None
    assert Path("day.mp4").exists()
    said = aside(**{"source.live": True})
    (kept,) = folder.glob("day.2*Z.mp4")
    assert said is not None and kept.name in said
    assert kept.read_bytes() == b"yesterday"
    assert not Path("day.mp4").exists()


def test_putting_aside_takes_no_name_that_is_taken(tmp_path: Path) -> None:
    names = set()
    for number in range(3):
        (tmp_path / "a.mp4").write_text(str(number))
        os.utime(tmp_path / "a.mp4", (1e9, 1e9))
        names.add(put_aside(tmp_path / "a.mp4").name)
    assert names == {f"a.20010909T014640.000Z{end}.mp4" for end in ("", "-2", "-3")}


def test_addresses_and_the_files_they_mean(folder: Path) -> None:
    (folder / "a b%c.mp4").write_text("")
    for address in ("a b%c.mp4", "file:a%20b%25c.mp4", f"FILE://localhost{folder}/a%20b%25c.mp4", f"file://{folder}/a%20b%25c.mp4"):
        (path,) = files_of(address)
        assert path.samefile("a b%c.mp4")
    assert files_of("gst:filesrc location=other.jpg ! decodebin") == [Path("other.jpg")]
    assert files_of("rtsp://camera/1") == files_of("0") == files_of("bad\0name") == []


def test_what_does_not_exist_is_compared_by_its_place(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to("new")
    with pytest.raises(UsageError, match="same file"):
        check_apart([Named("one", tmp_path / "new"), Named("two", tmp_path / "dangling")], [])
    (tmp_path / "loop").symlink_to("loop")
    nowhere = [Named("one", tmp_path / "loop"), Named("two", tmp_path / "no" / "where"), Named("three", Path("a" * 300))]
    check_apart([*nowhere, *nowhere], [])


def test_an_empty_run_of_pictures_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="no-events-frames"):
        check("photos", events_file="new.jsonl", events_frames=False)


def test_edge_run_refuses_before_the_first_frame(folder: Path, invoke) -> None:  # type: ignore[no-untyped-def]
    before = Path("photos/a.jpg").read_bytes()
    done = invoke("edge-run", "--source", "photos", "--save", "photos", "--no-show", "--overwrite")
    assert (done.returncode, done.stdout) == (2, "")
    assert Path("photos/a.jpg").read_bytes() == before
    done = invoke("edge-run", "--source", "photos", "--save", "empty", "--no-show", "--quiet")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in Path("empty").iterdir()) == ["a.jpg", "b.jpg"]
    assert invoke("edge-run", "--source", "photos", "--save", "empty", "--no-show").returncode == 2
    assert invoke("edge-run", "--source", "photos", "--save", "empty", "--no-show", "--overwrite").returncode == 0


def test_other_commands_keep_the_rule(tmp_path: Path, invoke) -> None:  # type: ignore[no-untyped-def]
    report = tmp_path / "report.json"
    report.write_text("{}")
    model = tmp_path / "model.onnx"
    model.write_text("{}")
    (tmp_path / "link.md").symlink_to(report)
    for arguments, words in (
        (["edge-bench", "compare", "--accuracy", report, "--json", report, "--overwrite"], "--json .* is the input of --accuracy"),
        (
            ["edge-bench", "report", report, "--html", tmp_path / "link.md", "--overwrite"],
            "--html .* is the input of the argument REPORTS",
        ),
        (["edge-bench", "report", report, "--html", tmp_path / "x", "--markdown", tmp_path / "x"], "are the same file"),
        (["edge-bench", "cold-start", "--json", report], "exists already: add --overwrite"),
        (["edge-export", model, "-o", model, "--overwrite"], "would be overwritten"),
        (["edge-export", report, "-o", report, "--overwrite"], "does not end with .onnx"),
        (
            ["edge-export", report, "-o", tmp_path / "link.onnx"],
            "the file beside --output, .*link.md is the input of the argument CHECKPOINT",
        ),
        (["edge-train", "localise", tmp_path, "-o", report], "exists already"),
        (["edge-bench", "cold-start", "--json", ""], "'--json': the name of the file is empty"),
    ):
        done = invoke(*arguments)
        assert done.returncode == 2, done.stderr
        assert re.search(words, done.stderr), done.stderr
    assert report.read_text() == "{}"


def test_folder_of_an_earlier_training(tmp_path: Path) -> None:
    (tmp_path / "best.ckpt").write_text("days of work")
    with pytest.raises(UsageError, match=r"already contains best\.ckpt: go on with --resume, add --overwrite"):
        check_folder(tmp_path, ("last.ckpt", "best.ckpt"), overwrite=False, remedy="go on with --resume, ")
    check_folder(tmp_path, ("last.ckpt", "best.ckpt"), overwrite=True)
    check_folder(tmp_path / "new", ("best.ckpt",), overwrite=False)


def test_logs_of_somebody_else_are_not_removed(tmp_path: Path) -> None:
    check_out = pytest.importorskip("maskedge_train.cli.options").check_out
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "events.out.tfevents.1").touch()
    check_out(tmp_path, ("last.ckpt",), resume=False, overwrite=False)
    (tmp_path / "logs" / "access.log").touch()
    with pytest.raises(UsageError, match="more than logs of trainings"):
        check_out(tmp_path, ("last.ckpt",), resume=False, overwrite=True)
    (tmp_path / "logs" / "access.log").unlink()
    (tmp_path / "last.ckpt").touch()
    with pytest.raises(UsageError, match="continue it with --resume"):
        check_out(tmp_path, ("last.ckpt",), resume=False, overwrite=False)
    check_out(tmp_path, ("last.ckpt",), resume=True, overwrite=False)
    with pytest.raises(UsageError, match="is the file of --init"):
        check_out(tmp_path, ("last.ckpt",), resume=False, overwrite=True, start=tmp_path / "last.ckpt")


def test_the_database_of_another_program_is_no_spool(tmp_path: Path) -> None:
    import sqlite3

    base = sqlite3.connect(tmp_path / "spool.sqlite3")
    base.execute("CREATE TABLE recipes (name TEXT)")
    base.commit()
    base.close()
    before = (tmp_path / "spool.sqlite3").read_bytes()
    with pytest.raises(OutputError, match="another program"):
        Spool(tmp_path, 1000)
    assert (tmp_path / "spool.sqlite3").read_bytes() == before


def test_names_that_are_too_long_leave_the_rules_without_a_traceback(folder: Path) -> None:
    long = folder / ("a" * 300)
    check("photos", output_save=f"{long}.mp4", snapshots_folder=long, clips_folder=long, mqtt_spool=long)


def test_two_cameras_neither_write_one_file_nor_each_others_source(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"x")
    own = "[camera.{section}]\n{key} = '{path}'\n"
    for section, key, path in (
        ("events", "file", tmp_path / "e.jsonl"),
        ("output", "save", tmp_path / "v.mp4"),
        ("clips", "folder", tmp_path / "not" / "there"),
        ("mqtt", "spool", tmp_path),
    ):
        table = own.format(section=section, key=key, path=path)
        text = f"[[camera]]\nname = 'a'\nsource = 'demo'\n{table}[[camera]]\nname = 'b'\nsource = 'demo'\n{table}"
        (tmp_path / "edge.toml").write_text(text)
        with pytest.raises(UsageError, match=r"of camera a and .* of camera b are the same"):
            check_cameras(load_config(tmp_path / "edge.toml", {}).cameras)
    taken = own.format(section="output", key="save", path=clip)
    (tmp_path / "edge.toml").write_text(
        f"[[camera]]\nname = 'a'\nsource = 'demo'\n{taken}[[camera]]\nname = 'b'\nsource = '{clip}'\n"
    )
    with pytest.raises(UsageError, match="is the source of camera b, which would be overwritten"):
        check_cameras(load_config(tmp_path / "edge.toml", {}).cameras)
