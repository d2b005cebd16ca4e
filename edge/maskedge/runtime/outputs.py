"""Checks of outputs before they are opened, so that no file of the user is overwritten.

"Outputs that exist" in docs/operating.md describes the rules.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path

from maskedge.config import EdgeConfig, section_names
from maskedge.errors import UsageError
from maskedge.modelfile.contract import MODELS
from maskedge.sinks.images import annotated_names
from maskedge.sinks.retention import is_own_name
from maskedge.sinks.save import source_paths
from maskedge.sources import Source
from maskedge.support.files import is_file, is_folder
from maskedge.support.outputs import Named, check_apart, check_new, files_of, same_file
from maskedge.support.text import displayable


def check_run_outputs(config: EdgeConfig, source: Source, *, inputs: list[Path]) -> None:
    """Refuse outputs that would destroy the user's files. Called before any output is opened.

    Args:
        config: The configuration.
        source: The opened source.
        inputs: Further files that the run reads, as the models in use and the edge.toml.

    Raises:
        UsageError: An output is an input or another output, or exists and may not be replaced.
    """
    if not (config.events.frames or source.video) and config.events.file:
        raise UsageError("single pictures have no events except their lines: leave --no-events-frames (events.frames) out.")
    addresses = dict.fromkeys(address for address in (config.source.uri, source.name) if address)
    named = [path for address in addresses for path in files_of(address)]
    sources = [Named("the source", path) for path in [*source_paths(source), *named]]
    read = [*sources, *(Named("a file that this run reads", path) for path in [*inputs, *MODELS.iterdir()]), *_configured(config)]
    saved = [Named("--save", path) for path in saved_files(config, source)]
    events = []
    if config.events.file == "-":
        saved.append(Named("standard output", Path("/dev/stdout")))
    elif config.events.file:
        events = [Named("--events", Path(config.events.file).expanduser())]
    spool = []
    if config.mqtt.spool:
        from maskedge.sinks.mqtt.spool import NAME  # loads SQLite

        spool = [Named("[mqtt] spool", config.mqtt.spool.expanduser() / NAME)]
    history = [] if config.history.path is None else [Named("[history] file", config.history.path)]
    check_apart([*saved, *events, *spool, *history], read)
    saved = [one for one in saved if one.name == "--save"]
    for folder in _folders(config):
        check_apart([folder], (one for one in read if is_folder(one.path)))
    _check_media_folders(config, sources)
    pictures = source_paths(source)
    if config.output.save and (len(pictures) > 1 or any(is_folder(one.path) for one in sources)):
        _check_mixed(Path(config.output.save).expanduser(), pictures)
    # The earlier video of a live source is renamed, so that a restarted service neither overwrites
    # it nor fails.
    anew = [] if source.live else saved
    check_new(anew if config.events.appends(live=source.live) else [*anew, *events], overwrite=config.output.overwrite)


def check_cameras(configs: Sequence[EdgeConfig]) -> None:
    """Refuse outputs of named cameras that would destroy those of another camera, or its source.

    Args:
        configs: The configuration of each camera.

    Raises:
        UsageError: Two cameras write the same file or folder, or one of them reads it.
    """
    read = [Named(f"the source of camera {one.camera}", path) for one in configs for path in files_of(one.source.address)]
    written: list[Named] = []
    for config in configs:
        files = [("--save", config.output.save), ("--events", config.events.file if config.events.file != "-" else None)]
        named = [Named(name, Path(path).expanduser()) for name, path in files if path]
        written += [Named(f"{one.name} of camera {config.camera}", one.path) for one in (*named, *_folders(config))]
    check_apart(written, read)
    known: dict[str, Named] = {}
    for one in written:
        # A folder that does not exist yet has no identity.
        other = known.setdefault(os.path.realpath(one.path), one)
        if other is not one and not str(one.path).startswith("/dev/"):
            raise UsageError(f"{other.name} and {one.name} are the same, {displayable(one.path)}: name two.")


def saved_files(config: EdgeConfig, source: Source) -> Iterator[Path]:
    """Yield every file that `--save` will write."""
    if not config.output.save:
        return
    path = Path(config.output.save).expanduser()
    if source.video or not is_folder(path):
        yield path
        return
    for name in annotated_names(source_paths(source)).values():
        yield path / name


def _configured(config: EdgeConfig) -> Iterator[Named]:
    """Yield the files named in a configuration: models, tokens, certificates."""
    for section in section_names():
        values = getattr(config, section)
        for entry in fields(values):
            value = getattr(values, entry.name)
            # A detector is a name or a file.
            path = Path(value) if f"{section}.{entry.name}" == "detect.detector" else value
            if isinstance(path, Path) and is_file(path.expanduser()):
                yield Named(f"the file of {section}.{entry.name}", path.expanduser())
    for rule in config.alerts:
        for entry in fields(rule):
            value = getattr(rule, entry.name)
            if isinstance(value, Path) and is_file(value.expanduser()):
                yield Named(f"the file of {entry.name} in alert rule {rule.name!r}", value.expanduser())


def _folders(config: EdgeConfig) -> list[Named]:
    folders = (
        ("[snapshots] folder", config.snapshots.folder),
        ("[clips] folder", config.clips.folder),
        ("[mqtt] spool", config.mqtt.spool),
    )
    return [Named(name, path.expanduser()) for name, path in folders if path is not None]


def _check_media_folders(config: EdgeConfig, sources: list[Named]) -> None:
    """Refuse a source that the retention of snapshots or clips would delete."""
    for name, folder in (("[snapshots]", config.snapshots.folder), ("[clips]", config.clips.folder)):
        for one in sources:
            if folder is not None and is_own_name(one.path.name) and same_file(one.path.parent, folder.expanduser()):
                raise UsageError(
                    f"{displayable(one.path)} lies in the folder of {name}, which removes old files: name another folder."
                )


def _check_mixed(folder: Path, pictures: list[Path]) -> None:
    """Refuse to write annotated copies into the folder of their originals."""
    for parent in {picture.parent for picture in pictures}:
        if same_file(parent, folder):
            raise UsageError(
                f"--save {displayable(folder)} is the folder of the source: its pictures would be overwritten or mixed with their "
                "copies; create another folder."
            )
