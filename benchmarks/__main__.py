"""All benchmarks by one command: each part in a process of its own, one line into the history.

    python -m benchmarks [PART ...] [--quick] [--history FILE]
    python -m benchmarks --plot OUT.png

A part that fails, or that this machine cannot run, is named with its reason, and the others go on;
the exit code is 1 if one failed. The history lies among the results and is kept under version
control: what it is for is the course of the figures from commit to commit, and each line names the
machine it was taken on, so that lines of several machines do not mix.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.suite.history import append, read
from benchmarks.suite.machine import ROOT, circumstances
from benchmarks.suite.parts import PARTS, Wish
from benchmarks.suite.runner import run_parts
from benchmarks.suite.tables import print_outcomes, print_parts
from edge_runtime.bench.conditions import usable_cores
from edge_runtime.errors import EXIT_INTERRUPTED, HypersegError, OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.suite.parts import Part

HISTORY = ROOT / "benchmarks/results/history.jsonl"
EXIT_FAILED = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run parts, or draw what was run; the exit code."""
    options = _parser().parse_args(arguments)
    try:
        if options.list:
            print_parts(PARTS)
            return 0
        if options.plot is not None:
            return _plot(options.history, options.plot)
        return _run(options)
    except HypersegError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=(__doc__ or "").splitlines()[0],
        epilog="Parts: " + ", ".join(part.name for part in PARTS),
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help="none takes all")
    parser.add_argument("--quick", action="store_true", help="some minutes: fewer rounds and cases")
    parser.add_argument("--threads", type=int, default=usable_cores(), help="of what users run")
    parser.add_argument("--data", default="street:192x256", help="data set of the training step")
    parser.add_argument("--models", nargs="+", default=[], help="beside their mIoU [the shipped]")
    parser.add_argument("--history", type=Path, default=HISTORY, metavar="FILE")
    parser.add_argument("--no-history", action="store_true", help="keep nothing")
    parser.add_argument("--plot", type=Path, metavar="OUT.png|.svg", help="draw the history")
    parser.add_argument("--list", action="store_true", help="what each part measures")
    return parser


def _run(options: argparse.Namespace) -> int:
    chosen = _chosen(options.parts)
    facts = circumstances()
    if facts["machine"]["busy"]:
        _say(f"other programs use this machine (load {facts['machine']['load']:.1f})")
    began, outcomes, interrupted = time.monotonic(), [], False
    with tempfile.TemporaryDirectory(prefix="hyperseg-benchmarks-") as folder:
        wish = Wish(
            options.quick, options.threads, options.data, tuple(options.models), Path(folder)
        )
        try:
            for outcome in run_parts(chosen, wish, _say):
                outcomes.append(outcome)
                if outcome.reason:
                    _say(f"{outcome.name}: {outcome.state}: {outcome.reason}")
        except KeyboardInterrupt:
            interrupted = True
    print_outcomes(outcomes)
    if outcomes and not options.no_history:
        run = {
            **facts,
            "mode": "quick" if options.quick else "full",
            "threads": options.threads,
            "interrupted": interrupted,
            "seconds": round(time.monotonic() - began, 1),
            "parts": {outcome.name: outcome.as_json() for outcome in outcomes},
        }
        append(options.history, run)
        _say(f"one line more in {options.history}")
    if interrupted:
        return EXIT_INTERRUPTED
    return EXIT_FAILED if any(one.state == "failed" for one in outcomes) else 0


def _chosen(names: Sequence[str]) -> list[Part]:
    """The parts of these names, in the order of the table; all without any."""
    known = [part.name for part in PARTS]
    if unknown := [name for name in names if name not in known]:
        raise OptionError(f"no part {', '.join(unknown)}; there are {', '.join(known)}")
    return [part for part in PARTS if not names or part.name in names]


def _plot(source: Path, target: Path) -> int:
    # Imported here: running parts needs no plots, and this process is to stay small.
    from benchmarks.suite.plot import draw

    history = read(source)
    for line in history.damaged:
        _say(line)
    if not history.runs:
        raise OptionError(f"{source} holds no run yet; run `python -m benchmarks` first")
    draw(history.runs, target)
    _say(f"{len(history.runs)} runs drawn into {target}")
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
