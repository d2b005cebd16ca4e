"""The configuration: where values come from, what is refused, and that what is printed can be read again."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest

from maskedge.cli.flags import FLAGS
from maskedge.config import MASK, ConfigError, changed_keys, load_config, secrets_of, section_class, section_names, to_toml
from maskedge.errors import UsageError

EVERYTHING = """
[source]
uri = "rtsp://user:geheim1@camera/1"
stall_timeout = 3
max_retries = 0
[model]
file = "own.onnx"
[zones]
roi = ["door=0.1,0.2 0.5,0.2 0.5,0.9", "0,0 1,0 1,1"]
[output]
show = false
[mqtt]
url = "mqtt://broker"
username = "me"
password = "geheim2"
[limits]
max_fps = 12.5
[[alerts]]
name = "bare \\"faces\\" \\u00e9"
when = "no_mask_fraction"
threshold = 0.5
actions = ["event", "webhook"]
webhook = "https://example.org/hook/geheim3"
[[alerts]]
name = "lost"
when = "camera_lost"
[[line]]
name = "gate"
points = "0.5,0.1 0.5,0.9"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "edge.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_flags_come_before_variables_before_the_file_before_defaults(tmp_path: Path) -> None:
    path = write(tmp_path, "[detect]\nevery = 3\nface_threshold = 0.4\nmin_face_size = 20\n")
    environment = {
        "MASKEDGE_DETECT_EVERY": "4",
        "MASKEDGE_DETECT_FACE_THRESHOLD": "0.6",
        "MASKEDGE_DATA": "/elsewhere",
        "HOME": "/",
    }
    loaded = load_config(path, environment, {"detect.every": 7, "detect.min_face_size": None})
    detect = loaded.config.detect
    assert (detect.every, detect.face_threshold, detect.min_face_size, detect.detector) == (7, 0.6, 20, "haar")
    assert loaded.origins["detect.every"] == "flag"
    assert loaded.origins["detect.face_threshold"] == "MASKEDGE_DETECT_FACE_THRESHOLD"
    assert loaded.origins["detect.min_face_size"] == str(path)
    assert "detect.detector" not in loaded.origins


def test_a_source_given_as_flag_replaces_the_one_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, '[source]\nuri = "rtsp://camera"\n')
    assert load_config(path, {}, {"source.camera": "0"}).config.source.address == "0"
    assert load_config(path, {}).config.source.address == "rtsp://camera"
    with pytest.raises(UsageError, match="give exactly one source"):
        _ = load_config(None, {}, {"source.camera": "0", "source.uri": "demo"}).config.source.address


def test_variables_are_read_by_the_type_of_their_key() -> None:
    environment = {
        "MASKEDGE_OUTPUT_SHOW": "no",
        "MASKEDGE_LIMITS_MAX_FPS": "7.5",
        "MASKEDGE_LIMITS_THREADS": "2",
        "MASKEDGE_MODEL_FILE": "/models/own.onnx",
        "MASKEDGE_ZONES_ROI": "a=0,0 1,0 1,1; b=0,0 0.5,0 0.5,1",
        "MASKEDGE_PRIVACY_ANONYMIZE": "1",
    }
    config = load_config(None, environment).config
    assert config.output.show is False
    assert (config.limits.max_fps, config.limits.threads) == (7.5, 2)
    assert config.model.file == Path("/models/own.onnx")
    assert config.zones.roi == ("a=0,0 1,0 1,1", "b=0,0 0.5,0 0.5,1")
    assert config.privacy.anonymize is True


def test_defaults_are_those_of_the_library() -> None:
    """The configuration knows them without loading OpenCV."""
    from maskedge.vision.pipeline import DETECT_EVERY

    detect = load_config(None, {}).config.detect
    assert detect.every == DETECT_EVERY


