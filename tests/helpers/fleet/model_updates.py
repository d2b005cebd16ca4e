"""Parts of tests of model updates: variants of the bundled classifier, keys, a server, a device."""

from __future__ import annotations

import datetime as dt
import hashlib
import ipaddress
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from onnx import TensorProto, helper, numpy_helper

from maskedge.modelfile.contract import default_model, seal
from maskedge.modelfile.signature import generate_key, load_private_key, sign_model
from maskedge.sources.demo import draw
from maskedge.types import Face, Image
from maskedge.vision.pipeline import MaskDetector


def key_pair(folder: Path, name: str = "key") -> tuple[Ed25519PrivateKey, Path]:
    """Write a pair of keys. Return the private key, and the path of the public one."""
    private, public = generate_key()
    (folder / name).write_bytes(private)
    (folder / f"{name}.pub").write_bytes(public)
    return load_private_key(folder / name), folder / f"{name}.pub"


def metadata_of(model: onnx.ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props}


def sealed(model: onnx.ModelProto, **changes: str) -> bytes:
    """Return a model with changed metadata and a checksum of its own."""
    metadata = metadata_of(model) | {f"maskedge.{name}": value for name, value in changes.items()}
    metadata["maskedge.sha256"] = "0" * 64
    helper.set_model_props(model, metadata)
    return seal(model.SerializeToString())


def same_model(note: str) -> bytes:
    """Return the bundled classifier with another checksum."""
    return sealed(onnx.load(default_model()), note=note)


def other_labels() -> bytes:
    """Return the bundled classifier with two labels swapped. Checksum and self-test agree."""
    model = onnx.load(default_model())
    labels = json.loads(metadata_of(model)["maskedge.labels"])
    labels[0], labels[1] = labels[1], labels[0]
    return sealed(model, labels=json.dumps(labels))


def other_contract() -> bytes:
    return sealed(onnx.load(default_model()), contract="2")


def wrapped(add: Callable[[str, str], tuple[list[onnx.NodeProto], dict[str, Any]]], **changes: str) -> bytes:
    """Return the bundled classifier with more nodes behind its probabilities.

    Args:
        add: Gets the names of the probabilities and of the new output. Returns the nodes and the constants.
        changes: Changed metadata.
    """
    model = onnx.load(default_model())
    for node in model.graph.node:
        for number, name in enumerate(node.output):
            if name == "probabilities":
                node.output[number] = "inner"
        for number, name in enumerate(node.input):
            if name == "probabilities":
                node.input[number] = "inner"
    nodes, constants = add("inner", "probabilities")
    model.graph.node.extend(nodes)
    model.graph.initializer.extend([numpy_helper.from_array(value, name) for name, value in constants.items()])
    return sealed(model, **changes)


def disagreeing() -> bytes:
    """Return a classifier whose first two columns are swapped, with a self-test that agrees."""
    test = json.loads(metadata_of(onnx.load(default_model()))["maskedge.selftest"])
    test["answers"] = [[row[1], row[0], *row[2:]] for row in test["answers"]]
    return wrapped(
        lambda inner, outer: (
            [helper.make_node("Gather", [inner, "swapped"], [outer], axis=1)],
            {"swapped": np.array([1, 0, 2, 3], np.int64)},
        ),
        selftest=json.dumps(test),
    )


