"""The verb `recover`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_runtime.cli_options import reporting
from edge_runtime.errors import OptionError

if TYPE_CHECKING:
    from edge_runtime.cli_options import Output


@click.command()
@click.argument("recording", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "-o", "--output", "target", type=click.Path(path_type=Path, dir_okay=False),
    help="File for the whole recording.  [default: NAME.recovered.mcap beside it]",
)  # fmt: skip
@reporting
def recover(recording: Path, target: Path | None, output: Output) -> None:
    """Give an MCAP recording that was cut off, by a crash or a full disk, the index it lacks.

    RECORDING is only read. All of its whole chunks are kept.
    """
    target = target or recording.with_name(f"{recording.stem}.recovered.mcap")
    if target.exists():
        raise OptionError(f"{target} exists; name another file with --output")
    # Imported here: `--help` does not need the package mcap.
    from edge_runtime.progress import steps
    from edge_runtime.sinks.recording.recover import recover as recover_file

    with steps(f"reading {recording.name}", quiet=output.quiet):
        count = recover_file(recording, target)
    output.deliver_facts("recover", {"file": target, "messages": count})
    output.tell(f"{target}: {count} messages")