REFUSED = {
    "unknown key": ("[detect]\nevrey = 2", r"edge\.toml: detect\.evrey: \[detect\] has no key 'evrey': did you mean every\?"),
    "unknown section": ("[detekt]\nevery = 2", r"there is no section \[detekt\]: did you mean detect\?"),
    "section that is a value": ("detect = 3", r"detect is a section"),
    "text for a number": ('[detect]\nevery = "2"', r"edge\.toml: detect\.every takes a whole number from 1 to 10000, got '2'"),
    "fraction for a whole number": ("[detect]\nevery = 2.5", "takes a whole number from 1 to 10000, got 2.5"),
    "switch for a number": ("[limits]\nmax_fps = true", "takes a number from 0.1 to 1000, got True"),
    "no number": ("[limits]\nmax_fps = nan", "takes a number from 0.1 to 1000, got nan"),
    "number for a switch": ("[output]\nshow = 1", "takes true or false, got 1"),
    "text for a list": ('[zones]\nroi = "0,0 1,0 1,1"', "takes a list of text"),
    "list of other things": ("[zones]\nroi = [1]", "takes a list of text"),
    "out of range": ("[detect]\nevery = 0", r"detect\.every takes a number from 1 to 10000, got 0"),
    "unknown choice": ('[log]\nlevel = "loud"', r"log\.level is one of debug, info, warning, error"),
    "alerts that are no tables": ("[alerts]\nname = 3", r"write \[\[alerts\]\]"),
    "alert with an unknown key": (
        '[[alerts]]\nnaem = "x"',
        r"alerts\[1\]\.naem: an alert rule has no key 'naem': did you mean name\?",
    ),
    "alert with a wrong type": ("[[alerts]]\nname = 3", r"alerts\[1\]\.name takes text, got 3"),
    "lines that are no tables": ("[line]\nname = 3", r"write \[\[line\]\] with name and points"),
    "line with an unknown key": ('[[line]]\npoint = "x"', r"line\[1\]\.point: a line has no key 'point': did you mean points\?"),
    "line with a list of points": ('[[line]]\nname = "a"\npoints = [[0, 1]]', r"line\[1\]\.points takes text"),
    "line of no length": ('[[line]]\nname = "a"\npoints = "0,0 0,0"', "points 1 and 2 of line a are too close together"),
    "line of a camera, outside the picture": (
        '[[camera]]\nname = "hall"\nsource = 0\n[[camera.line]]\nname = "a"\npoints = "0,0 2,0"',
        "the point '2,0' of line a is outside the picture",
    ),
    "no TOML": ("[detect\n", "is not TOML"),
    "two ways to find faces": ('[detect]\ncascade = "a.xml"\ndetector_model = "b.onnx"', "leave one of them out"),
}


@pytest.mark.parametrize(("text", "sentence"), REFUSED.values(), ids=REFUSED.keys())
def test_rubbish_is_refused_in_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as refusal:
        load_config(write(tmp_path, text), {})
    assert "\n" not in str(refusal.value)
    assert str(refusal.value).endswith((".", "?"))


def test_every_error_of_a_file_is_found(tmp_path: Path) -> None:
    file = tmp_path / "edge.toml"
    file.write_text(
        '[source]\nwidht = 3\n[detect]\nevery = 0\ndetector = 4\n[lgo]\na = 1\n[log]\nlevel = "loud"\n'
        '[[alerts]]\nnam = "a"\nwhen = 3\n[[line]]\nname = 3\n'
        '[[camera]]\nname = "a/b"\nsource = 0\n[camera.web]\nserve = "8080"\n[[camera]]\nname = "door"\n'
    )
    with pytest.raises(ConfigError) as failure:
        load_config(file, {"MASKEDGE_LOG_LEVL": "info", "MASKEDGE_WEB": "8080"})
    sentences = (
        *(
            "source.widht: ",
            "detect.every takes",
            "detect.detector takes",
            "no section [lgo]",
            "alerts[1].nam: ",
            "alerts[1].when takes",
        ),
        *("line[1].name takes", "camera[1].name contains", "web.serve is the same for all cameras", "camera[2] needs one source"),
        *("MASKEDGE_WEB names no key", "MASKEDGE_LOG_LEVL: ", "log.level is one of"),
    )
    problems = failure.value.problems
    assert len(problems) == len(sentences), problems
    for sentence in sentences:
        assert any(sentence in problem for problem in problems), sentence
    assert str(failure.value) == problems[0]


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("[source]\nurl = 3", "did you mean uri?"),
        ("[limits]\nfps = 3", "did you mean max_fps?"),
        ("[mqtt]\nhost = 3", "known are url, "),
        ("[source]\nsource = 3", "known are uri, "),
        ("[[alerts]]\nduration = 3", "known are name, "),
        ("[source]\nevery = 3", "it is a key of [detect]."),
        ('uri = "demo"', "uri is a key of [source]: write it below that line."),
    ],
)
def test_only_a_name_that_helps_is_suggested(tmp_path: Path, text: str, end: str) -> None:
    (tmp_path / "edge.toml").write_text(text)
    with pytest.raises(UsageError) as failure:
        load_config(tmp_path / "edge.toml", {})
    assert end in str(failure.value)


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    os.mkfifo(tmp_path / "pipe.toml")
    for path, sentence in (
        (tmp_path / "none.toml", "No such file"),
        (tmp_path, "Is a directory"),
        (tmp_path / "binary.toml", "UTF-8"),
        (tmp_path / "pipe.toml", "not a regular file"),
        (Path("/dev/zero"), "not a regular file"),
    ):
        with pytest.raises(UsageError, match=sentence):
            load_config(path, {})


