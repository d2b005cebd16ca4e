"""Update of a running device's model: from a signed file on a server to the network in use, and back.

A file is used only if a trusted key has signed it, with a higher release than any before, and if it
keeps the contract, passes its self-test, and agrees with the present model on the device's own
frames in about the same time. It is confirmed after a minute of frames. Until then, and at any
later failure, the device goes back to the model before, or to the bundled one.
"""

from __future__ import annotations

import contextlib
import logging
import re
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from maskedge.errors import MaskedgeError, ModelError, OutputError, UsageError
from maskedge.modelfile.signature import (
    CONTRACT,
    ModelSignature,
    load_public_keys,
    parse_signature,
    read_signature,
    verify_model,
    verify_signature,
)
from maskedge.support.log import NAME
from maskedge.support.text import displayable
from maskedge.system.state_folder import state_folder
from maskedge.vision.pipeline import MaskDetector
from maskedge.vision.self_test import verify

from .model_download import check_address, download
from .model_store import MOST_BYTES, UPDATED_KINDS, KindState, ModelStore, StoredModel
from .model_trial import TrialLimits, collect_frames, compare

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from maskedge.config import EdgeConfig

Report: TypeAlias = Callable[[str, str, Mapping[str, Any]], None]
"""Called with a stage, a sentence and details. Stages: `downloaded`, `verified`, `trial`, `active`
and `rolled_back`."""

_TICK = 0.5
"""Seconds between two checks of a new model in use."""
_LEAST_DURATIONS = 20
"""Number of detections from which their duration is compared with that of the previous model."""
_SLOWER = 2.0
"""In use, a detection may take this many times the limit of the trial: the frames are others."""
_NEGLIGIBLE_MS = 5.0
"""Milliseconds by which a detection may always become slower."""
_MORE_DROPPED = 0.2
"""Share of the captured frames by which more may be dropped than before, 0 to 1."""
_log = logging.getLogger(NAME)


@dataclass(frozen=True)
class UpdateRequest:
    """The arguments of the command `update_model`.

    Attributes:
        url: Address of the file.
        sha256: SHA-256 of the file, hex digits.
        size: Size of the file in bytes.
        kind: `classifier` or `detector`.
        signature: The content of the signature file.
    """

    url: str
    sha256: str
    size: int
    kind: str
    signature: ModelSignature

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, Any]) -> UpdateRequest:
        """Check the arguments of a command.

        Raises:
            ModelError: An argument is missing or malformed.
        """
        url, sha256, size, kind = (arguments.get(name) for name in ("url", "sha256", "size", "kind"))
        if not isinstance(url, str) or not isinstance(sha256, str) or not re.fullmatch("[0-9a-f]{64}", sha256):
            raise ModelError("update_model needs url (a text) and sha256 (64 hex digits).")
        if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= MOST_BYTES:
            raise ModelError(f"update_model needs size, the bytes of the file, from 1 to {MOST_BYTES}.")
        check_kind(kind)
        signature = parse_signature(arguments.get("signature"))
        if (signature.sha256, signature.kind) != (sha256, kind):
            raise ModelError("sha256 and kind of update_model differ from those of the signature.")
        check_address(url)
        return cls(url, sha256, size, str(kind), signature)


def open_updater(config: EdgeConfig) -> ModelUpdater | None:
    """Return the updater of a device; None unless `fleet.commands` has `update_model`.

    Raises:
        UsageError: `model.trusted_keys` is empty, a key cannot be read, or the library of the extra
            `remote` is missing.
    """
    model = config.model
    if "update_model" not in config.fleet.commands:
        return None
    if not model.trusted_keys:
        raise UsageError(
            "fleet.commands has update_model, which needs the public keys of the models: set model.trusted_keys, or remove it."
        )
    fixed = {"classifier": "model.file"} if model.file is not None else {}
    for key in ("detector", "cascade", "detector_model"):
        if f"detect.{key}" in config.given:
            fixed["detector"] = f"detect.{key}"
    limits = TrialLimits(latency_ratio=model.update_latency, agreement=model.update_agreement)
    return ModelUpdater(state_folder(), model.trusted_keys, fixed=fixed, ca_file=model.update_ca, limits=limits)


