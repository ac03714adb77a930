"""Options that all verbs have in common: the result as JSON, and silence."""

from __future__ import annotations

from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from edge_runtime.completion import candidates

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

STDOUT = Path("-")
DOCUMENTS = ("report", "html")
"""Parameters of commands that are files for the same result, or more of it."""
OUTPUTS = ("place", "target", "save_ranges", "sheet")
"""Parameters that are other files a command writes, where they are paths."""
OF_LATER = ("words", "arguments")
"""Parameters that are the command line of a later run, perhaps on another machine."""
T = TypeVar("T")


def json_target(value: str | Path) -> Path:
    """The ``type`` of ``--json``: a file that ends in ``.json``, or `STDOUT` for ``-``.

    Of other names it takes none: ``--json`` may stand alone, and what follows it then, a model for
    instance, must not be taken for the file to write.

    Raises:
        click.BadParameter: a name that does not end in ``.json``.
    """
    target = Path(value)
    if target != STDOUT and target.suffix.lower() != ".json":
        raise click.BadParameter(
            f"{str(value)!r}: expected a file that ends in .json, or - for stdout; put a bare "
            "--json last"
        )
    return target


@dataclass(frozen=True)
class Output:
    """Where a command's result goes, and what it says meanwhile.

    Raises:
        OptionError: a document cannot be written there, or it or another output would take the
            place of an input, of another output or of a manifest; nothing is done first and lost
            then.
    """

    json_to: Path | None = None
    """File for the JSON, or `STDOUT`."""
    quiet: bool = False
    """No progress and nothing for people on stdout; what went wrong is said all the same."""
    documents: tuple[Path, ...] = ()
    """Other files for the result."""
    outputs: tuple[Path, ...] = ()
    """What else the command writes."""
    inputs: tuple[Path, ...] = ()
    """Files the command was given, besides."""

    def __post_init__(self) -> None:
        if not (self.files or self.outputs):
            return
        # Imported here: most commands write none.
        from edge_runtime.places import require_places

        require_places(self.files, self.outputs, self.inputs)

    @property
    def file(self) -> Path | None:
        """The file for the JSON, if it goes to one."""
        return None if self.json_to == STDOUT else self.json_to

    @property
    def files(self) -> tuple[Path, ...]:
        """All files for the result."""
        return self.documents if self.file is None else (*self.documents, self.file)

    @property
    def shows(self) -> bool:
        """Whether stdout is for people."""
        return not self.quiet and self.json_to != STDOUT

    def say(self, line: str) -> None:
        """Print what goes on, on stderr, unless it is to be quiet."""
        if not self.quiet:
            click.echo(line, err=True)

    def tell(self, line: str, *, nl: bool = True) -> None:
        """Print a line of the result for people, if stdout is for them."""
        if self.shows:
            click.echo(line, nl=nl)

    def deliver(self, text: Callable[[], str]) -> None:
        """Write the result as JSON where it is wanted.

        Args:
            text: makes the JSON; it is not asked to if nobody wants any.

        Raises:
            OptionError: the file cannot be written.
        """
        if self.json_to is None:
            return
        document = text().rstrip("\n") + "\n"
        if self.json_to == STDOUT:
            click.echo(document, nl=False)
            return
        from edge_runtime.artifacts import write_text_atomic

        write_text_atomic(self.json_to, document)

    def deliver_facts(self, kind: str, facts: Mapping[str, Any]) -> None:
        """Write facts as a JSON document ``hyperseg-edge.KIND/1`` where one is wanted."""
        self.deliver(lambda: document(kind, facts))


def document(kind: str, facts: Mapping[str, Any]) -> str:
    """Facts as the text of a JSON document whose ``schema`` is ``hyperseg-edge.KIND/1``."""
    import msgspec

    schema = {"schema": f"hyperseg-edge.{kind}/1"}
    plain = msgspec.to_builtins({**facts, **schema}, enc_hook=str, str_keys=True)
    encoded = msgspec.json.encode(plain, order="sorted")
    return msgspec.json.format(encoded, indent=2).decode() + "\n"


def reporting(command: Callable[..., T]) -> Callable[..., T]:
    """Give a command ``--json`` and ``--quiet``; it gets them as ``output: Output``."""

    @click.option(
        "--json",
        "json_to",
        type=json_target,
        is_flag=False,
        flag_value=str(STDOUT),
        metavar="F.json|-",
        shell_complete=candidates.files,
        help="Write the result as JSON; - prints it, and nothing else, on stdout.",
    )
    @click.option("--quiet", is_flag=True, help="No progress and no tables.")
    @wraps(command)
    def reports(*words: Any, json_to: Path | None, quiet: bool, **values: Any) -> T:
        documents, outputs = (_paths(values, names) for names in (DOCUMENTS, OUTPUTS))
        inputs = _given_files(values)
        output = Output(json_to, quiet, documents, outputs, inputs)
        return command(*words, output=output, **values)

    return reports


def given_values(context: click.Context, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that the command line names; of the others another default may hold."""
    return {
        name: value
        for name, value in values.items()
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT
    }


def _given_files(values: Mapping[str, Any]) -> tuple[Path, ...]:
    """What a command was given and is a file, except where it writes."""
    from edge_runtime.places import files_named

    found: list[Path] = []
    for name, value in values.items():
        if name not in (*DOCUMENTS, *OUTPUTS, *OF_LATER):
            words = value if isinstance(value, tuple) else (value,)
            found += (f for w in words if isinstance(w, (str, Path)) for f in files_named(str(w)))
    return tuple(found)


def _paths(values: Mapping[str, Any], names: tuple[str, ...]) -> tuple[Path, ...]:
    """Those of a command's values that have one of the names and are paths."""
    return tuple(path for name in names if isinstance(path := values.get(name), Path))
