"""Whether a command line is understood, without running it or looking at any file."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

import click

from edge_runtime import cli

if TYPE_CHECKING:
    from collections.abc import Sequence

PLACEHOLDER = re.compile(r"[A-Z][A-Z0-9_.]*|\.\.\.|…")


@cache
def command_of(verb: str) -> click.Command:
    """The verb's command; loading one looks through all that is installed."""
    return cli.load(cli.VERBS[verb])


def understand(words: Sequence[str], *, whole: bool) -> None:
    """Take `words` apart as ``hyperseg`` would.

    Args:
        words: what is typed behind ``hyperseg``.
        whole: it is a whole command, so that what a verb requires has to be there.

    Raises:
        click.UsageError: no such verb or option, or a value of another kind.
    """
    if not words or words[0] in ("VERB", "--version", "--help", "-h"):
        return
    verb, *rest = words
    if verb not in cli.VERBS:
        raise click.UsageError(f"no verb {verb!r}")
    _take_apart(command_of(verb), verb, rest, whole=whole)


def _take_apart(command: click.Command, name: str, rest: list[str], *, whole: bool) -> None:
    if not rest or "--help" in rest:
        return
    context = click.Context(command, info_name=name)
    if isinstance(command, click.Group):
        for sub in rest[0].split("|"):
            child = command.get_command(context, sub)
            if child is None:
                raise click.UsageError(f"{name} has no command {sub!r}")
            _take_apart(child, f"{name} {sub}", rest[1:], whole=whole)
        return
    if "--" in rest:  # a run stands behind it, for `deploy` without its model
        words = rest[rest.index("--") + 1 :]
        understand(words if words[:1] == ["run"] else ["run", "MODEL", *words], whole=whole)
    given = [word for word in rest if word not in ("...", "…")]
    values, arguments, _ = command.make_parser(context).parse_args(given)
    if arguments and whole:
        raise click.UsageError(f"{name} takes no {arguments}")
    for parameter in command.params:
        _check(parameter, values.get(parameter.name or ""), context, whole=whole)


def _check(
    parameter: click.Parameter, value: object, context: click.Context, *, whole: bool
) -> None:
    given = value if isinstance(value, (list, tuple)) else [value]
    texts = [text for text in given if isinstance(text, str)]
    if whole and parameter.required and not texts:
        raise click.UsageError(f"{context.info_name} lacks {parameter.name}")
    for text in texts:
        if not isinstance(parameter.type, click.Path) and not PLACEHOLDER.fullmatch(text):
            parameter.type.convert(text, parameter, context)
