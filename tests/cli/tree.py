"""Every command that can be typed, as click knows it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import click

from edge_runtime.cli import VERBS, load


@cache
def commands() -> dict[str, click.Command]:
    """All commands by the words that call them, those within groups and hidden ones too."""
    return {
        name: command for verb, entry in VERBS.items() for name, command in walk(verb, load(entry))
    }


def walk(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield name, command
        return
    context = click.Context(command)
    for child in command.list_commands(context):
        found = command.get_command(context, child)
        assert found is not None
        yield from walk(f"{name} {child}", found)


def option(command: click.Command, flag: str) -> click.Option | None:
    """The option of that flag."""
    return next((p for p in command.params if isinstance(p, click.Option) and flag in p.opts), None)