def check_kind(kind: object) -> None:
    """Check the kind of a model to update.

    Raises:
        ModelError: There is no such kind.
    """
    if kind not in UPDATED_KINDS:
        raise ModelError(f"the kind of a model to update is one of {', '.join(UPDATED_KINDS)}.")


@dataclass(frozen=True)
class GivenUp:
    """A model that the device has given up before anyone could be told.

    Attributes:
        kind: Kind of the model.
        command: Id of the command that had brought it.
        sentence: What has happened, for the fleet.
        details: SHA-256 of the model.
    """

    kind: str
    command: str
    sentence: str
    details: Mapping[str, Any]


class ModelUpdater:
    """Updates the models of a running device.

    Args:
        state_folder: The device's folder for state. The models are in its folder `models`.
        trusted_keys: Public key files (`model.trusted_keys`); at least one.
        fixed: Kinds that the configuration sets, and that are therefore not updated.
        ca_file: Certificates for the download, PEM; None for those of the system.
        limits: Limits of the trial.

    Attributes:
        store: The model files.
        on_late_report: Called with the id of a command, a stage, a sentence and details when the
            result of an update is known only after `update` has returned, or after a restart.

    Raises:
        UsageError: A key cannot be read, or the library of the extra `remote` is missing.
    """

    def __init__(
        self,
        state_folder: Path,
        trusted_keys: Sequence[Path],
        *,
        fixed: Mapping[str, str] | None = None,
        ca_file: Path | None = None,
        limits: TrialLimits | None = None,
    ) -> None:
        self.store = ModelStore(state_folder / "models")
        self.on_late_report: Callable[[str, str, str, Mapping[str, Any]], None] = _no_one
        self._keys: tuple[Ed25519PublicKey, ...] = load_public_keys(trusted_keys)
        self._fixed = dict(fixed or {})
        self._ca_file = ca_file
        self._limits = limits or TrialLimits()
        self._detector: MaskDetector | None = None
        self._originals: dict[str, Path | str] = {}
        self._counters: Callable[[], tuple[int, int]] = lambda: (0, 0)
        self._busy = threading.Lock()
        self._changing = threading.RLock()
        self._stopping = threading.Event()
        self._watches: dict[str, _Watch] = {}

    # The start of the process.

    @property
    def notice(self) -> str:
        """A sentence on the origin of the models, for the log."""
        states = {kind: self.store.state(kind) for kind in UPDATED_KINDS}
        facts = [
            f"the {kind} is set by {self._fixed[kind]}" if kind in self._fixed else f"the {kind} is {_named(state.active)}"
            for kind, state in states.items()
        ]
        return f"the fleet may update the models in {displayable(self.store.folder)}: {', '.join(facts)}."

    def open(self, build: Callable[[Path | None, Path | None], MaskDetector]) -> MaskDetector:
        """Open the networks: the active ones, or if they are refused the previous or bundled ones.

        Args:
            build: Opens a classifier file and a detector file; None for those of the configuration.

        Raises:
            MaskedgeError: The networks of the configuration are refused.
        """
        count = True
        while True:
            stored = {kind: self.store.choose(kind, count=count) for kind in UPDATED_KINDS if kind not in self._fixed}
            count = False
            paths = {kind: self.store.path(model) for kind, model in stored.items() if model is not None}
            try:
                for kind, path in paths.items():
                    self._verify_stored(kind, path)
                detector = build(paths.get("classifier"), paths.get("detector"))
            except MaskedgeError as error:
                blamed = self._blamed(str(error))
                if not blamed or not any(path.name in str(error) for path in paths.values()):
                    # A configuration that is wrong by itself must not cost a good model.
                    build(None, None)
                if not blamed:
                    raise
                for kind in blamed:
                    self.store.give_up(kind, str(error))
                continue
            self.attach(detector)
            return detector

    def attach(self, detector: MaskDetector) -> None:
        """Update this detector from now on. A model that is not confirmed yet is watched."""
        self._detector = detector
        self._originals = {"detector": "haar" if detector.rejects_non_faces else "cnn"}
        detector.analyzer.recover = self._recover
        for kind in UPDATED_KINDS:
            state = self.store.state(kind)
            if kind not in self._fixed and state.active is not None and not state.confirmed:
                self._start_watch(kind, state, None, self._late_report(state.command), None)

    def count_frames(self, counters: Callable[[], tuple[int, int]]) -> None:
        """Set the function that returns the numbers of captured and of dropped frames of all cameras."""
        self._counters = counters

    def given_up(self) -> list[GivenUp]:
        """Return the models that were given up at the start, each once, for the fleet."""
        found = []
        for kind in UPDATED_KINDS:
            state = self.store.state(kind)
            if state.failed:
                sentence = f"the {kind} was given up: {state.failure.rstrip('.')}."
                found.append(GivenUp(kind, state.command, sentence, {"kind": kind, "sha256": state.failed}))
                self.store.forget_failure(kind)
        return found

    def close(self) -> None:
        """End the watch of a new model. It is watched again after the next start."""
        self._stopping.set()
        for watch in list(self._watches.values()):
            watch.join(2.0)

    # Commands.

    def update(self, arguments: Mapping[str, Any], report: Report, command: str = "") -> str:
        """Update a model. Takes more than a minute; the cameras go on.

        Args:
            arguments: `url`, `sha256`, `size`, `kind` and `signature` (`UpdateRequest`).
            report: Called at each stage.
            command: Id of the command, for a result that is known only after a restart.

        Returns:
            A sentence about the model in use.

        Raises:
            MaskedgeError: The model is refused, or was given up after the switch. The present model
                stays, or is in use again.
        """
        with self._only_one():
            watch = self._update(UpdateRequest.from_arguments(arguments), report, command)
        return watch.wait(self._limits.report_seconds) if isinstance(watch, _Watch) else watch

    def revert(self, kind: str, report: Report) -> str:
        """Go back to the model before the active one.

        Args:
            kind: `classifier` or `detector`.
            report: Called when the model is in use.

        Returns:
            A sentence about the model in use.

        Raises:
            ModelError: There is no model to go back to, or the process must be restarted for it.
            OutputError: The state cannot be written.
        """
        check_kind(kind)
        with self._only_one(), self._changing:
            previous = self.store.revert(kind)
            for watched, watch in self._watches.items():
                if watched == kind:
                    watch.fail(f"the {kind} was taken back by a command before it was confirmed.", _facts(previous))
                # The networks before the other kind's switch are not those to go back to any more.
                watch.baseline = None
            self._replace(kind, previous)
            sentence = f"the {kind} is {_named(previous)} again."
            report("rolled_back", sentence, {"kind": kind, **_facts(previous)})
            return sentence

    def _update(self, request: UpdateRequest, report: Report, command: str) -> _Watch | str:
        """Return the watch of the new model, or a sentence if it is in use already."""
        detector, kind = self._detector, request.kind
        if detector is None:
            raise ModelError("no camera runs yet: try again.")
        if kind in self._fixed:
            raise ModelError(f"the {kind} of this device is set by {self._fixed[kind]} and is not updated: remove that key.")
        signature = verify_signature(request.signature, self._keys)
        if signature.contract != CONTRACT:
            raise ModelError(
                f"the model has the contract {signature.contract}, this device reads {CONTRACT}: update the device first."
            )
        state = self.store.state(kind)
        if state.active is not None and state.active.sha256 == request.sha256:
            return f"the {kind} is {_named(state.active)} already."
        for other in UPDATED_KINDS:
            if not self.store.state(other).confirmed:
                named = _named(self.store.state(other).active)
                raise ModelError(f"the {other} is {named}, which is not confirmed yet: wait for the end of its trial.")
        self._check_release(signature, state)
        content = download(request.url, request.size, request.sha256, ca_file=self._ca_file)
        report("downloaded", f"{len(content)} bytes were downloaded.", {"kind": kind, "sha256": request.sha256})
        verify_model(content, signature, self._keys)
        try:
            model = self.store.add(content, signature)
            variant = self._try_out(detector, kind, model, report)
        except BaseException:
            self.store.discard_unused()
            raise
        before = detector.variant()
        milliseconds, counters = list(detector.analyzer.milliseconds), self._counters()
        with self._changing:
            # First on the disk, then in the process: a crash in between starts with the new model.
            try:
                self.store.activate(kind, model, command)
            except OutputError:
                self.store.discard_unused()
                raise
            try:
                detector.replace_networks(variant)
            except ModelError as error:
                self.store.give_up(kind, str(error))
                raise
            baseline = _Baseline(before, statistics.median(milliseconds) if milliseconds else None, counters)
            watch = self._start_watch(kind, self.store.state(kind), baseline, self._late_report(command), report)
        sentence = f"the {kind} is release {model.release}, on trial for {self._limits.confirm_seconds:g} s of frames."
        report("active", sentence, {"kind": kind, **_facts(model), "confirmed": False})
        return watch

    def _check_release(self, signature: ModelSignature, state: KindState) -> None:
        """Refuse a release that is not higher than all that were in use."""
        highest = state.highest_release
        detector = self._detector
        if detector is not None and state.active is None:
            # The bundled files carry a release of their own key.
            used = detector.classifier if signature.kind == "classifier" else detector.detector
            path = getattr(used, "path", None)
            with contextlib.suppress(ModelError):
                bundled = read_signature(path) if isinstance(path, Path) else None
                if bundled is not None and bundled.key == signature.key and bundled.kind == signature.kind:
                    highest = max(highest, bundled.release)
        if signature.release <= highest:
            raise ModelError(
                f"release {signature.release} of the {signature.kind} is not newer than release {highest}, which this device "
                "has had: sign the model with a higher release."
            )

    def _try_out(self, detector: MaskDetector, kind: str, model: StoredModel, report: Report) -> MaskDetector:
        """Return a detector with the new model, after its self-test and a trial.

        Raises:
            ModelError: The model is refused.
        """
        path = self.store.path(model)
        variant = detector.variant(**{kind: path})
        found = verify(path)
        if not found.passed:
            raise ModelError(f"the {kind} fails its self-test on this device (difference {found.worst:.1e}): export it again.")
        facts = {"kind": kind, **_facts(model)}
        report("verified", f"release {model.release} is signed, keeps the contract and passes its self-test.", facts)
        frames = collect_frames(detector.analyzer, self._limits, self._stopping)
        result = compare(detector.variant(), variant, frames, self._limits)
        details = {
            **facts,
            "frames": result.frames,
            "faces": result.faces,
            "agreement": round(result.agreement, 3),
            "latency_ratio": round(result.latency_ratio, 2),
        }
        problem = result.problem(self._limits)
        if problem:
            raise ModelError(f"the {kind} of release {model.release} failed the trial on {result.frames} frames: {problem}.")
        sentence = f"it agrees on {result.agreement:.0%} of {result.faces} faces at {result.latency_ratio:.2f} times the duration."
        report("trial", sentence, details)
        return variant

    # The way back.

    def _recover(self, error: ModelError) -> bool:
        """Go back after a network has failed in a loop. Return False if the failure is not of an updated model.

        Raises:
            MaskedgeError: The network cannot be replaced in this process. The exit code differs from
                that of a refused model, after which a service is not started again.
        """
        with self._changing:
            blamed = self._blamed(str(error))
            for kind in blamed:
                try:
                    self._go_back(kind, str(error))
                except ModelError as problem:
                    raise MaskedgeError(f"the {kind} was given up, and edge-run must be started again: {problem}") from error
            return bool(blamed)

    def _blamed(self, message: str) -> list[str]:
        """Return the kinds whose updated model may have caused an error: named ones, new ones, or all."""
        states = {kind: self.store.state(kind) for kind in UPDATED_KINDS if kind not in self._fixed}
        active = {kind: state for kind, state in states.items() if state.active is not None}
        named = [kind for kind, state in active.items() if state.active is not None and state.active.sha256 in message]
        new = [kind for kind, state in active.items() if not state.confirmed]
        return named or new or list(active)

    def _go_back(self, kind: str, reason: str) -> None:
        """Go back from the active model, in the store and in the process.

        Raises:
            ModelError: The network cannot be replaced. The next start uses the previous one.
        """
        with self._changing:
            watch, command = self._watches.get(kind), self.store.state(kind).command
            state = self.store.give_up(kind, reason)
            if watch is not None and watch.baseline is not None and self._detector is not None:
                self._detector.replace_networks(watch.baseline.detector)
            else:
                self._replace(kind, state.active)
            sentence = f"the {kind} was given up for {_named(state.active)}: {reason.rstrip('.')}."
            if watch is not None and not watch.is_over:
                watch.fail(sentence, _facts(state.active))
            elif command and self.on_late_report is not _no_one:
                # The model was confirmed long ago, and its command answered.
                self.on_late_report(command, "rolled_back", sentence, {"kind": kind, **_facts(state.active)})
                self.store.forget_failure(kind)

    def _replace(self, kind: str, model: StoredModel | None) -> None:
        """Use a model of the store, or the bundled one, from the next frame on.

        A stored file that is refused is given up in its turn.
        """
        detector = self._detector
        if detector is None:
            return
        while True:
            try:
                detector.replace_networks(self._variant(detector, kind, model))
                return
            except ModelError as error:
                if model is None:
                    raise
                model = self.store.give_up(kind, str(error)).active

    def _variant(self, detector: MaskDetector, kind: str, model: StoredModel | None) -> MaskDetector:
        if model is not None:
            path = self.store.path(model)
            self._verify_stored(kind, path)
            return detector.variant(**{kind: path})
        if kind == "classifier":
            from maskedge.modelfile.precision import bundled_classifier

            return detector.variant(classifier=bundled_classifier())
        return detector.variant(detector=self._originals["detector"])

    def _verify_stored(self, kind: str, path: Path) -> None:
        """Verify the signature of a file of the store by the keys that are trusted now."""
        signature = read_signature(path)
        if signature is None or signature.kind != kind:
            raise ModelError(f"{path} is not signed as a {kind}.")
        verify_signature(signature, self._keys, str(path))

    # The first minute.

    def _start_watch(self, kind: str, state: KindState, baseline: _Baseline | None, late: Report, report: Report | None) -> _Watch:
        watch = _Watch(self, kind, state, baseline, late, report)
        self._watches[kind] = watch
        watch.start()
        return watch

    def _late_report(self, command: str) -> Report:
        return lambda stage, sentence, details: self.on_late_report(command, stage, sentence, details)

    @contextlib.contextmanager
    def _only_one(self) -> Iterator[None]:
        if not self._busy.acquire(blocking=False):
            raise ModelError("another update of a model is in progress: wait for its end.")
        try:
            yield
        finally:
            self._busy.release()


