"""The state of a training run between two steps, from which `--resume` continues exactly.

It is kept apart from the weights: nobody deploys it. The file is written by `torch.save` and read
with ``weights_only=True``, so it holds tensors and plain values and runs no code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from edge_runtime.artifacts import atomic_file, check_readable
from edge_runtime.errors import ArtifactError, OptionError

if TYPE_CHECKING:
    from pathlib import Path

STATE_FILE = "state.pt"
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
    """State of torch's generators, by device."""


def rng_state() -> dict[str, torch.Tensor]:
    """The state of torch's generators."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_rng(state: dict[str, torch.Tensor]) -> None:
    """Undo whatever was drawn since `rng_state`."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


def save_state(folder: Path, state: RunState) -> None:
    """Write the state file; a kill while writing leaves the previous one."""
    with atomic_file(folder / STATE_FILE) as part:
        torch.save({"format_version": _FORMAT_VERSION, **vars(state)}, part)


def load_state(folder: Path) -> RunState:
    """Read the state file.

    Raises:
        ArtifactError: it is missing, damaged, or of another version.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        raise ArtifactError(f"{folder} has no {STATE_FILE} to resume; start it without --resume")
    check_readable(path)
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251 (our own state, no code in it)
    except Exception as error:  # torch raises a dozen kinds for a damaged file
        raise ArtifactError(f"{path} cannot be read: {error}; start a new run") from error
    version = values.pop("format_version", None) if isinstance(values, dict) else None
    if version != _FORMAT_VERSION:
        raise ArtifactError(
            f"{path} has format version {version}; this version reads {_FORMAT_VERSION}"
        )
    return RunState(**values)


def check_same_run(state: RunState, lineage: dict[str, Any]) -> None:
    """Refuse to resume under options that would have led to other weights.

    Raises:
        OptionError: naming what differs.
    """
    changed = [
        f"{name} was {state.options.get(name)!r}, now {value!r}"
        for name, value in lineage.items()
        if state.options.get(name) != value
    ]
    if changed:
        raise OptionError(
            f"cannot resume: {'; '.join(changed)}; give the options of the first part, or start "
            "another run folder"
        )
