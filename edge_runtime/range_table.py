"""INT8 ranges in a file: what training learned or a calibration chose, for a later calibration.

Ranges belong to one network. A table names it by its hash, and is refused for any other.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import msgspec

from edge_runtime.artifacts import write_text_atomic
from edge_runtime.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.artifacts import Manifest


class RangeTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Largest magnitudes to represent, and where they come from."""

    kind: Literal["ranges"] = "ranges"
    format: Literal[1] = 1
    made_by: str
    """A person's answer to: where do these figures come from?"""
    policy: str
    """Name of the placement that they were made for."""
    model_sha256: str
    """Hex sha256 of the ONNX file, or of the checkpoint that it was exported from."""
    ranges: dict[str, float]
    """Tensor of the exported graph -> largest magnitude, above 0."""
    learned: bool = False
    """Whether the weights were trained together with them, each rounded to the nearest integer."""


def write_ranges(path: Path, table: RangeTable) -> None:
    """Write a table as JSON, completely or not at all.

    Raises:
        ArtifactError: a range is no positive number, or there are none.
        OSError: the file cannot be written.
    """
    _refuse_unusable(path, table)
    raw = msgspec.json.encode(table, order="sorted")
    write_text_atomic(path, msgspec.json.format(raw, indent=1).decode() + "\n")


def read_ranges(path: Path, manifest: Manifest) -> RangeTable:
    """The table in `path`, if it is of the model that `manifest` describes.

    Raises:
        ArtifactError: the file is missing or damaged, or its ranges are another network's.
    """
    try:
        table = msgspec.json.decode(path.read_bytes(), type=RangeTable)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ArtifactError(
            f"{path} is no table of ranges ({error}); `hyperseg calibrate --save-ranges` and "
            "QAT write one"
        ) from error
    _refuse_unusable(path, table)
    known = (manifest.sha256, *(parent.sha256 for parent in manifest.parents))
    if table.model_sha256 not in known:
        raise ArtifactError(
            f"{path} is stale: its ranges ({table.made_by}) are of the model "
            f"{table.model_sha256[:12]}, this is {manifest.name} {manifest.sha256[:12]}"
            + "".join(f" made from {p.name} {p.sha256[:12]}" for p in manifest.parents)
            + "; make them again for this model"
        )
    return table


def _refuse_unusable(path: Path, table: RangeTable) -> None:
    if not table.ranges:
        raise ArtifactError(f"{path} has no ranges; expected one per quantised tensor")
    for name, amax in table.ranges.items():
        if not (math.isfinite(amax) and amax > 0):
            raise ArtifactError(
                f"{path}: tensor {name!r} has range {amax}; expected a positive number"
            )
