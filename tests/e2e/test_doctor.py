from __future__ import annotations

from pathlib import Path

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
