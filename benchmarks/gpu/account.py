"""What every item shares: its options, the refusal without a GPU, and a JSON that grows.

The JSON is written anew, complete or not at all, after every figure. So an item that is killed
leaves what it had, with the status ``running``.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from benchmarks.gpu.facts import gpu_facts, power_state
from edge_runtime.artifacts import write_text_atomic
from edge_runtime.errors import HypersegError

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

SCHEMA = "hyperseg-edge.gpu/1"
DRY = "dry run on CPU: no figure of a GPU"
NO_GPU = (
    "no GPU: torch sees none that CUDA can use; run this on a machine with an NVIDIA GPU, or "
    "check its paths with --dry-run"
)
EXIT_REFUSED = 2
EXIT_CUT_OFF = 3
Status = Literal["running", "complete", "out of time", "cut off", "failed"]


class OutOfTimeError(Exception):
    """The minutes that were given are over; what was measured so far is kept."""


@dataclass
class Account:
    """The account of one item."""

    item: str
    dry: bool
    target: Path | None
    """Where it is written; None keeps it in memory."""
    minutes: float
    """After so many no new row is begun."""
    facts: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    status: Status = "running"
    reason: str = ""
    """Why it failed, or did not get to its end."""

    def __post_init__(self) -> None:
        self._began = time.monotonic()
        self.facts = {**gpu_facts(self.dry), "power": {"start": power_state(self.dry)}}
        self.save()

    @property
    def device(self) -> torch.device:
        """What the item works on."""
        import torch

        return torch.device("cpu" if self.dry else "cuda")

    @property
    def seconds_left(self) -> float:
        """Of the minutes given."""
        return self.minutes * 60 - (time.monotonic() - self._began)

    def row(self, table: str, name: str, **figures: Any) -> None:
        """Keep one row of figures, and say that it is there.

        Args:
            table: group of rows.
            name: of the row, unique in its group.
            **figures: plain JSON values.
        """
        self.figures.setdefault(table, {})[name] = figures
        shown = "ran" if self.dry else json.dumps(figures)
        self.say(f"{table}: {name}: {shown}")
        self.save()

    def skip(self, table: str, name: str, reason: str) -> None:
        """Keep why a row has no figures."""
        self.figures.setdefault(table, {})[name] = {"not_run": reason}
        self.say(f"{table}: {name}: not run: {reason}")
        self.save()

    def say(self, line: str) -> None:
        """A line of progress."""
        print(line, file=sys.stderr, flush=True)

    def check_time(self) -> None:
        """Call this before each row.

        Raises:
            OutOfTimeError: the minutes are over.
        """
        if self.seconds_left <= 0:
            raise OutOfTimeError

    def end(self, status: Status, reason: str = "") -> None:
        """Write the last state."""
        self.status, self.reason = status, reason
        self.facts["power"]["end"] = power_state(self.dry)
        self.save()

    def save(self) -> None:
        """Write all of it, atomically."""
        if self.target is not None:
            write_text_atomic(self.target, json.dumps(self.as_json(), indent=1) + "\n")

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "schema": SCHEMA, "item": self.item, "status": self.status, "reason": self.reason,
            "seconds": round(time.monotonic() - self._began, 1), **self.facts,
            "figures": self.figures, **({"dry_run": DRY} if self.dry else {}),
        }  # fmt: skip


def arguments(description: str | None, minutes: float) -> argparse.ArgumentParser:
    """A parser with what every item takes.

    Args:
        description: of the item; its first line is shown.
        minutes: it takes if not told otherwise.
    """
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="F", help="where the account is written")
    parser.add_argument("--minutes", type=float, default=minutes, help="begin no row after these")
    parser.add_argument("--dry-run", action="store_true", help="same paths, few and on the CPU")
    return parser


def conduct(
    item: str, options: argparse.Namespace, measure: Callable[[argparse.Namespace, Account], None]
) -> int:
    """Run an item from refusal to last line; returns the exit code.

    Args:
        item: its name.
        options: of `arguments`.
        measure: puts its rows into the account.
    """
    refusal = _refusal(options)
    if refusal is not None:
        print(f"error: {refusal}", file=sys.stderr)
        return EXIT_REFUSED
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _conduct(item, options, measure)
    finally:
        signal.signal(signal.SIGTERM, before)


def _conduct(
    item: str, options: argparse.Namespace, measure: Callable[[argparse.Namespace, Account], None]
) -> int:
    with tempfile.TemporaryDirectory(prefix="hyperseg-gpu-") as aside:
        target = Path(aside) / f"{item}.json" if options.dry_run else options.json
        if options.dry_run:
            print(DRY)
        elif target is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
        account = Account(item, options.dry_run, target, options.minutes)
        code = _finish(account, options, measure)
        if options.dry_run:
            rows = json.loads(Path(aside, f"{item}.json").read_bytes())["figures"]
            print(f"{item}: {account.status}, {sum(map(len, rows.values()))} rows gone through")
            print(DRY)
        else:
            print(json.dumps(account.as_json(), indent=1))
    return code


def _refusal(options: argparse.Namespace) -> str | None:
    """Why nothing can be measured; None if it can."""
    if options.dry_run:
        if options.json is not None:
            return "a dry run has no figures to write: leave --json out"
        return None
    try:
        import torch
    except ImportError:
        return "torch is not installed: pip install 'hyperseg-edge[train]' and a CUDA build of it"
    return None if torch.cuda.is_available() else NO_GPU


def _finish(
    account: Account,
    options: argparse.Namespace,
    measure: Callable[[argparse.Namespace, Account], None],
) -> int:
    try:
        measure(options, account)
    except OutOfTimeError:
        account.end("out of time", f"the {account.minutes:g} minutes were over before all rows")
        return 0
    except HypersegError as error:
        account.end("failed", str(error))
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        account.end("cut off", "interrupted")
        return EXIT_CUT_OFF
    except Exception as error:
        account.end("failed", f"{type(error).__name__}: {error}")
        raise
    account.end("complete")
    return 0


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt
