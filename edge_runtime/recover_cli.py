"""The verb `recover`."""

from __future__ import annotations

from pathlib import Path

import click

from edge_runtime.errors import OptionError


@click.command()
@click.argument("recording", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False),
    help="File for the whole recording.  [default: NAME.recovered.mcap beside it]",
)  # fmt: skip
def recover(recording: Path, output: Path | None) -> None:
    """Give an MCAP recording that was cut off, by a crash or a full disk, the index it lacks.

    RECORDING is only read. All of its whole chunks are kept.
    """
    target = output or recording.with_name(f"{recording.stem}.recovered.mcap")
    if target.exists():
        raise OptionError(f"{target} exists; name another file with --output")
    # Imported here: `--help` does not need the package mcap.
    from edge_runtime.sinks.recording.recover import recover as recover_file

    count = recover_file(recording, target)
    click.echo(f"{target}: {count} messages")
