"""Run every item, one after another, within some minutes; keep one JSON of each and a table.

    python -m benchmarks.gpu --minutes 9 --out out/ --data camvid:DIR --checkpoint F.safetensors

Each item is a process of its own with a time limit. Its JSON grows as it goes, so that whatever
ends it, or this program, what was measured stays. An item whose JSON is complete is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.gpu.account import DRY, EXIT_REFUSED, NO_GPU
from edge_runtime.artifacts import write_text_atomic

if TYPE_CHECKING:
    from collections.abc import Sequence

GRACE_S = 30.0
"""An item gets so much more than its minutes before it is ended, and again before it is killed."""
DRY_MINUTES = 5.0


@dataclass(frozen=True)
class Item:
    """One command of the list."""

    name: str
    minutes: float
    """It is given at most."""
    data: bool = False
    """Takes ``--data``, and is left out without."""
    checkpoint: bool = False
    """Takes ``--checkpoint``, and is left out without."""


ITEMS = (
    Item("training", 9, data=True),
    Item("convolution", 8),
    Item("networks", 10),
    Item("plumbing", 9),
    Item("rtx", 9),
    Item("ranges", 6),
    Item("finetune", 9, data=True, checkpoint=True),
    Item("processes", 6, data=True),
)
"""The most telling first."""


def command_of(item: Item, options: argparse.Namespace, minutes: float) -> list[str] | str:
    """The item's command line, or why it is left out."""
    command = [sys.executable, "-m", f"benchmarks.gpu.{item.name}", "--minutes", f"{minutes:.2f}"]
    if options.dry_run:
        return [*command, "--dry-run"]
    command += ["--json", str(options.out / f"{item.name}.json")]
    for wanted, flag, value in (
        (item.data, "--data", options.data),
        (item.checkpoint, "--checkpoint", options.checkpoint),
    ):
        if wanted and value is None:
            return f"left out: it needs {flag}"
        if wanted:
            command += [flag, str(value)]
    return command


def run_item(command: Sequence[str], limit_s: float) -> int | None:
    """The exit code of an item, with its processes; None if it was ended for its time."""
    process = subprocess.Popen(list(command), start_new_session=True)
    try:
        return process.wait(limit_s)
    except subprocess.TimeoutExpired:
        return None
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_S)


def read_account(path: Path) -> dict[str, Any]:
    """What an item has written; empty if there is nothing, or nothing whole."""
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found


def mark_cut_off(path: Path, why: str) -> None:
    """Say in an item's JSON that it did not end by itself."""
    account = read_account(path)
    if account.get("status") == "running":
        account |= {"status": "cut off", "reason": why}
        write_text_atomic(path, json.dumps(account, indent=1) + "\n")


def run_all(options: argparse.Namespace) -> list[tuple[str, str, str]]:
    """Run what there is time for; (item, status, remark) of each."""
    began, rows = time.monotonic(), []
    for item in ITEMS:
        if options.only and item.name not in options.only:
            continue
        rows.append((item.name, *_one(item, options, began)))
        print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    return rows


def _one(item: Item, options: argparse.Namespace, began: float) -> tuple[str, str]:
    path = options.out / f"{item.name}.json"
    if not options.dry_run and read_account(path).get("status") == "complete":
        return "complete", "from an earlier call"
    left = options.minutes - (time.monotonic() - began) / 60
    minutes = min(item.minutes, left, DRY_MINUTES if options.dry_run else item.minutes)
    if minutes <= 0:
        return "not run", f"the {options.minutes:g} minutes were over"
    command = command_of(item, options, minutes)
    if isinstance(command, str):
        return "not run", command
    code = run_item(command, minutes * 60 + GRACE_S)
    if options.dry_run:
        return ("gone through" if code == 0 else "failed"), DRY
    mark_cut_off(path, "it did not end in its time" if code is None else f"exit status {code}")
    account = read_account(path)
    if not account:
        return "failed", f"exit status {code}, and nothing was written"
    rows = sum(len(table) for table in account.get("figures", {}).values())
    remark = account.get("reason") or f"{rows} rows in {account.get('seconds', 0):.0f} s"
    return account["status"], remark


def table(rows: Sequence[tuple[str, str, str]]) -> str:
    """Aligned columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}" for a, b, c in rows]
    return "\n".join(lines)


def main() -> int:
    """Run the list."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60, help="for all items together")
    parser.add_argument("--out", type=Path, default=Path("out/gpu"), help="folder of the JSONs")
    parser.add_argument("--data", help="camvid:DIR, for what trains")
    parser.add_argument("--checkpoint", type=Path, help="FP32 checkpoint to fine-tune")
    parser.add_argument("--only", nargs="+", choices=[item.name for item in ITEMS])
    parser.add_argument("--dry-run", action="store_true", help="same paths, few and on the CPU")
    options = parser.parse_args()
    if not options.dry_run:
        import torch

        if not torch.cuda.is_available():
            print(f"error: {NO_GPU}", file=sys.stderr)
            return EXIT_REFUSED
        options.out.mkdir(parents=True, exist_ok=True)
    rows = run_all(options)
    print(table([("item", "status", "remark"), *rows]))
    if options.dry_run:
        print(DRY)
    good = ("complete", "gone through", "out of time", "not run")
    return 0 if all(status in good for _, status, _ in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
