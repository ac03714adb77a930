"""The state of a training run between two steps, from which `--resume` continues exactly.

It is kept apart from the weights: nobody deploys it. The file is written by `torch.save` and read
with ``weights_only=True``, so it holds tensors and plain values and runs no code. The state before
the newest is kept too, should a failing disk damage one.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from edge_runtime.artifacts import atomic_file, check_readable
from edge_runtime.errors import ArtifactError, OptionError
from training.options import TrainOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

STATE_FILE = "state.pt"
PREVIOUS_FILE = "state.previous.pt"
_FORMAT_VERSION = 1


@dataclass
class RunState:
    """Everything that changes from step to step."""

    step: int
    """Finished steps."""
    best_miou: float
    """Of the kept checkpoint; -1 before the first validation."""
    best_step: int
    seconds: float
    """Wall-clock time spent so far."""
    options: dict[str, Any]
    """`TrainOptions.lineage` of the run."""
    net: dict[str, Any]
    averaged: dict[str, Any]
    optimizer: dict[str, Any]
    rng: dict[str, torch.Tensor]
    """State of torch's generators, by device; those of process n > 0 as ``<device>:n``."""
    scaler: dict[str, Any] = field(default_factory=dict)
    """Of the loss, for fp16; else empty."""
    auxiliary: dict[str, Any] = field(default_factory=dict)
    """Weights of the auxiliary head; empty without one."""
    rounding: dict[str, Any] = field(default_factory=dict)
    """What changes results by rounding alone, as it was in effect: the options ``threads``, of each
    process, and ``compile``, and ``processes``; empty in states of an earlier version."""


def rng_state() -> dict[str, torch.Tensor]:
    """The state of torch's generators."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def join_rng(states: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The `rng_state` of all processes as one, for `RunState`."""
    return {
        name if rank == 0 else f"{name}:{rank}": value
        for rank, state in enumerate(states)
        for name, value in state.items()
    }


def restore_rng(state: dict[str, torch.Tensor], rank: int = 0) -> None:
    """Undo whatever was drawn since `rng_state`; a process that did not exist then keeps its own.

    Args:
        state: as `join_rng` made it.
        rank: of this process.
    """
    suffix = f":{rank}" if rank else ""
    if f"cpu{suffix}" in state:
        torch.set_rng_state(state[f"cpu{suffix}"])
    if f"cuda{suffix}" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state[f"cuda{suffix}"])


def save_state(folder: Path, state: RunState) -> None:
    """Write the state file; a kill or a full disk while writing leaves the previous one.

    Raises:
        OptionError: the folder is gone or not writable, or the disk is full.
    """
    path = folder / STATE_FILE
    with atomic_file(path) as part:
        try:
            torch.save({"format_version": _FORMAT_VERSION, **vars(state)}, part)
        except RuntimeError as error:  # torch's own writer does not raise OSError
            raise OptionError(
                f"cannot write {path}: {error}; is the disk full? The state before is kept"
            ) from error
        if path.exists():
            _keep(path, folder / PREVIOUS_FILE)


def _keep(path: Path, target: Path) -> None:
    """Let `target` be the file that `path` is now, whatever becomes of `path`."""
    aside = target.with_name(f".{target.name}.part")
    aside.unlink(missing_ok=True)
    try:
        os.link(path, aside)
    except OSError:  # a file system without hard links
        shutil.copyfile(path, aside)
    aside.replace(target)


def remove_leftovers(folder: Path) -> None:
    """Delete what a killed process was writing when it died."""
    for path in folder.glob(".*"):
        if path.is_dir() and ".safetensors." in path.name:
            shutil.rmtree(path, ignore_errors=True)
        elif path.is_file() and path.suffix == ".part":
            path.unlink(missing_ok=True)


def holds_run(folder: Path) -> bool:
    """Whether the folder has a state, usable or not."""
    return any((folder / name).exists() for name in (STATE_FILE, PREVIOUS_FILE))


def load_state(folder: Path, report: Callable[[str], None] | None = None) -> RunState:
    """Read the newest usable state.

    Args:
        folder: of the run.
        report: told when the newest file is damaged and the one before is taken.

    Raises:
        ArtifactError: there is none, or each is damaged or of another version.
    """
    try:
        return _read(folder / STATE_FILE)
    except ArtifactError as error:
        try:
            state = _read(folder / PREVIOUS_FILE)
        except ArtifactError:
            raise error from None
        if report is not None:
            report(f"{error}; taking the state before it, of step {state.step}")
        return state


def _read(path: Path) -> RunState:
    if not path.is_file():
        raise ArtifactError(
            f"{path.parent} has no {path.name} to resume; start it without --resume"
        )
    check_readable(path)
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251 (our own state, no code in it)
    except Exception as error:  # torch raises a dozen kinds for a damaged file
        reason = str(error).splitlines()[0]
        raise ArtifactError(
            f"{path} cannot be read: {reason}; it is left as it is: move {path.parent} aside to "
            "begin anew"
        ) from error
    version = values.pop("format_version", None) if isinstance(values, dict) else None
    if version != _FORMAT_VERSION:
        raise ArtifactError(
            f"{path} has format version {version}; this version reads {_FORMAT_VERSION}"
        )
    try:
        return RunState(**values)
    except TypeError as error:  # an earlier version has fewer fields, a later one more
        raise ArtifactError(
            f"{path} was written by another version of this program: {error}; continue the run "
            "with that version"
        ) from error


def rounding_of(options: TrainOptions, processes: int) -> dict[str, Any]:
    """`RunState.rounding` now: sums over more threads have other roundings."""
    threads = torch.get_num_threads()
    return {"threads": threads, "compile": options.compile, "processes": processes}


def check_same_run(state: RunState, lineage: dict[str, Any]) -> None:
    """Refuse to resume under options that would have led to other weights.

    Raises:
        OptionError: naming what differs.
    """
    # An earlier version had fewer options; what it did is what their defaults do.
    before = TrainOptions.from_values(state.options).lineage()
    changed = [
        f"{name} was {before[name]!r}, now {value!r}"
        for name, value in lineage.items()
        if before[name] != value
    ]
    if changed:
        raise OptionError(
            f"cannot resume: {'; '.join(changed)}; give the options of the first part, or start "
            "another run folder"
        )