BOMBS = {
    "an integer beyond 64 bits": "[limits]\nmax_fps = 1" + "0" * 400,
    "an integer of more digits than Python reads": "[detect]\nevery = " + "9" * 5000,
    "lists in lists": "[detect]\nevery = " + "[" * 50_000,
    "lists that end": "[detect]\nevery = " + "[" * 2000 + "]" * 2000,
    "tables in tables": "[detect]\nevery = " + "{a=" * 500 + "1" + "}" * 500,
    "a key of many parts": ".".join(["a"] * 100_000) + " = 1",
    "a key of many quoted parts": ".".join(['"a"'] * 20_000) + " = 1",
    "a section of many parts": "[" + ".".join(["a"] * 100_000) + "]",
    "brackets in a text": "[detect]\ndetector = '" + "[" * 5000 + "'",
    "a megabyte": "x" * 1_000_000,
    "rules without end": "[[alerts]]\n" * 5000,
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS.keys())
def test_a_file_that_is_hard_on_the_parser_is_refused_in_a_sentence(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError) as refusal:
        load_config(write(tmp_path, text), {})
    assert len(str(refusal.value)) < 500
    assert "\n" not in str(refusal.value)


def test_brackets_and_dots_in_texts_are_no_depth(tmp_path: Path) -> None:
    text = '[source]\nuri = """rtsp://' + "a.b" * 20 + "[" * 40 + '"""\n[output]\nsave = \'' + "[" * 40 + "' # " + "[" * 40
    config = load_config(write(tmp_path, text), {}).config
    assert str(config.source.uri).endswith("[" * 40)
    assert config.output.save == "[" * 40


def test_no_exception_but_a_sentence_leaves_a_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (MemoryError(), OverflowError("too large"), RecursionError("deep"), KeyError("x"), AssertionError()):
        with monkeypatch.context() as patch:
            patch.setattr("maskedge.config.read_toml", raising(error))
            with pytest.raises(UsageError, match=f"cannot be used \\({type(error).__name__}"):
                load_config(write(tmp_path, ""), {})


def raising(error: Exception) -> Callable[[Path], dict[str, object]]:
    def read(file: Path) -> dict[str, object]:
        raise error

    return read


def test_a_choice_is_made_anew_by_what_comes_later(tmp_path: Path) -> None:
    path = write(tmp_path, '[detect]\ncascade = "own.xml"\n')
    detect = load_config(path, {}, {"detect.detector": "cnn"}).config.detect
    assert (detect.detector, detect.cascade) == ("cnn", None)
    detect = load_config(path, {"MASKEDGE_DETECT_DETECTOR_MODEL": "own.onnx"}).config.detect
    assert (detect.cascade, detect.detector_model) == (None, Path("own.onnx"))
    camera = load_config(write(tmp_path, '[source]\nuri = "demo"'), {"MASKEDGE_SOURCE_CAMERA": "0"}).config.source
    assert camera.address == "0"


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("MASKEDGE_DETECT_EVERY", "often", "MASKEDGE_DETECT_EVERY takes a whole number from 1 to 10000, got 'often'"),
        ("MASKEDGE_DETECT_EVREY", "2", "did you mean every?"),
        ("MASKEDGE_DETEKT_EVERY", "2", "did you mean MASKEDGE_DETECT_EVERY?"),
        ("MASKEDGE_OUTPUT_SHOW", "perhaps", "takes true or false"),
    ],
)
def test_variables_with_rubbish_are_refused(name: str, text: str, sentence: str) -> None:
    with pytest.raises(UsageError) as refusal:
        load_config(None, {name: text})
    assert sentence in str(refusal.value)


