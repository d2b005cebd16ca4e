"""Checks of a configuration, as `edge-run` makes them at its start. Nothing is opened for writing or created."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from maskedge.alerts.action import ActionContext
from maskedge.alerts.command import CommandAction, CommandRule
from maskedge.alerts.registry import ACTIONS, rule_problems, unused_settings
from maskedge.config import ConfigError, EdgeConfig, Loaded, load_config, section_names
from maskedge.errors import UsageError
from maskedge.remote.settings import check_fleet, device_prefix
from maskedge.runtime.outputs import check_cameras
from maskedge.sinks import sink_classes
from maskedge.support.files import expand_home
from maskedge.support.outputs import Named
from maskedge.support.text import counted, displayable
from maskedge.system.state_folder import state_folder
from maskedge.tracking.lines import parse_lines
from maskedge.zones import Zones, parse_zone

from .finding import Finding, problem_of

_LITTLE_FREE = 500e6
"""Bytes of free space on a disk below which it counts as nearly full."""


def read_config(file: Path) -> tuple[Loaded | None, list[Finding]]:
    """Load a configuration. Return it, or None and a finding for each error in it."""
    try:
        loaded = load_config(expand_home(file))
    except ConfigError as error:
        return None, [Finding("FAIL", problem) for problem in error.problems]
    except UsageError as error:
        return None, [Finding("FAIL", str(error))]
    problems = dict.fromkeys(problem for config in loaded.cameras for problem in _invalid(config))
    # No camera has the common rules if each has its own. Their zones may be those of a camera.
    common = [replace(rule, zone=None) for rule in loaded.config.alerts]
    problems |= dict.fromkeys(rule_problems(common, Zones.parse(())))
    return (None if problems else loaded), [Finding("FAIL", problem) for problem in problems]


def check_config(loaded: Loaded) -> Iterator[Finding]:
    """Check the alert rules, the outputs and the section `[fleet]` of a valid configuration."""
    yield from _check_alerts(loaded)
    yield from _check_outputs(loaded)
    yield from _check_fleet(loaded)


def _invalid(config: EdgeConfig) -> Iterator[str]:
    """Yield a message for each invalid zone, line and alert rule of a camera."""
    yield from problem_of(parse_lines, config.lines)
    wrong = [problem for number, text in enumerate(config.zones.roi, 1) for problem in problem_of(parse_zone, text, number)]
    wrong = wrong or problem_of(Zones.parse, config.zones.roi)
    yield from wrong
    if not wrong:
        yield from rule_problems(config.alerts, Zones.parse(config.zones.roi))


def _check_alerts(loaded: Loaded) -> Iterator[Finding]:
    """Check that the actions of the rules can be performed, and find settings without effect."""
    problems = dict.fromkeys(problem for config in loaded.cameras for problem in _action_problems(config))
    yield from (Finding("FAIL", problem) for problem in problems)
    configs = (loaded.config, *loaded.cameras)
    for unused in dict.fromkeys(pair for config in configs for pair in unused_settings(config.alerts)):
        yield Finding("note", *unused)
    rules = len({rule for config in loaded.cameras for rule in config.alerts})
    if rules and not problems:
        yield Finding("ok", counted(rules, "alert rule"))


def _action_problems(config: EdgeConfig) -> Iterator[str]:
    sinks: dict[str, Any] = {sink.name: sink for sink in sink_classes() if sink.is_wanted(getattr(config, sink.section))}
    context = ActionContext(sinks, config.sections)
    for action in ACTIONS:
        for rule in config.alerts:
            if action.name not in rule.actions:
                continue
            wrong = problem_of(action, [rule], context)
            yield from wrong
            # Otherwise the first alert would tell, after weeks perhaps.
            if action is CommandAction and isinstance(rule, CommandRule) and not wrong and shutil.which(rule.command[0]) is None:
                program = displayable(rule.command[0])
                yield f"alert rule {rule.name!r}: the program {program} cannot be run: check the path and the permissions."


def _check_outputs(loaded: Loaded) -> Iterator[Finding]:
    """Check that the outputs fit together and can be written, and that their disks have space."""
    problems: dict[str, None] = {}
    for config in loaded.cameras:
        for sink in sink_classes():
            settings = getattr(config, sink.section)
            if sink.is_wanted(settings):
                problems |= dict.fromkeys(problem_of(sink.validate, settings))
    if loaded.tables:
        problems |= dict.fromkeys(problem_of(check_cameras, loaded.cameras))
    yield from (Finding("FAIL", problem) for problem in problems)
    outputs = {(one.name, one.path): is_folder for config in loaded.cameras for one, is_folder in _outputs(config)}
    for (name, path), is_folder in outputs.items():
        yield _check_output(f"{name} {displayable(path)}", path, is_folder=is_folder)


def _outputs(config: EdgeConfig) -> Iterator[tuple[Named, bool]]:
    """Yield the files and folders that a run writes, and True for a folder."""
    for section in section_names():
        values = getattr(config, section)
        for entry in fields(values):
            value, kind = getattr(values, entry.name), entry.metadata.get("camera")
            if value and kind in ("file", "folder") and value != "-":
                yield Named(f"[{section}] {entry.name}", Path(value).expanduser()), kind == "folder"
    if config.history.path is not None:
        yield Named("[history] file", config.history.path), False
    if config.mqtt.url and config.mqtt.spool is None and not problem_of(state_folder):
        yield Named("the spool of [mqtt] in", state_folder()), True


def _check_output(name: str, path: Path, *, is_folder: bool) -> Finding:
    try:
        place = path if is_folder or path.is_dir() else path.parent
        # `edge-run` creates a missing folder for pictures, clips and the spool.
        while is_folder and not os.path.lexists(place) and place != place.parent:
            place = place.parent
        if path.is_dir() and not is_folder and not name.startswith("[output] save"):
            return Finding("FAIL", f"{name}: it is a folder", "name a file in it")
        if not place.is_dir():
            if os.path.lexists(place):
                return Finding("FAIL", f"{name}: {displayable(place)} is in the way", "remove it, or choose another folder")
            return Finding("FAIL", f"{name}: its folder does not exist", f"mkdir -p {displayable(place)}")
        if path.exists() and not (path.is_file() or path.is_dir()):
            return Finding("ok", f"{name}: a device or a pipe")
        written = [path if path.is_file() else place]
        if name.startswith("[history] file"):
            # SQLite creates its log beside the file that a symbolic link leads to.
            written.append(Path(os.path.realpath(path)).parent)
        for one in written:
            if not os.access(one, os.W_OK):
                remedy = "check the owner and the permissions, or run edge-doctor as the user of the service"
                return Finding("FAIL", f"{name}: this user may not write {displayable(one)}", remedy)
        free = shutil.disk_usage(place).free
    except OSError as error:
        return Finding("FAIL", f"{name}: it cannot be checked ({error.strerror})", "check the name and the permissions")
    if free < _LITTLE_FREE:
        return Finding("note", f"{name}: only {free / 1e6:.0f} MB are free on its disk", "free some space")
    return Finding("ok", f"{name}: can be written, {free / 1e9:.1f} GB free")


def _check_fleet(loaded: Loaded) -> Iterator[Finding]:
    """Check the section [fleet] of a configuration."""
    fleet = loaded.config.fleet
    if not fleet.enabled:
        return
    try:
        check_fleet(loaded)
    except UsageError as error:
        text, _, remedy = str(error).partition(": ")
        yield Finding("FAIL", f"fleet: {text}", remedy)
        return
    keys = counted(len(fleet.trusted_keys), "key")
    taken = f"takes {', '.join(fleet.commands)} from {keys}" if fleet.commands else "takes no commands"
    yield Finding("ok", f"fleet: delivers to {device_prefix(loaded.config)}, {taken}")
