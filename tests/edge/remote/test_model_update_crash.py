"""kill -9 of a device at every step of an update: it always starts with a working model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.fleet.model_updates import ModelServer, key_pair, offer, same_model
from helpers.support import ROOT, environment
from maskedge.errors import MaskedgeError
from maskedge.remote.model_trial import TrialLimits
from maskedge.remote.model_update import ModelUpdater
from maskedge.sources.demo import draw
from maskedge.vision.pipeline import MaskDetector

CHILD = """
import json, os, signal, sys
sys.path.insert(0, "tests")
from pathlib import Path
from helpers.fleet.model_updates import running
from maskedge.remote.model_store import ModelStore
from maskedge.remote.model_trial import TrialLimits
from maskedge.remote.model_update import ModelUpdater
from maskedge.vision.pipeline import MaskDetector
state, public, ca = map(Path, sys.argv[1:4])
arguments, kill_at = json.loads(sys.argv[4]), sys.argv[5]
def at(step):
    print(step, flush=True)
    if step == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
def around(owner, name):
    call = getattr(owner, name)
    def run(*given, **more):
        at(f"before {name}")
        result = call(*given, **more)
        at(f"after {name}")
        return result
    setattr(owner, name, run)
for owner, name in ((ModelStore, "add"), (ModelStore, "activate"), (MaskDetector, "replace_networks"), (ModelStore, "confirm")):
    around(owner, name)
limits = TrialLimits(latency_ratio=8.0, frames=2, confirm_seconds=0.4)
updater = ModelUpdater(state, [public], ca_file=ca, limits=limits)
detector = updater.open(lambda classifier, network: MaskDetector(classifier, detector_model=network, detect_every=2))
detector.start_tracking(asynchronous=True)
with running(detector):
    at("before the command")
    print(updater.update(arguments, lambda stage, sentence, details: at(f"{stage} {details.get('confirmed', '')}".strip())))
updater.close()
detector.close()
print("end", flush=True)
"""
STEPS = (
    *("before the command", "downloaded", "before add", "after add", "verified", "trial", "before activate", "after activate"),
    *("before replace_networks", "after replace_networks", "active False", "before confirm", "after confirm", "active True"),
)


@pytest.mark.slow
def test_device_starts_with_a_working_model_after_kill_at_every_step_of_an_update(tmp_path: Path) -> None:
    server = ModelServer(tmp_path)
    key, public = key_pair(tmp_path)
    content = same_model("new")
    arguments = offer(server, content, key, 1)
    seen = set()
    try:
        for step in (*STEPS, "never"):
            state = tmp_path / step.replace(" ", "-")
            child = subprocess.run(
                [sys.executable, "-c", CHILD, str(state), str(public), str(server.ca_file), json.dumps(arguments), step],
                capture_output=True,
                text=True,
                cwd=ROOT,
                env=environment(),
                timeout=120,
                check=False,
            )
            assert child.returncode == (0 if step == "never" else -9), child.stderr
            if step == "never":
                # Every step was reached, in this order, and there is no other one.
                assert [line for line in child.stdout.splitlines() if line in STEPS] == list(STEPS)
            updater = ModelUpdater(state, [public], ca_file=server.ca_file, limits=TrialLimits(frames=2))
            detector = updater.open(lambda classifier, network: MaskDetector(classifier, detector_model=network))
            assert len(detector(draw(10))) == 2
            active = updater.store.state("classifier").active
            if active is None:
                assert STEPS.index(step) < STEPS.index("after activate")
                # The same command once more is not taken for a replay of an older release.
                with pytest.raises(MaskedgeError, match="enough pictures"):
                    updater._limits = TrialLimits(frames_seconds=0.1)
                    updater.update(arguments, lambda stage, sentence, details: None)
            else:
                assert detector.classifier.path.read_bytes() == content
                assert step == "never" or STEPS.index(step) >= STEPS.index("after activate")
            seen.add(None if active is None else active.release)
            updater.close()
    finally:
        server.close()
    assert seen == {None, 1}
