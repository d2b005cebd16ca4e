from __future__ import annotations

import re
from pathlib import Path

from helpers.fleet.small_server import Signer
from maskedge.modelfile.precision import bundled_classifier, bundled_detector


def test_fit_machine(command) -> None:  # type: ignore[no-untyped-def]
    done = command("edge-doctor")
    assert done.returncode == 0, done.stdout
    for word in (
        "Python 3.",
        "cores",
        "OpenCV 4.",
        "GStreamer",
        "face cascade",
        "onnxruntime 1.",
        "CPUExecutionProvider",
        bundled_classifier().name,
        f"{bundled_detector().name}: face; finds faces from 13 pixels in a picture of 640 x 480",
        "face cascade haar.xml: finds faces from 40 pixels",
    ):
        assert word in done.stdout
    assert all(line.startswith(("ok ", "note ")) for line in done.stdout.splitlines())
    assert "camera" in done.stdout


def test_broken_model_fails_with_a_remedy(command, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "model.onnx").write_bytes(b"rubbish")
    done = command("edge-doctor", "--model", tmp_path / "model.onnx")
    assert done.returncode == 1
    assert "FAIL model:" in done.stdout
    assert "Traceback" not in done.stderr


def test_two_opencv_packages_are_noticed(command, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Two OpenCV distributions side by side, as pip installs them."""
    info = tmp_path / "opencv_python_headless-4.10.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: opencv-python-headless\nVersion: 4.10.0\n")
    done = command("edge-doctor", env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1
    assert "2 OpenCV packages overwrite each other" in done.stdout
    assert "pip uninstall -y opencv-python opencv-python-headless" in done.stdout


def test_missing_system_library_is_named(command, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """OpenCV fails to load, as on a fresh Debian without libGL."""
    (tmp_path / "cv2").mkdir()
    (tmp_path / "cv2" / "__init__.py").write_text(
        "raise ImportError('libGL.so.1: cannot open shared object file: No such file or directory')\n"
    )
    env = {"PYTHONPATH": str(tmp_path)}
    done = command("edge-doctor", env=env)
    assert done.returncode == 1
    assert "sudo apt install libgl1 libglib2.0-0" in done.stdout
    done = command("edge-run", "--source", "demo", env=env)
    assert done.returncode == 1
    assert "libGL.so.1 is missing" in done.stderr
    assert "sudo apt install" in done.stderr
    assert "Traceback" not in done.stderr


CAMERAS = """
[detect]
detector = "cnn"
[[camera]]
name = "door"
source = "demo"
live = true
loop = true
fps = 10
[[camera]]
name = "gate"
source = "rtsp://bob:hunter2@127.0.0.1:9/x"
[[camera]]
name = "hall"
source = "demo"
[camera.detect]
min_face_size = 60
"""


def test_each_camera_of_a_configuration_is_tried(command, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "edge.toml"
    file.write_text(CAMERAS)
    before = sorted(tmp_path.iterdir())
    done = command("edge-doctor", "--config", file)
    door, gate, hall = (line for line in done.stdout.splitlines() if line[5:].startswith("camera "))
    assert re.match(r"ok   camera door \(demo\): 640 x 480, (9|10|11)\.\d frames/s, sharpness \d+, light \d+% ", door)
    assert re.search(r"\d faces? now; finds faces from 13 pixels, up to 6\.7 m away with a lens of 60 degrees$", door)
    assert gate.startswith("FAIL camera gate: ")
    assert " -> check the address" in gate
    assert hall.startswith("ok   camera hall (demo): 640 x 480, sharpness")
    assert "finds faces from 60 pixels, up to 1.5 m away" in hall
    assert done.returncode == 1, "one camera of three failed"
    assert "hunter2" not in done.stdout + done.stderr
    assert sorted(tmp_path.iterdir()) == before, "no picture is kept"


def test_the_camera_of_a_file_with_one_source_is_tried(command, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "edge.toml"
    file.write_text('[source]\nuri = "demo"\n[detect]\nmin_face_size = 20\n')
    done = command("edge-doctor", "--config", file)
    assert done.returncode == 0, done.stdout
    assert "note camera (demo): 640 x 480" in done.stdout
    assert "faces of min_face_size (20 pixels) cannot be found" in done.stdout, "the cascade scans for 23 pixels"


def test_an_invalid_configuration_or_model_ends_with_its_code(command, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "edge.toml"
    (tmp_path / "model.onnx").write_bytes(b"rubbish")
    file.write_text(f'[source]\nuri = "demo"\n[model]\nfile = "{tmp_path}/model.onnx"\n')
    done = command("edge-doctor", "--config", file)
    assert (done.returncode, done.stderr.startswith("error: "), done.stderr.count("\n")) == (4, True, 1), done.stderr
    file.write_text("[detect]\nevrey = 1\ndetector = 2\n[web]\nserve = 1\n")
    done = command("edge-doctor", "--config", file)
    assert (done.returncode, done.stdout.count("FAIL "), done.stderr) == (2, 3, ""), "every error"
    assert f"FAIL {file}: detect.evrey: [detect] has no key 'evrey': did you mean every?" in done.stdout
    assert "ok   model" in done.stdout, "the host is checked all the same"


def test_the_section_of_a_fleet_is_checked(command, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "edge.toml"
    source, broker = '[source]\nuri = "demo"\n', '[mqtt]\nurl = "mqtt://localhost"\ntopic = "{topic}"\n'
    key = Signer(tmp_path).public
    for topic, keys, line in (
        ("maskedge/door", "", "ok   fleet: delivers to maskedge/door, takes no commands"),
        (
            "maskedge/door",
            f'commands = ["reload"]\ntrusted_keys = ["{key}"]',
            "ok   fleet: delivers to maskedge/door, takes reload",
        ),
        ("door", "", "FAIL fleet: [fleet] needs an [mqtt] topic of two levels, such as maskedge/door, got 'door'."),
        ("a/b", 'commands = ["reload"]\ntrusted_keys = ["none.pub"]', "FAIL fleet: the public key none.pub cannot be read"),
    ):
        file.write_text(f"{source}{broker.format(topic=topic)}[fleet]\nenabled = true\n{keys}\n")
        done = command("edge-doctor", "--config", file)
        assert line in done.stdout, done.stdout
        assert done.returncode == line.startswith("FAIL")


def test_an_alert_rule_that_edge_run_would_refuse_is_refused(command, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "edge.toml").write_text('[source]\nuri = "demo"\n[[alerts]]\nname = "a"\nwhen = "mask_visible"\n')
    done = command("edge-doctor", "--config", tmp_path / "edge.toml")
    assert done.returncode == 2
    assert "FAIL alert rule 'a': when = 'mask_visible' is unknown" in done.stdout


BROKEN_OUTPUTS = """
[source]
uri = "demo"
[notify]
urls = ["mailtoo://bob:geheim@example.org"]
[output]
save = "{folder}/missing/out.mp4"
[events]
file = "{folder}/events.jsonl"
[history]
file = "{folder}"
[snapshots]
folder = "{folder}/new/snapshots"
[clips]
folder = "{folder}/edge.toml/clips"
suffix = ".gif"
[mqtt]
url = "mqtts://localhost"
ca_file = "{folder}/missing.pem"
[[alerts]]
name = "a"
when = "person_without_mask"
threshold = 0.5
labels = ["hat"]
actions = ["notify", "webhook", "snapshot"]
webhook = "example.org/hook"
"""


def test_actions_and_outputs_that_edge_run_would_refuse_are_found(command, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "edge.toml"
    file.write_text(BROKEN_OUTPUTS.format(folder=tmp_path))
    done = command("edge-doctor", "--config", file)
    assert done.returncode == 1, done.stdout
    for line in (
        "FAIL the address 1 of [notify] (mailtoo://...) is not one of Apprise",
        "FAIL alert rule 'a': webhook is an http:// or https:// URL",
        "note alert rule 'a' has a threshold, but person_without_mask has none  -> remove threshold",
        "FAIL camera: alert rule 'a' waits for the label 'hat'",
        "FAIL [clips] suffix is one of ",
        f"FAIL [clips] folder {file}/clips: {file} is in the way",
        f"FAIL [output] save {tmp_path}/missing/out.mp4: its folder does not exist  -> mkdir -p {tmp_path}/missing",
        f"FAIL [history] file {tmp_path}: it is a folder  -> name a file in it",
        f"[events] file {tmp_path}/events.jsonl: ",
        f"[snapshots] folder {tmp_path}/new/snapshots: ",
        "missing.pem",
    ):
        assert line in done.stdout, line
    assert "geheim" not in done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == [file], "no folder is created"


def test_a_program_of_an_alert_rule_that_cannot_be_run_is_found(command, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    rule = '[[{}]]\nname = "{}"\nwhen = "camera_lost"\nactions = ["command"]\ncommand = ["{}"]\n'
    file = tmp_path / "edge.toml"
    file.write_text(
        rule.format("alerts", "here", "true")
        + '[[camera]]\nname = "door"\nsource = "demo"\n'
        + rule.format("camera.alerts", "gone", tmp_path / "missing.sh")
    )
    done = command("edge-doctor", "--config", file)
    assert done.returncode == 1
    assert f"FAIL alert rule 'gone': the program {tmp_path / 'missing.sh'} cannot be run" in done.stdout
    assert "'here'" not in done.stdout