def test_a_secret_of_the_wrong_type_is_not_printed() -> None:
    with pytest.raises(UsageError) as refusal:
        load_config(None, {"MASKEDGE_MQTT_QOS": "geheim"})
    assert "MASKEDGE_MQTT_QOS" in str(refusal.value)


@pytest.mark.parametrize(
    "text",
    [
        '[source]\nuri = ["rtsp://u:geheim@h/x"]',
        '[source]\n"rtsp://u:geheim@h/x" = 1',
        '["rtsp://u:geheim@h/x"]\nuri = "demo"',
        '[output]\nsave = ["mqtt://u:geheim@h"]',
        '[web]\nserve = "u:geheim@127.0.0.1:80"',
        '[[camera]]\nname = "door"\nsource = {uri = "rtsp://u:geheim@h/x"}',
        '[[camera]]\nname = "door"\nsource = {password = "geheim"}',
        '[[camera]]\nname = "door"\nsource = 0\n"rtsp://u:geheim@h/x" = 1',
        '[[camera]]\nname = "rtsp://u:geheim@h/x"\nsource = 0',
    ],
)
def test_an_address_in_the_wrong_place_is_refused_without_its_password(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError) as refusal:
        load_config(write(tmp_path, text), {})
    assert "geheim" not in str(refusal.value)
    assert MASK in str(refusal.value)
    with pytest.raises(UsageError, match="MASKEDGE_SOURCE_WIDTH takes a whole number") as refusal:
        load_config(None, {"MASKEDGE_SOURCE_WIDTH": "rtsp://u:geheim@h"})
    assert "geheim" not in str(refusal.value)


def test_what_is_printed_loads_to_the_same_configuration(tmp_path: Path) -> None:
    loaded = load_config(write(tmp_path, EVERYTHING), {}, {"detect.every": 9, "output.save": 'a "b" \\ \x7f \u00e9.mp4'})
    text = to_toml(loaded)
    (tmp_path / "again").mkdir()
    again = load_config(write(tmp_path / "again", text), {}).config
    # Secrets alone are left out.
    assert set(changed_keys(loaded.config, again)) == {"source.uri", "mqtt.password", "alerts"}
    assert [rule.name for rule in again.alerts] == ['bare "faces" \u00e9', "lost"]
    assert "geheim" not in text
    assert MASK in text
    assert f"(from {tmp_path / 'edge.toml'})" in text
    assert "(from flag)" in text
    assert secrets_of(loaded.config) == {"user:geheim1", "geheim1", "geheim2", "https://example.org/hook/geheim3"}


def test_a_camera_has_its_own_lines_or_the_common_ones(tmp_path: Path) -> None:
    text = """
    [[line]]
    name = "gate"
    points = "0,0.5 1,0.5"
    [[camera]]
    name = "hall"
    source = 0
    [[camera.line]]
    name = "stairs"
    points = "0.5,0 0.5,1"
    [[camera]]
    name = "yard"
    source = "rtsp://yard/1"
    """
    loaded = load_config(write(tmp_path, text), {})
    assert [[line.name for line in camera.lines] for camera in loaded.cameras] == [["stairs"], ["gate"]]
    (tmp_path / "again").mkdir()
    again = load_config(write(tmp_path / "again", to_toml(loaded)), {})
    assert [camera.lines for camera in again.cameras] == [camera.lines for camera in loaded.cameras]
    assert changed_keys(loaded.cameras[0], loaded.cameras[1])[:1] == ["line"]


def test_defaults_print_and_load(tmp_path: Path) -> None:
    loaded = load_config(None, {})
    assert changed_keys(loaded.config, load_config(write(tmp_path, to_toml(loaded)), {}).config) == []


