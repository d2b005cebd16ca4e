"""`edge-train`: from pictures to a checkpoint and its report. One module per command."""

from __future__ import annotations

import click

from maskedge.cli.common import CommandGroup
from maskedge.version import VERSION

from .audit import audit
from .cascade import cascade
from .classifier import classifier
from .composites import composites
from .detector import detector
from .evaluate import evaluate
from .leakage import leakage
from .localise import localise
from .preview import preview
from .runs import runs


@click.group(cls=CommandGroup)
@click.version_option(VERSION)
def main() -> None:
    """Train maskedge's models on a workstation."""


for command in (audit, localise, preview, classifier, evaluate, runs, leakage, cascade, detector, composites):
    main.add_command(command)
