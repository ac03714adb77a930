"""Commands with commands of their own, such as `hyperseg service`: a mistyped one is recognised."""

from __future__ import annotations

from typing import ClassVar

import click

from edge_runtime.suggest import suggestion


class SuggestingGroup(click.Group):
    """A click group that names the nearest of its commands, or all, where there is no such one."""

    noun: ClassVar[str] = "command"
    """What its commands are called."""

    def shown(self) -> list[str]:
        """Names of the commands that people may type."""
        return [name for name, command in self.commands.items() if not command.hidden]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but for names that are unknown."""
        name = args[0]
        if name not in self.list_commands(ctx) and not name.startswith("-"):
            meant = suggestion(name, self.shown())
            raise click.UsageError(f"no {self.noun} {name!r}; {meant}", ctx)
        return super().resolve_command(ctx, args)
