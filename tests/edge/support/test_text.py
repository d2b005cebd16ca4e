"""JSON that every reader accepts."""

from __future__ import annotations

import json
import math
from pathlib import Path

from maskedge.events import Event
from maskedge.sinks.mqtt.spool import Spool
from maskedge.sinks.web.config import WebConfig
from maskedge.sinks.web.sink import WebSink
from maskedge.support.text import counted, to_json


def test_what_is_no_number_is_null() -> None:
    value = {"a": [1.5, math.nan, (math.inf, {"b": -math.inf})], "c": "NaN", "d": None, "e": True, "f": 2}
    assert json.loads(to_json(value)) == {"a": [1.5, None, [None, {"b": None}]], "c": "NaN", "d": None, "e": True, "f": 2}
    assert to_json({"ü": 1.25}) == '{"ü": 1.25}'
    assert to_json("ü", ensure_ascii=True) == '"\\u00fc"'


def test_one_is_no_plural() -> None:
    assert [counted(number, "epoch") for number in (0, 1, 2000)] == ["0 epochs", "1 epoch", "2,000 epochs"]


def test_no_output_gives_nan(tmp_path: Path) -> None:
    sink = WebSink(WebConfig(serve="127.0.0.1:0"), lambda: {"rate": math.nan, "source": {"fps": math.inf}})
    assert json.loads(sink._status_json()) == {"rate": None, "source": {"fps": None}}
    sink.close()
    spool = Spool(tmp_path, 1000)
    spool.add([Event("alert", 0.0, "0", {"fraction": math.nan}).to_json()])
    assert json.loads(spool.after(0, 1)[0].payload)["fraction"] is None
    spool.close()
