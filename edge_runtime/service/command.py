"""What a service's run reads, writes and needs, found from its arguments."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_runtime.errors import OptionError
from edge_runtime.redact import redact
from edge_runtime.rig.options import is_named
from edge_runtime.service.secrets import names_of, without_secrets
from edge_runtime.sinks.spec import parse_sink
from edge_runtime.web.options import TOKEN_OPTION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]
TEMPORARY = (Path("/tmp"), Path("/var/tmp"))
"""Folders that every other program sees too, unless a service is given its own."""
_IN_TEMPORARY = re.compile(r"(?:^|[=:])(?://)?(/(?:var/)?tmp)/")


@dataclass(frozen=True)
class Command:
    """A run that a service is made of."""

    words: tuple[str, ...]
    """Arguments of ``hyperseg``; files that are read have absolute names."""
    model: str
    sources: tuple[str, ...]
    written: tuple[Path, ...]
    """Folders outside the service's own that it must be able to write to."""
    read: tuple[Path, ...]
    """Files and folders that are there and are read."""
    shares_masks: bool
    """Whether other programs read its masks, in shared memory."""
    secrets: frozenset[str]

    @property
    def uses_argus(self) -> bool:
        """Whether a CSI camera is read, whose service is reached by a socket in /tmp."""
        return any("csi:" in source or "nvarguscamerasrc" in source for source in self.sources)

    @property
    def shared_tmp(self) -> str | None:
        """In words, why it must see the ``/tmp`` of the machine; None if it need not."""
        if self.uses_argus:
            return "a CSI camera is reached by /tmp/argus_socket"
        for path in self.written:
            if _temporary(path) is not None:
                return f"an output goes to {path}"
        for path in self.read:
            if (folder := _temporary(path)) is not None:
                return f"{path} lies in {folder}"
        for source in self.sources:
            if found := _IN_TEMPORARY.search(source):
                return f"{source} lies in {found[1]}"
        return None


def parse_command(words: Sequence[str]) -> Command:
    """The run of ``run ARGS...``, with all that can be known of it before it runs.

    Raises:
        OptionError: it is no run, an argument cannot work, or it shows a credential.
    """
    from edge_runtime.run_cli import run

    if not words or words[0] != "run":
        raise OptionError("a service is made of a run: hyperseg service install NAME -- run MODEL")
    for before, word in zip(("", *words), words, strict=False):
        shown = f"{before}=***" if before == TOKEN_OPTION else redact(word)
        if shown != word and not names_of([word]):
            _refuse_credentials(shown)
    plain = [without_secrets(word) for word in words[1:]]
    try:
        given = run.make_context("hyperseg run", plain).params
    except click.ClickException as error:
        raise OptionError(f"hyperseg run: {error.format_message()}") from error
    read = _inputs(given)
    return Command(
        words=tuple(_absolute(word, read) for word in words),
        model=str(given["model"]),
        sources=tuple(redact(source) for source in given["sources"]),
        written=tuple(sorted(_folders(given))),
        read=tuple(Path(path) for path in read.values()),
        shares_masks=any(parse_sink(text).kind == "shm" for text in given["sinks"]),
        secrets=frozenset(names_of(words)),
    )


def program() -> tuple[str, ...]:
    """What starts ``hyperseg`` here, whosever shell it is."""
    script = Path(sys.executable).with_name("hyperseg")
    return (str(script),) if script.exists() else (sys.executable, "-m", "edge_runtime.cli")


def _temporary(path: Path) -> Path | None:
    """The one of `TEMPORARY` that it lies in or is."""
    return next((folder for folder in TEMPORARY if path.is_relative_to(folder)), None)


def _refuse_credentials(shown: str) -> None:
    raise OptionError(
        f"{shown}: a unit file can be read by all; write {{secret:NAME}} in place of the "
        "password and give --secret NAME=FILE"
    )


def _inputs(given: Mapping[str, object]) -> dict[str, str]:
    """Relative names of files that are read, and their absolute ones."""
    sources = given["sources"]
    assert isinstance(sources, tuple)
    texts = [str(given["model"])]
    texts += [text.partition("=")[2] if is_named(text) else text for text in sources]
    texts += [str(given[option]) for option in ("rules", "store") if given[option] is not None]
    return {text: str(Path(text).absolute()) for text in texts if _exists(text)}


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # too long for a name, or not even text
        return False


def _absolute(word: str, read: Mapping[str, str]) -> str:
    if word in read:
        return read[word]
    head, equals, tail = word.partition("=")
    return f"{head}={read[tail]}" if equals and tail in read else word


def _folders(given: Mapping[str, object]) -> set[Path]:
    """Folders of the outputs with absolute names; others lie in the service's own folder."""
    sinks = given["sinks"]
    assert isinstance(sinks, tuple)
    paths = [parse_sink(text).path for text in sinks]
    paths += [Path(str(given[key])) for key in ("report", "frames_log", "status") if given[key]]
    found = set()
    for path in paths:
        if path is None or not path.is_absolute():
            continue
        folder = path.parent
        while "{" in str(folder):  # {camera} in it: made while the service runs
            folder = folder.parent
        found.add(folder)
    return found - {Path("/dev/shm")}  # not a disk, and open to all
