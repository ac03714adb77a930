"""Runs parts one after another; one that fails or is not possible here ends none of the others."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from benchmarks.suite import child
from benchmarks.suite.figures import Figure, collect
from benchmarks.suite.machine import ROOT
from benchmarks.suite.places import FIGURES, GPU_ACCOUNTS
from edge_runtime.redact import public_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from benchmarks.suite.child import Ended
    from benchmarks.suite.parts import Part, Wish

State = Literal["measured", "not measured", "failed"]
MATERIAL_LIMIT_S = 300.0
FRAMES, PICTURES_QUICK, PICTURES_FULL = 150, 8, 64


@dataclass(frozen=True)
class Outcome:
    """What came of one part."""

    name: str
    state: State
    reason: str = ""
    """Why there are no figures, in one line."""
    seconds: float = 0.0
    peak_mb: float | None = None
    """As `child.Ended.peak_mb`."""
    command: str = ""
    """With paths as their last part."""
    figures: dict[str, Figure] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain values, to publish: of paths their last part, and no secrets."""
        return {
            "state": self.state,
            "reason": public_command(self.reason),
            "seconds": round(self.seconds, 1),
            "peak_mb": None if self.peak_mb is None else round(self.peak_mb, 1),
            "command": self.command,
            "figures": {name: figure.as_json() for name, figure in self.figures.items()},
        }


def run_parts(
    parts: Sequence[Part], wish: Wish, say: Callable[[str], None] = lambda _: None
) -> Iterator[Outcome]:
    """Run parts one after another.

    Args:
        parts: which.
        wish: what was asked for.
        say: takes a line before each.

    Yields:
        What came of each, as soon as it is over.
    """
    missing = None
    if any(part.material for part in parts):
        say("drawing a street to work on")
        missing = _prepare(wish)
    for part in parts:
        if part.material and missing is not None:
            yield Outcome(part.name, "failed", f"no street to work on: {missing}")
            continue
        say(f"{part.name}: {part.says}")
        yield run_part(part, wish)


def _prepare(wish: Wish) -> str | None:
    """Make what the parts work on; why it could not be made, or None.

    In a process of its own, so that this one stays small.
    """
    pictures = PICTURES_QUICK if wish.quick else PICTURES_FULL
    command = [
        *(sys.executable, "-m", "benchmarks.suite.material", str(wish.folder)),
        *("--frames", str(FRAMES), "--pictures", str(pictures)),
    ]
    ended = child.run(command, limit_s=MATERIAL_LIMIT_S, cwd=ROOT)
    return None if ended.code == 0 else _why(ended)


def run_part(part: Part, wish: Wish) -> Outcome:
    """Measure one part."""
    if (reason := part.why_not()) is not None:
        return Outcome(part.name, "not measured", reason)
    arguments = part.arguments(wish)
    target = wish.folder / part.name / FIGURES
    written = ["--json", str(target)] if part.writes_json else []
    command = ["-m", part.module, *arguments]
    ended = child.run([sys.executable, *command, *written], limit_s=part.limit_s, cwd=ROOT)
    shown = shlex.join(public_command(word) for word in ("python", *command))

    def outcome(state: State, reason: str, figures: dict[str, Figure] | None = None) -> Outcome:
        return Outcome(part.name, state, reason, ended.seconds, ended.peak_mb, shown, figures or {})

    if ended.code != 0:
        return outcome("failed", _why(ended))
    try:
        raw = _read(target) if part.writes_json else _accounts(wish.folder / GPU_ACCOUNTS)
    except (OSError, ValueError, KeyError) as error:
        return outcome("failed", f"it wrote no figures: {error}")
    figures = collect(raw, part.figures)
    if not figures:
        return outcome("failed", "none of its figures is one that is kept")
    return outcome("measured", "", figures)


def _why(ended: Ended) -> str:
    if ended.timed_out:
        return f"not done after {ended.seconds:.0f} s"
    how = f"signal {-ended.code}" if ended.code < 0 else f"exit code {ended.code}"
    return f"{how}: {ended.last_line}" if ended.last_line else how


def _read(path: Path) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads(path.read_bytes())["figures"]
    return figures


def _accounts(folder: Path) -> dict[str, Any]:
    return {path.stem: _read(path) for path in sorted(folder.glob("*.json"))}