def slower() -> bytes:
    """Return a classifier that computes some products of large matrices besides."""

    def add(inner: str, outer: str) -> tuple[list[onnx.NodeProto], dict[str, Any]]:
        nodes = [
            helper.make_node("Cast", ["faces"], ["w_float"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["w_float"], ["w_mean"], keepdims=0),
            helper.make_node("Mul", ["w_eye", "w_mean"], ["w_0"]),
            *(helper.make_node("MatMul", [f"w_{number}", "w_eye"], [f"w_{number + 1}"]) for number in range(12)),
            helper.make_node("ReduceMean", ["w_12"], ["w_all"], keepdims=0),
            helper.make_node("Mul", ["w_all", "w_zero"], ["w_nothing"]),
            helper.make_node("Add", [inner, "w_nothing"], [outer]),
        ]
        return nodes, {"w_eye": np.eye(400, dtype=np.float32), "w_zero": np.array(0, np.float32)}

    return wrapped(add)


def failing(brightness: float) -> bytes:
    """Return a classifier whose probabilities are NaN for a batch that is brighter than `brightness`, 0 to 255."""

    def add(inner: str, outer: str) -> tuple[list[onnx.NodeProto], dict[str, Any]]:
        nodes = [
            helper.make_node("Cast", ["faces"], ["w_float"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["w_float"], ["w_mean"], keepdims=0),
            helper.make_node("Greater", ["w_mean", "w_bound"], ["w_bright"]),
            helper.make_node("Where", ["w_bright", "w_nan", "w_one"], ["w_factor"]),
            helper.make_node("Mul", [inner, "w_factor"], [outer]),
        ]
        return nodes, {
            "w_bound": np.array(brightness, np.float32),
            "w_nan": np.array(np.nan, np.float32),
            "w_one": np.array(1, np.float32),
        }

    return wrapped(add)


class ModelServer:
    """Serves files over HTTPS on loopback.

    Attributes:
        address: Address of its root, without a slash at the end.
        ca_file: Certificate of its authority.
        files: Content by path.
        redirects: Target by path.
        cut: Paths whose content ends in the middle.
        requests: The requested paths.
    """

    def __init__(self, folder: Path, *, encrypted: bool = True) -> None:
        self.files: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.cut: set[str] = set()
        self.requests: list[str] = []
        self.ca_file = folder / "ca.pem"
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                owner.requests.append(path)
                if path in owner.redirects:
                    self.send_response(302)
                    self.send_header("Location", owner.redirects[path])
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                elif path in owner.files:
                    content = owner.files[path]
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content[: len(content) // 2] if path in owner.cut else content)
                else:
                    self.send_error(404)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if encrypted:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*_certificate(folder, self.ca_file))
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.address = f"{'https' if encrypted else 'http'}://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _certificate(folder: Path, ca_file: Path) -> tuple[Path, Path]:
    """Write an authority and a certificate for 127.0.0.1 that it has signed. Return certificate and key."""
    now = dt.datetime.now(dt.timezone.utc)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]) for name in ("test authority", "127.0.0.1")]

    def build(number: int, extension: x509.ExtensionType) -> x509.Certificate:
        builder = x509.CertificateBuilder().subject_name(names[number]).issuer_name(names[0]).public_key(keys[number].public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - dt.timedelta(days=1))
        return builder.not_valid_after(now + dt.timedelta(days=1)).add_extension(extension, True).sign(keys[0], hashes.SHA256())

    authority = build(0, x509.BasicConstraints(ca=True, path_length=None))
    own = build(1, x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]))
    ca_file.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    certificate, key = folder / "server.pem", folder / "server.key"
    certificate.write_bytes(own.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        keys[1].private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate, key


def offer(server: ModelServer, content: bytes, key: Ed25519PrivateKey, release: int, kind: str = "classifier") -> dict[str, Any]:
    """Put a signed model on a server. Return the arguments of the command `update_model`."""
    sha256 = hashlib.sha256(content).hexdigest()
    server.files[f"/{sha256}"] = content
    return {
        "url": f"{server.address}/{sha256}?expires=1&token=secret",
        "sha256": sha256,
        "size": len(content),
        "kind": kind,
        "signature": sign_model(content, key, release),
    }


class FakeCamera:
    """Feeds the frames of the demo to detectors, as loops of cameras do.

    Attributes:
        frames: Number of processed frames of each detector.
        faces: Faces of the latest frame of each detector.
        failure: The error that has ended the loop of a detector.
        brightness: Added to each pixel.
    """

    def __init__(self, *detectors: MaskDetector, interval: float = 0.04) -> None:
        self.frames = [0] * len(detectors)
        self.faces: list[list[Face]] = [[] for _ in detectors]
        self.failure: Exception | None = None
        self.brightness = 0
        self._stop = threading.Event()
        self._interval = interval
        self._pictures = [draw(number) for number in range(0, 40, 2)]
        self._threads = [
            threading.Thread(target=self._run, args=(number, one), daemon=True) for number, one in enumerate(detectors)
        ]
        for thread in self._threads:
            thread.start()

    def _picture(self, number: int) -> Image:
        # Back and forth, so that nobody jumps.
        count = len(self._pictures)
        number %= 2 * count - 2
        picture = self._pictures[number if number < count else 2 * count - 2 - number]
        return np.clip(picture.astype(np.int16) + self.brightness, 0, 255).astype(np.uint8) if self.brightness else picture

    def _run(self, index: int, detector: MaskDetector) -> None:
        try:
            while not self._stop.wait(self._interval):
                # The time of the frames does not depend on the load of the machine.
                self.faces[index] = detector(self._picture(self.frames[index]), self.frames[index] * self._interval)
                self.frames[index] += 1
        except Exception as error:  # noqa: BLE001  (the test reads it)
            self.failure = error

    def wait_for(self, frames: int, seconds: float = 20.0) -> None:
        """Wait for some more frames of each detector."""
        targets = [count + frames for count in self.frames]
        end = time.monotonic() + seconds
        while any(count < target for count, target in zip(self.frames, targets, strict=True)):
            assert self.failure is None, self.failure
            assert time.monotonic() < end
            time.sleep(0.01)

    def close(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(5)


@contextmanager
def running(*detectors: MaskDetector, interval: float = 0.04) -> Iterator[FakeCamera]:
    """Run the loops of some detectors."""
    camera = FakeCamera(*detectors, interval=interval)
    try:
        yield camera
    finally:
        camera.close()