def test_every_key_is_explained() -> None:
    for section in (*section_names(), "alerts", "line"):
        for entry in fields(section_class(section)):
            assert entry.metadata.get("help"), f"{section}.{entry.name}"


def test_every_flag_has_a_key() -> None:
    for flag in FLAGS:
        section, _, key = flag.key.partition(".")
        assert key in {entry.name for entry in fields(section_class(section))}, flag.names


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://cam/v.cgi?usr=me&pwd=geheim&size=2", f"http://cam/v.cgi?usr={MASK}&pwd={MASK}&size=2"),
        ("rtsp://admin:ge#heim/geheim@cam/1?token=geheim", f"rtsp://{MASK}@cam/1?token={MASK}"),
        (
            "gst:rtspsrc location=rtsp://a:geheim@b user-pw=geheim ! appsink",
            f"gst:rtspsrc location=rtsp://{MASK}@b user-pw={MASK} ! appsink",
        ),
    ],
)
def test_secrets_of_addresses_are_printed_nowhere(tmp_path: Path, address: str, shown: str) -> None:
    loaded = load_config(None, {"MASKEDGE_SOURCE_URI": address, "MASKEDGE_MQTT_URL": "mqtts://me:geheim@broker"})
    text = to_toml(loaded)
    assert f'# uri = "{shown}"' in text
    assert f'# url = "mqtts://{MASK}@broker"' in text
    assert "geheim" not in text
    assert any("geheim" in secret for secret in secrets_of(loaded.config))
    file = tmp_path / "address"
    file.write_text(f"\ufeff{address}\r\n", "utf-8")
    loaded = load_config(None, {"MASKEDGE_SOURCE_URI": "demo"}, {"source.uri_file": file})
    assert loaded.config.source.address == address, "a flag replaces what a variable chose"
    assert "geheim" not in to_toml(loaded)
    assert any("geheim" in secret for secret in secrets_of(loaded.config))


def test_a_file_without_an_address(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "long").write_text("a" * 100_000)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name, sentence in (
        ("empty", "contains no address"),
        ("long", "is larger than"),
        ("binary", "not UTF-8 text"),
        ("missing", "cannot be read"),
    ):
        config = load_config(None, {}, {"source.uri_file": tmp_path / name}).config
        with pytest.raises(UsageError, match=sentence):
            _ = config.source.address
        assert secrets_of(config) == set(), "the log is set up all the same"


def test_the_byte_order_mark_of_windows_editors_is_no_part_of_a_text(tmp_path: Path) -> None:
    file, address = tmp_path / "edge.toml", tmp_path / "address"
    file.write_bytes(b'\xef\xbb\xbf[source]\r\nuri = "demo"\r\n')
    address.write_bytes(b"\xef\xbb\xbfdemo\r\n")
    assert load_config(file, {}).config.source.address == "demo"
    assert load_config(None, {}, {"source.uri_file": address}).config.source.address == "demo"


CAMERAS = """
[device]
name = "shop"
[source]
stall_timeout = 3
[output]
save = "out.mp4"
[events]
file = "events.jsonl"
[clips]
folder = "clips"
[mqtt]
topic = "site/hall"
[privacy]
stats_only = true
[[alerts]]
name = "common"
when = "camera_lost"
[[camera]]
name = "door"
source = 0
width = 640
height = 480
[[camera]]
name = "Tür 2"
source = "rtsp://me:geheim5@cam/1"
[camera.privacy]
anonymize = true
[camera.events]
file = "own.jsonl"
[camera.zones]
roi = ["a=0,0 1,0 1,1"]
[[camera.alerts]]
name = "own"
when = "too_many_people"
threshold = 3
zone = "a"
"""


