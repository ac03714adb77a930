"""Options and arguments that several verbs have, each written once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_runtime.completion import candidates
from edge_runtime.durations import duration

if TYPE_CHECKING:
    from collections.abc import Callable

    Decorator = Callable[[Any], Any]

FILE = click.Path(path_type=Path, dir_okay=False)

model_argument = click.argument("model", shell_complete=candidates.models)
"""A model file or the name of a shipped model."""

sources_argument = click.argument(
    "sources",
    nargs=-1,
    required=True,
    metavar="[NAME=]SOURCE...",
    shell_complete=candidates.sources,
)
"""Cameras, streams, videos."""

threads_option = click.option(
    "--threads",
    type=int,
    metavar="N",
    help="CPU threads for one inference.  [default: one per core]",
)

report_option = click.option(
    "--report",
    type=FILE,
    metavar="F.json|F.html",
    help="Write the report, as JSON or as a page to look at.",
)

rules_option = click.option(
    "--rules",
    type=FILE,
    metavar="F.json",
    help="Regions and rules that sinks such as jsonl:, udp: and mqtt: tell about.",
)

calibration_option = click.option(
    "--calibration",
    type=FILE,
    metavar="CACHE",
    help="TensorRT calibration table, where ranges are not in the model.",
)

signing_key_option = click.option(
    "--key",
    type=FILE,
    metavar="KEY",
    help="Sign with this Ed25519 key (ssh-keygen -t ed25519).",
)

service_option = click.option(
    "--service", metavar="NAME", help="Run it as this systemd service; run's arguments follow --."
)

account_option = click.option(
    "--as",
    "account",
    metavar="USER",
    help="Account of the service, one without privileges; CSI cameras and files in /tmp need it.  "
    "[default: one made for it]",
)

run_arguments = click.argument(
    "arguments", nargs=-1, type=click.UNPROCESSED, metavar="[-- RUN ARGS...]"
)


def sink_option(help: str) -> Decorator:
    """``--sink``, which may be given several times."""
    return click.option(
        "--sink",
        "sinks",
        multiple=True,
        metavar="SINK",
        shell_complete=candidates.sinks,
        help=f"{help}  [default: null]",
    )


def duration_option(help: str) -> Decorator:
    """``--duration``, as ``duration_s``."""
    return click.option("--duration", "duration_s", type=duration, metavar="T", help=help)


def secrets_option(help: str) -> Decorator:
    """``--secret NAME=FILE``, which may be given several times."""
    return click.option("--secret", "secrets", multiple=True, metavar="NAME=FILE", help=help)


def into_option(where: str, kind: Any = None) -> Decorator:
    """``--into DIR``, the folder of releases.

    Args:
        where: of that folder, for the help.
        kind: of its value: a path of this machine; None where it is the text of another's.
    """
    return click.option(
        "--into",
        type=kind,
        metavar="DIR",
        help=f"Folder of releases{where}.  [default: /var/lib/hyperseg for root, else "
        "~/.local/share/hyperseg]",
    )
