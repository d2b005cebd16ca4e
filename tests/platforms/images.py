"""Builds a Dockerfile in a folder, with debootstrap instead of a container engine.

Only what the Dockerfiles of `deploy` use is understood: FROM debian:SUITE-slim, ENV, RUN, COPY,
WORKDIR, VOLUME, USER, EXPOSE, HEALTHCHECK, STOPSIGNAL, ENTRYPOINT and CMD.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from debian_root import ROOT, DebianRoot, fail, make_root, run

NOT_IN_SLIM = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "var/cache/apt", "var/lib/apt/lists")
"""Folders that the slim images of Debian do not have."""


@dataclass
class Image:
    """An image in a folder.

    Attributes:
        root: Its file system.
        environment: Its variables.
        user: User and group that run its command, such as `10001:10001`.
        folder: Working folder.
        volumes: Folders that stay writable.
        entrypoint, command, health: Words of the commands.
    """

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    user: str = ""
    folder: str = "/"
    volumes: list[str] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)

    @property
    def megabytes(self) -> float:
        """Size of the file system."""
        return int(run(["du", "-sk", "-x", self.root]).split()[0]) / 1000

    def run(self, line: str, *, extra: tuple[str, ...] = ()) -> str:
        """Run a shell command as the image's user, on a read-only file system with its volumes and /tmp."""
        user = int(self.user.partition(":")[0]) if self.user else None
        system = DebianRoot(self.root, self.environment, user=user, folder=self.folder)
        return system.command(line, read_only=True, writable=[*self.volumes, *extra])


def read_steps(dockerfile: Path) -> list[tuple[str, str]]:
    """Return the instructions of a Dockerfile and their arguments."""
    text = re.sub(r"(?m)^\s*#.*\n", "", dockerfile.read_text(encoding="utf-8")).replace("\\\n", " ")
    return [(word, rest.strip()) for word, _, rest in (line.strip().partition(" ") for line in text.splitlines() if line.strip())]


def build_image(dockerfile: Path, folder: Path) -> Image:
    """Build the last stage of a Dockerfile. The folder keeps the base systems."""
    stages: dict[str, Image] = {}
    image: Image | None = None
    for number, (word, rest) in enumerate(read_steps(dockerfile)):
        if word == "FROM":
            found = re.fullmatch(r"debian:(\w+)-slim(?: AS (\w+))?", rest)
            if found is None:
                fail(f"{dockerfile.name}: FROM {rest} is not a slim image of Debian.")
            image = Image(_copy_base(found[1], folder, f"{dockerfile.stem}-{number}"))
            stages[found[2] or "last"] = image
        elif image is None:
            fail(f"{dockerfile.name} does not begin with FROM.")
        else:
            _apply(image, word, rest, stages)
    if image is None:
        fail(f"{dockerfile.name} has no stage.")
    return image


def _copy_base(suite: str, folder: Path, name: str) -> Path:
    base, root = folder / f"base-{suite}", folder / name
    if not base.is_dir():
        make_root(base, suite, ())
        for path in NOT_IN_SLIM:
            shutil.rmtree(base / path, ignore_errors=True)
        excluded = "".join(f"path-exclude /{path}/*\n" for path in NOT_IN_SLIM if path.startswith("usr/"))
        (base / "etc/dpkg/dpkg.cfg.d/slim").write_text(excluded, encoding="utf-8")
        (base / "var/cache/apt/archives/partial").mkdir(parents=True)
        (base / "var/lib/apt/lists/partial").mkdir(parents=True)
    shutil.rmtree(root, ignore_errors=True)
    run(["cp", "-a", base, root])
    return root


def _apply(image: Image, word: str, rest: str, stages: dict[str, Image]) -> None:
    if word == "ENV":
        image.environment |= dict(part.split("=", 1) for part in shlex.split(rest))
    elif word == "RUN":
        # The files of pip's settings are mounted read-only, so the packages of Debian cannot change them.
        DebianRoot(image.root, image.environment, pip="/pip " in rest).command(rest)
    elif word == "COPY":
        words = shlex.split(rest)
        source = stages[words.pop(0).removeprefix("--from=")].root if words[0].startswith("--from=") else ROOT
        _copy([source / part.lstrip("/") for part in words[:-1]], image.root / words[-1].lstrip("/"), into=words[-1].endswith("/"))
    elif word == "WORKDIR":
        image.folder = rest
    elif word == "VOLUME":
        image.volumes.append(rest)
    elif word == "USER":
        image.user = rest
    elif word in ("ENTRYPOINT", "CMD"):
        setattr(image, "entrypoint" if word == "ENTRYPOINT" else "command", json.loads(rest))
    elif word == "HEALTHCHECK":
        image.health = json.loads(rest[rest.index("[") :])
    elif word not in ("EXPOSE", "STOPSIGNAL"):
        fail(f"the instruction {word} is not understood.")


def _copy(sources: list[Path], target: Path, *, into: bool) -> None:
    for source in sources:
        place = target / source.name if into and source.is_file() else target
        place.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            # As git has it: without bytecode of this machine.
            shutil.copytree(source, place, symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, place)