def test_a_camera_takes_from_the_common_sections_what_it_does_not_say(tmp_path: Path) -> None:
    door, other = load_config(write(tmp_path, CAMERAS), {}).cameras
    assert (door.camera, door.source.address, door.source.width, door.source.stall_timeout) == ("door", "0", 640, 3.0)
    assert (other.camera, other.source.address, other.source.width) == ("Tür 2", "rtsp://me:geheim5@cam/1", None)
    assert (door.privacy.stats_only, door.privacy.anonymize) == (True, False)
    assert (other.privacy.stats_only, other.privacy.anonymize) == (True, True)
    assert [rule.name for rule in door.alerts] == ["common"]
    assert [rule.name for rule in other.alerts] == ["own"]
    # No two cameras share a path or a topic.
    assert (door.output.save, door.events.file, door.clips.folder) == ("out-door.mp4", "events-door.jsonl", Path("clips/door"))
    assert (other.output.save, other.events.file, other.clips.folder) == ("out-Tür 2.mp4", "own.jsonl", Path("clips/Tür 2"))
    assert (door.mqtt.topic, other.mqtt.topic) == ("site/hall/door", "site/hall/Tür 2")
    assert secrets_of(door, other) == {"me:geheim5", "geheim5"}


def test_without_tables_there_is_one_camera_without_a_name(tmp_path: Path) -> None:
    loaded = load_config(write(tmp_path, '[source]\nuri = "demo"'), {})
    assert loaded.cameras == (loaded.config,)
    assert (loaded.config.camera, loaded.tables) == ("", ())


def test_cameras_of_the_command_line_replace_those_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, CAMERAS)
    flags = {"cameras": (("door", "demo"), ("new", "1")), "output.save": "all.mp4"}
    door, new = load_config(path, {}, flags).cameras
    assert (door.source.address, door.source.width, door.output.save) == ("demo", 640, "all-door.mp4")
    assert (new.source.address, new.source.width, new.output.save) == ("1", None, "all-new.mp4")
    # A source of a later place replaces the cameras of the file, as it replaces another source.
    for environment, own in (({"MASKEDGE_SOURCE_URI": "demo"}, {}), ({}, {"source.camera": "0"})):
        (alone,) = load_config(path, environment, own).cameras
        assert (alone.camera, alone.output.save) == ("", "out.mp4")


def test_what_is_printed_of_cameras_loads_to_the_same_cameras(tmp_path: Path) -> None:
    text = CAMERAS.replace("me:geheim5@", "")
    loaded = load_config(write(tmp_path, text), {})
    printed = to_toml(loaded)
    (tmp_path / "again").mkdir()
    again = load_config(write(tmp_path / "again", printed), {})
    assert len(again.cameras) == 2
    for one, other in zip(loaded.cameras, again.cameras, strict=True):
        assert (one.camera, changed_keys(one, other)) == (other.camera, [])
    assert "geheim5" not in to_toml(load_config(write(tmp_path, CAMERAS), {}))


def test_a_camera_without_the_common_rules_and_lines_is_printed_without_them(tmp_path: Path) -> None:
    common = '[[alerts]]\nname = "gone"\nwhen = "source_lost"\nactions = ["mqtt"]\n[[line]]\nname = "gate"\npoints = "0,0 1,1"\n'
    text = f'{common}[[camera]]\nname = "door"\nsource = 0\nalerts = []\nline = []\n[camera.detect]\nevery = 2\n'
    (door,) = load_config(write(tmp_path, text), {}).cameras
    assert (door.alerts, door.lines) == ((), ())
    (again,) = load_config(write(tmp_path, to_toml(load_config(write(tmp_path, text), {}))), {}).cameras
    assert (again.alerts, again.lines, again.detect.every) == ((), (), 2)


def test_an_unknown_home_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"~nobody-here/edge\.toml names a home folder that does not exist"):
        load_config(Path("~nobody-here/edge.toml"), {})


