"""The app in a real browser: regular use and common mistakes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest

from helpers.browsers import CHROMIUM, DRIVER, MISSING, start_chromium
from helpers.support import METADATA, environment, free_port, write_model
from maskedge.sources import demo

pytest.importorskip("streamlit", reason="the extra app is not installed")
pytestmark = pytest.mark.slow  # every view in a real browser

needs_browser = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=MISSING)
PATIENCE = 180.0
UNKNOWN = "\N{EN DASH}"


def start(*arguments: str, temporary: Path) -> subprocess.Popen[str]:
    """Start the command as a user does, with its temporary files in `temporary`."""
    env = environment({"TMPDIR": str(temporary), "HOME": str(temporary)})
    command = [sys.executable, "-m", "maskedge.cli.app", *arguments]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=temporary)


def wait_for(found: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """Wait for a true value and return it."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.1)
    raise AssertionError(f"{what} did not come within {patience:.0f} s")


def is_up(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:  # noqa: S310  (our own page)
            return bool(reply.status == 200)
    except OSError:
        return False


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the server's temporary files."""
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def server(temporary: Path) -> Iterator[str]:
    """The address of one server for all tests."""
    port = free_port()
    process = start("--port", str(port), temporary=temporary)
    try:
        wait_for(lambda: is_up(f"http://127.0.0.1:{port}/_stcore/health"), "the page")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        _, complaints = process.communicate(timeout=20)
    assert "Traceback" not in complaints, complaints


class Visitor:
    """A separate browser and the actions of a visitor."""

    def __init__(self, server: str, folder: Path, camera: Path) -> None:
        self.downloads = folder / "downloads"
        self.downloads.mkdir()
        self.server = server
        self.driver = start_chromium(
            folder / "profile",
            *("use-fake-ui-for-media-stream", "use-fake-device-for-media-stream"),
            *("window-size=1280,1000", f"use-file-for-fake-video-capture={camera}"),
        )
        behaviour = {"behavior": "allow", "downloadPath": str(self.downloads)}
        self.driver.execute_cdp_cmd("Browser.setDownloadBehavior", behaviour)

    def close(self) -> None:
        self.driver.quit()

    def open(self, view: str, words: str) -> None:
        self.driver.get(f"{self.server}/{view}")
        self.see(words)

    def text(self) -> str:
        """Return all visible text, including that of components."""
        script = """
          const deep = (root) => [...root.querySelectorAll('*')].filter((one) => one.shadowRoot)
            .map((one) => [...one.shadowRoot.children].map((child) => child.innerText || '').join(' ') + deep(one.shadowRoot))
            .join(' ');
          return document.body.innerText + ' ' + deep(document);
        """
        return " ".join(str(self.driver.execute_script(script)).split())

    def see(self, *words: str, patience: float = PATIENCE) -> str:
        """Wait until all of `words` are visible."""
        wait_for(lambda: all(word in self.text() for word in words), f"{words} (there is: {self.text()[:1500]})", patience)
        return self.text()

    def click(self, words: str) -> None:
        """Click the button or tab with the text `words`, once the page has finished rendering."""
        rest = '[data-testid="stApp"][data-test-script-state="notRunning"]'
        wait_for(lambda: self.driver.find_elements("css selector", rest), "the end of the script")
        # The browser replaces elements shortly after the script has ended; a click then is lost.
        time.sleep(0.5)
        wait_for(lambda: self.driver.find_elements("css selector", rest), "the end of the script")
        script = """
          const all = [...document.querySelectorAll('button, [role=tab], label, a')];
          const own = all.filter((one) => one.innerText.includes(arguments[0]));
          if (own.length) own[own.length - 1].click();
          return own.length > 0;
        """
        wait_for(lambda: self.driver.execute_script(script, words), f"a button {words!r}")

    def upload(self, *files: Path) -> None:
        """Upload files with the view's upload field."""
        fields = wait_for(lambda: self.driver.find_elements("css selector", "input[type=file]"), "an upload field")
        fields[0].send_keys("\n".join(map(str, files)))

    def inside(self, selector: str) -> Any:
        """Return an element in a component."""
        script = """
          for (const one of document.querySelectorAll('*'))
            if (one.shadowRoot && one.shadowRoot.querySelector(arguments[0])) return one.shadowRoot.querySelector(arguments[0]);
          return null;
        """
        return wait_for(lambda: self.driver.execute_script(script, selector), selector)

    def press(self, selector: str) -> None:
        """Click a button in a component, wherever the page is scrolled to."""
        self.driver.execute_script("arguments[0].click()", self.inside(selector))

    def download(self, words: str, name: str) -> Path:
        """Click the download button `words` and wait for the file `name`.

        The browser may replace the button at any time after the end of the script, and a click on
        the replaced one is lost: so the click is repeated, as a person would.
        """
        path = self.downloads / name
        end = time.monotonic() + PATIENCE
        while not path.is_file() and time.monotonic() < end:
            self.click(words)
            with contextlib.suppress(AssertionError):
                wait_for(path.is_file, name, patience=5)
        assert path.is_file(), f"{words}: no download {name} ({list(self.downloads.iterdir())})"
        return path

    def requested_hosts(self) -> set[str]:
        """Return the hosts that the browser sent requests to since the last call."""
        hosts = set()
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                url = message["params"]["request"]["url"]
                if url.startswith(("http:", "https:", "ws:", "wss:")):
                    hosts.add(url.split("/")[2])
        return hosts


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures and videos of the demo clip."""
    folder = tmp_path_factory.mktemp("media")
    cv2.imwrite(str(folder / "party.jpg"), demo.draw(240))
    for name, frames in (("clip.mp4", range(200, 245)), ("long.mp4", range(300))):
        writer = cv2.VideoWriter(str(folder / name), cv2.VideoWriter.fourcc(*"mp4v"), 30, (640, 480))
        for index in frames:
            writer.write(demo.draw(index))
        writer.release()
    # Chromium's fake camera reads Motion JPEG: concatenated JPEG files.
    frames = (cv2.imencode(".jpg", demo.draw(index))[1].tobytes() for index in range(200, 260))
    (folder / "camera.mjpeg").write_bytes(b"".join(frames))
    return folder


@pytest.fixture(scope="module")
def visitor(server: str, media: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visitor]:
    one = Visitor(server, tmp_path_factory.mktemp("visitor"), media / "camera.mjpeg")
    yield one
    one.close()


@needs_browser
def test_first_view_shows_a_result_and_contacts_no_other_host(visitor: Visitor) -> None:
    visitor.open("", "processed in")
    visitor.see("Try it", "with a mask", "without a mask")
    for view, words in (("live", "Start the camera"), ("models", "edgenet.onnx"), ("benchmarks", "Bundled models")):
        visitor.open(view, words)
    assert visitor.requested_hosts() == {visitor.server.removeprefix("http://")}


@needs_browser
def test_views_are_reached_by_keyboard(visitor: Visitor) -> None:
    visitor.open("", "processed in")
    for _ in range(12):
        visitor.driver.switch_to.active_element.send_keys("\ue004")
        focused = visitor.driver.switch_to.active_element
        if focused.tag_name == "a" and "Models" in focused.text:
            break
    assert "Models" in focused.text
    focused.send_keys("\ue007")
    visitor.see("Your model")


@needs_browser
def test_picture_is_processed_and_can_be_downloaded(visitor: Visitor, media: Path) -> None:
    visitor.open("", "processed in")
    visitor.click("My files")
    visitor.see("up to 100 MB")
    visitor.upload(media / "party.jpg")
    visitor.see("party.jpg, 640 x 480: processed in", "with a mask")
    visitor.click("Original (haar-stock)")
    visitor.see("All annotated pictures (zip)")
    marked = cv2.imread(str(visitor.download("Annotated picture", "party-maskedge.jpg")))
    assert marked.shape == (480, 640, 3)
    event = json.loads(visitor.download("Events (JSON)", "party-maskedge.jsonl").read_text())
    assert event["source"] == "party.jpg"
    assert len(event["faces"]) >= 2


@needs_browser
def test_wrong_files_are_explained(visitor: Visitor, tmp_path: Path) -> None:
    (tmp_path / "report.jpg").write_bytes(b"%PDF-1.7\n" + bytes(2000))
    (tmp_path / "empty.png").touch()
    (tmp_path / "broken.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(500))
    with (tmp_path / "huge.mp4").open("wb") as huge:
        huge.truncate(200 * 1024 * 1024)
    visitor.open("", "processed in")
    visitor.click("My files")
    visitor.see("up to 100 MB")
    visitor.upload(*(tmp_path / name for name in ("report.jpg", "empty.png", "broken.mp4", "huge.mp4")))
    text = visitor.see("report.jpg is a PDF document", "empty.png is empty (0 bytes)", "Process this video")
    assert "100" in text[text.index("huge.mp4") :][:120], "the limit is shown beside the file"
    visitor.click("Process this video")
    visitor.see("broken.mp4 is neither a picture nor a video")


@needs_browser
def test_video_shows_progress_and_people(visitor: Visitor, media: Path) -> None:
    visitor.open("", "processed in")
    visitor.click("My files")
    visitor.see("up to 100 MB")
    visitor.upload(media / "clip.mp4")
    visitor.click("Process this video")
    visitor.see("People", "45 frames in", "Faces over time")
    picture = visitor.inside(".player img")
    before = picture.get_attribute("src")
    visitor.press(".player button")
    wait_for(lambda: picture.get_attribute("src") != before, "the next picture of the player")
    log = visitor.download("Events (JSON Lines)", "clip-maskedge.jsonl")
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert [event["frame"] for event in events if "event" not in event] == list(range(45))
    video = visitor.download("Annotated video (MP4)", "clip-maskedge.mp4")
    assert cv2.VideoCapture(str(video)).get(cv2.CAP_PROP_FRAME_COUNT) == 45


@needs_browser
def test_reload_in_the_middle_of_a_video_leaves_nothing_behind(visitor: Visitor, media: Path, temporary: Path) -> None:
    visitor.open("", "processed in")
    visitor.click("My files")
    visitor.see("up to 100 MB")
    visitor.upload(media / "long.mp4")
    visitor.click("Process this video")
    visitor.see("frames/s", "Stop")
    assert list(temporary.glob("maskedge-app-*"))
    visitor.open("", "processed in")
    wait_for(lambda: not list(temporary.glob("maskedge-app-*")), "the end of the private folder")


@needs_browser
def test_photo_of_the_browsers_camera(visitor: Visitor) -> None:
    visitor.open("", "processed in")
    visitor.click("Camera")
    button = wait_for(
        lambda: [
            one
            for one in visitor.driver.find_elements("css selector", '[data-testid="stCameraInputButton"]')
            if one.text == "Take Photo" and one.is_enabled()
        ],
        "the camera",
    )
    # The first frame of a camera may be black.
    wait_for(
        lambda: visitor.driver.execute_script(
            "const video = document.querySelector('video'); return video && video.currentTime > 0.3"
        ),
        "a picture of the camera",
    )
    button[0].click()
    visitor.see("processed in", "with a mask", "Annotated picture")


@needs_browser
def test_live_view_draws_counts_and_shows_its_latency(visitor: Visitor) -> None:
    visitor.open("live", "Start the camera")
    visitor.press(".start")
    visitor.see("with a mask", "Stop the camera")
    wait_for(lambda: visitor.inside(".latency").text.endswith("ms"), "the latency")
    wait_for(lambda: visitor.inside(".people").text not in (UNKNOWN, "None yet"), "people")
    assert float(wait_for(lambda: visitor.inside(".rate").text.strip(UNKNOWN), "the rate")) > 0
    red, green, blue, _ = visitor.driver.execute_script(
        "const one = arguments[0]; return [...one.getContext('2d').getImageData(one.width / 2, 20, 1, 1).data]",
        visitor.inside("canvas"),
    )
    assert max(red, green, blue) > 40, "the picture of the camera is on the canvas"
    visitor.press(".start")
    visitor.see("The camera is off.")
    # Another view ends it too, and returning starts over.
    visitor.press(".start")
    visitor.see("Stop the camera")
    visitor.click("Models")
    visitor.see("Your model")
    visitor.click("Live")
    visitor.see("Start the camera")


@needs_browser
def test_models_are_shown_and_checked(visitor: Visitor, tmp_path: Path) -> None:
    bad = {key: value for key, value in METADATA.items() if key != "maskedge.labels"}
    write_model(tmp_path / "bad.onnx", metadata=bad)
    write_model(tmp_path / "own.onnx")
    visitor.open("models", "edgenet.onnx")
    visitor.see("Macro F1")
    visitor.click("Model card")
    visitor.see("Use and misuse", "cannot recognise people")
    visitor.upload(tmp_path / "bad.onnx")
    visitor.see("Refused. bad.onnx breaks the model contract: its metadata has no maskedge.labels")
    visitor.upload(tmp_path / "own.onnx")
    visitor.see("own.onnx passes all checks")
    visitor.click("Try it")
    visitor.see("processed in", "Classifier")


@needs_browser
def test_benchmarks_show_reports_and_refuse_others(visitor: Visitor, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text('{"schema": "other/1"}')
    visitor.open("benchmarks", "Accuracy and latency")
    visitor.see("Frames per second", "Run the quick benchmark")
    visitor.upload(tmp_path / "mine.json")
    visitor.see("mine.json is not a supported report (schema other/1)")


@needs_browser
def test_two_visitors_at_once(visitor: Visitor, server: str, media: Path, tmp_path: Path) -> None:
    other = Visitor(server, tmp_path, media / "camera.mjpeg")
    try:
        visitor.open("", "processed in")
        other.open("", "processed in")
        for one in (visitor, other):
            one.click("My files")
            one.see("up to 100 MB")
        visitor.upload(media / "clip.mp4")
        visitor.click("Process this video")
        other.upload(media / "party.jpg")
        other.see("party.jpg, 640 x 480: processed in")
        visitor.see("People")
        assert "party.jpg" not in visitor.text()
        assert "clip.mp4" not in other.text()
    finally:
        other.close()


def test_live_endpoint_knows_its_own_pages_only(server: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{server}/maskedge/live/guessed", data=bytes(10), timeout=20)  # noqa: S310  (our own page)
    assert caught.value.code == 404


def test_only_loopback_is_served_unless_asked(server: str) -> None:
    port = int(server.rsplit(":", 1)[1])
    listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    addresses = {fields[1] for fields in listening if fields[3] == "0A" and int(fields[1].split(":")[1], 16) == port}
    assert addresses == {f"0100007F:{port:04X}"}


def test_taken_port_is_one_message(server: str, tmp_path: Path) -> None:
    process = start("--port", server.rsplit(":", 1)[1], temporary=tmp_path)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 2
    assert complaint.startswith("error: the app cannot be served on 127.0.0.1:")
    assert "choose another --port" in complaint
    assert "Traceback" not in complaint


def test_interrupt_ends_the_server(tmp_path: Path) -> None:
    port = free_port()
    process = start("--port", str(port), temporary=tmp_path)
    try:
        wait_for(lambda: is_up(f"http://127.0.0.1:{port}/_stcore/health"), "the page")
    finally:
        process.send_signal(signal.SIGINT)
        words, complaints = process.communicate(timeout=30)
    assert words.startswith(f"maskedge: http://127.0.0.1:{port}")
    assert "Traceback" not in complaints
    assert process.returncode in (0, 130)
    assert not list(tmp_path.glob("maskedge-app-*"))


def test_missing_extra_is_named(tmp_path: Path) -> None:
    code = "import sys; sys.modules['streamlit'] = None; from maskedge.cli.app import main; main([])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 2
    assert "install the extra app" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_loads_nothing_heavy() -> None:
    blocked = "for name in ('streamlit', 'cv2', 'numpy', 'onnxruntime'): sys.modules[name] = None"
    code = f"import sys\n{blocked}\nfrom maskedge.cli.app import main; main(['--help'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