@dataclass(frozen=True)
class _Baseline:
    """The state before a switch.

    Attributes:
        detector: The detector before, as a variant.
        milliseconds: Median duration of a detection; None if not known.
        counters: Captured and dropped frames.
    """

    detector: MaskDetector
    milliseconds: float | None
    counters: tuple[int, int]


class _Watch(threading.Thread):
    """Watches a new model in use, and confirms it after a minute with frames."""

    def __init__(
        self, updater: ModelUpdater, kind: str, state: KindState, baseline: _Baseline | None, late: Report, report: Report | None
    ) -> None:
        super().__init__(name=f"new {kind}", daemon=True)
        self.baseline = baseline
        self._updater = updater
        self._kind = kind
        self._model = state.active
        self._late, self._report = late, report
        self._counters = updater._counters()
        self._over = threading.Event()
        self._failure: str | None = None
        self._sentence = ""

    def wait(self, seconds: float) -> str:
        """Wait for the result.

        Raises:
            ModelError: The model was given up.
        """
        self._over.wait(seconds)
        self._report = None  # later results go to `late`
        if self._failure is not None:
            raise ModelError(self._failure)
        needed = f"{self._updater._limits.confirm_seconds:g} s of frames"
        return self._sentence or f"the {self._kind} is {_named(self._model)}, not confirmed yet, which takes {needed}."

    @property
    def is_over(self) -> bool:
        """True once the model was confirmed or given up, or the process ends."""
        return self._over.is_set()

    def fail(self, sentence: str, details: Mapping[str, Any]) -> None:
        """Note that the model was given up. If the process ends, it is reported after the next start."""
        if not self._over.is_set():
            self._failure = sentence
            self._publish("rolled_back", sentence, {"kind": self._kind, **details})
            self._updater.store.forget_failure(self._kind)
            self._over.set()

    def run(self) -> None:
        """Watch until the model is confirmed or given up."""
        updater, limits = self._updater, self._updater._limits
        detector = updater._detector
        if detector is None:
            return
        healthy, last, analyses = 0.0, time.monotonic(), detector.analyzer.analyses
        while healthy < limits.confirm_seconds:
            if updater._stopping.wait(min(_TICK, limits.confirm_seconds / 4)) or self._over.is_set():
                self._over.set()  # the process ends; the watch goes on after its next start
                return
            now, count = time.monotonic(), detector.analyzer.analyses
            if count > analyses:
                healthy += min(now - last, 2.0)
            last, analyses = now, count
            problem = self._problem(detector)
            if problem:
                self._give_up(problem)
                return
        with updater._changing:
            if self._over.is_set():
                return
            try:
                updater.store.confirm(self._kind)
            except MaskedgeError as error:
                _log.warning("%s", error)
            self._sentence = f"the {self._kind} is {_named(self._model)}, confirmed after {healthy:.0f} s of frames."
            _log.info("%s", self._sentence)
            self.baseline = None
            self._publish("active", self._sentence, {"kind": self._kind, **_facts(self._model), "confirmed": True})
            self._over.set()

    def _give_up(self, problem: str) -> None:
        try:
            self._updater._go_back(self._kind, problem)
        except MaskedgeError as error:
            # The store has gone back already, so the next start uses the previous model.
            self.fail(f"the {self._kind} was given up ({problem}), and a restart is needed: {error}", _facts(self._model))

    def _problem(self, detector: MaskDetector) -> str:
        """Return what has become worse since the switch, as a clause; empty if nothing has."""
        if self.baseline is None:
            return ""
        limits, durations = self._updater._limits, list(detector.analyzer.milliseconds)
        before = self.baseline.milliseconds
        if before is not None and len(durations) >= _LEAST_DURATIONS:
            now = statistics.median(durations)
            if now > _SLOWER * limits.latency_ratio * before and now > before + _NEGLIGIBLE_MS:
                return f"a detection takes {now:.0f} ms instead of {before:.0f} ms"
        captured, dropped = (now - start for now, start in zip(self._updater._counters(), self._counters, strict=True))
        if captured >= _LEAST_DURATIONS:
            share, usual = dropped / captured, self.baseline.counters[1] / max(self.baseline.counters[0], 1)
            if share > usual + _MORE_DROPPED:
                return f"{share:.0%} of the frames are dropped instead of {usual:.0%}"
        return ""

    def _publish(self, stage: str, sentence: str, details: Mapping[str, Any]) -> None:
        (self._report or self._late)(stage, sentence, details)


def _no_one(command: str, stage: str, sentence: str, details: Mapping[str, Any]) -> None:
    """Receive late reports before the control is there. A failure is then kept for `given_up`."""


def _named(model: StoredModel | None) -> str:
    return "the bundled one" if model is None else f"release {model.release}"


def _facts(model: StoredModel | None) -> dict[str, Any]:
    return {"sha256": None, "release": None} if model is None else {"sha256": model.sha256, "release": model.release}