REFUSED_CAMERAS = {
    "no name": ("[[camera]]\nsource = 0", r"camera\[1\] has no name"),
    "name that is a number": ("[[camera]]\nname = 3\nsource = 0", r"camera\[1\]\.name takes text, got 3"),
    "no source": ('[[camera]]\nname = "a"', "needs one source"),
    "two sources": ('[[camera]]\nname = "a"\nsource = 0\nuri_file = "x"', "needs one source"),
    "source that is a switch": ('[[camera]]\nname = "a"\nsource = true', "takes the number of a camera or a text, got True"),
    "negative camera": ('[[camera]]\nname = "a"\nsource = -1', "takes the number of a camera or a text"),
    "uri": ('[[camera]]\nname = "a"\nuri = "demo"', "a camera has the key source"),
    "one table": ('[camera]\nname = "a"', r"write \[\[camera\]\]"),
    "slash": ('[[camera]]\nname = "a/b"\nsource = 0', "camera.1..name contains '/'"),
    "plus": ('[[camera]]\nname = "a+"\nsource = 0', "contains '\\+'"),
    "emoji": ('[[camera]]\nname = "\U0001f6aa"\nsource = 0', "use letters and digits"),
    "blank": ('[[camera]]\nname = "  "\nsource = 0', "is empty"),
    "same name": ('[[camera]]\nname = "a"\nsource = 0\n[[camera]]\nname = "A"\nsource = 1', "two cameras have the name 'a'"),
    "same device": (
        '[[camera]]\nname = "a"\nsource = 0\n[[camera]]\nname = "b"\nsource = "/dev/video0"',
        "the cameras 'a' and 'b' have the same device /dev/video0",
    ),
    "a source beside": ('[source]\nuri = "demo"\n[[camera]]\nname = "a"\nsource = 0', r"\[source\] and \[\[camera\]\] both give"),
    "unknown key": ('[[camera]]\nname = "a"\nsource = 0\nwidht = 3', "did you mean width?"),
    "unknown section": ('[[camera]]\nname = "a"\nsource = 0\n[camera.privcy]\nanonymize = true', "did you mean privacy"),
    "key of the process": ('[[camera]]\nname = "a"\nsource = 0\n[camera.web]\nserve = "8080"', "web.serve is the same for all"),
    "section of the process": ('[[camera]]\nname = "a"\nsource = 0\n[camera.log]\nquiet = true', "the same for all cameras"),
    "too many": ("".join(f'[[camera]]\nname = "c{n}"\nsource = {n}\n' for n in range(33)), "33 cameras are too many"),
    "SQL": ('[[camera]]\nname = "a\'; DROP TABLE x"\nsource = 0', "contains"),
}


@pytest.mark.parametrize(("text", "sentence"), REFUSED_CAMERAS.values(), ids=REFUSED_CAMERAS.keys())
def test_cameras_that_cannot_be_are_refused_in_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as refusal:
        load_config(write(tmp_path, text), {})
    assert "\n" not in str(refusal.value)


def test_thirty_two_cameras_load(tmp_path: Path) -> None:
    text = "".join(f'[[camera]]\nname = "c{number}"\nsource = {number}\n' for number in range(32))
    assert len(load_config(write(tmp_path, text), {}).cameras) == 32


def test_variables_of_the_server_of_a_fleet_are_not_those_of_a_device() -> None:
    server = {"MASKEDGE_FLEET_DATABASE": "sqlite:///x", "MASKEDGE_FLEET_BROKER": "mqtt://x", "MASKEDGE_FLEET_MQTT_PASSWORD": "x"}
    own = {"MASKEDGE_FLEET_ENABLED": "yes", "MASKEDGE_FLEET_TRUSTED_KEYS": "a.pub;b.pub"}
    fleet = load_config(environment=server | own).config.fleet
    assert (fleet.enabled, [str(path) for path in fleet.trusted_keys]) == (True, ["a.pub", "b.pub"])
    with pytest.raises(UsageError, match="MASKEDGE_FLEET_COMANDS"):
        load_config(environment={"MASKEDGE_FLEET_COMANDS": "reload"})


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("MASKEDGE_CAMERA_NAME", r"cannot set a table \[\[camera\]\]: write it in an edge\.toml"),
        ("MASKEDGE_LINE_NAME", r"cannot set a table \[\[line\]\]"),
        ("MASKEDGE_ALERTS", r"cannot set a table \[\[alerts\]\]"),
        ("MASKEDGE_DETECT", r"names no key of \[detect\]: write MASKEDGE_DETECT_DETECTOR, for example"),
    ],
)
def test_variables_that_set_nothing_are_refused(name: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        load_config(environment={name: "3"})


def test_the_number_of_a_camera_is_taken_as_a_number(tmp_path: Path) -> None:
    (tmp_path / "edge.toml").write_text("[source]\ncamera = 2\n")
    assert load_config(tmp_path / "edge.toml", {}).config.source.camera == "2"
