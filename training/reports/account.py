"""All that a run's folder tells about it, as plain values: what its page is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_runtime.artifacts import created_by_this_command, read_manifest
from edge_runtime.errors import ArtifactError
from edge_runtime.redact import public_command
from training.reports.card import CHECKPOINT
from training.reports.curve import read_log
from training.reports.kept import read_kept

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

SCHEMA = "hyperseg-edge.train/1"
MOST_POINTS = 600
"""Of a curve; where there are more, a point is the mean of neighbours."""

Record = dict[str, Any]


def account(run: Path) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """What is known about the run in a folder, and what its kept weights' validation showed.

    Paths are reduced to their last part.

    Returns:
        The account, and what `training.reports.kept.read_kept` gives: pictures are no part of an
        account.

    Raises:
        ArtifactError: the folder has no log.
    """
    records = read_log(run)
    starts = [record for record in records if record["kind"] == "start"]
    trained = [record for record in records if record["kind"] == "train"]
    validations = [record for record in records if record["kind"] == "val"]
    options = starts[-1].get("options", {}) if starts else {}
    best = _kept(validations, seen=options.get("train_split") == "trainval")
    shown = read_kept(run, None if best is None else best["step"])
    steps, done = options.get("steps"), max((record["step"] for record in records), default=0)
    found = {
        "schema": SCHEMA,
        "run": run.resolve().name,
        "step": done,
        "steps": steps,
        "finished": steps is not None and done >= steps,
        "begun": len(starts),
        "options": dict(_flat(options)),
        "train": {
            name: thinned([record.get(name) for record in trained])
            for name in ("step", "loss", "lr", "images_per_s")
        },
        "val": {name: [record[name] for record in validations] for name in ("step", "miou")},
        "val_was_trained_on": options.get("train_split") == "trainval",
        "kept": best,
        "last": validations[-1] if validations else None,
        "checkpoint": _checkpoint(run),
        "version": created_by_this_command().version,
    }
    if shown is not None:
        found |= {name: shown[name] for name in ("dataset", "classes", "confusion")}
    return found, shown


def thinned(values: Sequence[float | None], most: int = MOST_POINTS) -> list[float | None]:
    """At most so many values: means of so many neighbours, None where one is missing."""
    each = -(-len(values) // most)
    found: list[float | None] = []
    for begin in range(0, len(values), max(each, 1)):
        part = values[begin : begin + each]
        known = [value for value in part if value is not None]
        found.append(sum(known) / len(known) if len(known) == len(part) else None)
    return found


def _kept(validations: Sequence[Record], *, seen: bool) -> Record | None:
    """The validation of the weights that were kept: the best, or the last if it means nothing."""
    if not validations:
        return None
    return validations[-1] if seen else max(validations, key=lambda record: record["miou"])


def _flat(options: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """Options with those of nested groups beside them, without the folders of this machine."""
    for name, value in options.items():
        if isinstance(value, dict):
            yield from _flat(value)
        else:
            yield name, public_command(value) if isinstance(value, str) else value


def _checkpoint(run: Path) -> dict[str, Any] | None:
    """What the manifest of the kept weights says; None while there is none."""
    try:
        manifest = read_manifest(run / CHECKPOINT, kind="checkpoint", verify=False)
    except ArtifactError:
        return None
    training = manifest.options.get("training", {})
    return {
        "name": manifest.name,
        "preset": manifest.preset,
        "sha256": manifest.sha256,
        "parameters": manifest.parameters,
        "license": manifest.license,
        "data": training.get("data"),
        "size": training.get("size"),
        "command": public_command(manifest.created_by.command),
        "version": manifest.created_by.version,
    }
