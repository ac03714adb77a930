"""How a confusion matrix becomes a score, and which data may be scored so.

``public`` is what papers on CamVid (11 classes) and Cityscapes (19) report: void is neither scored
nor a class, and the mean runs over the classes that occur. ``camvid-authors`` is what the HyperSeg
authors report for CamVid: Void is a twelfth class, learned and scored, and the mean runs over all
twelve. Figures of the two never meet: data, title and report carry the protocol's name, and reports
of different protocols refuse to be compared.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from edge_runtime.errors import OptionError
from edge_runtime.labels import CAMVID_12

if TYPE_CHECKING:
    from edge_runtime.labels import LabelSet
    from edge_runtime.metrics import ConfusionMatrix, Scores

ProtocolName = Literal["public", "camvid-authors"]
_EPSILON = 1e-6
"""Pixels that the authors add to every union."""


@dataclass(frozen=True)
class Protocol:
    """A named way of scoring."""

    name: ProtocolName
    note: str
    """What a reader of its figures must know; empty if nothing."""


PUBLIC = Protocol("public", "")
CAMVID_AUTHORS = Protocol(
    "camvid-authors",
    "Void is scored as a twelfth class, and the authors chose their epoch on the test split: not "
    "comparable with 11-class figures",
)
PROTOCOLS: dict[ProtocolName, Protocol] = {p.name: p for p in (PUBLIC, CAMVID_AUTHORS)}


def check_protocol(protocol: Protocol, labels: LabelSet) -> None:
    """Refuse to score data by a protocol that is not theirs.

    Raises:
        OptionError: Void as a class without the authors' protocol, or the reverse.
    """
    with_void = labels.names == CAMVID_12.names
    if protocol is CAMVID_AUTHORS and not with_void:
        raise OptionError(
            f"protocol {protocol.name} scores the 12 classes of {CAMVID_12.name}, the data have "
            f"{labels.name} ({len(labels)} classes); use --data camvid12:DIR with a network of 12 "
            "classes, or leave --protocol out"
        )
    if protocol is PUBLIC and with_void:
        raise OptionError(
            f"{labels.name} has Void as a class, which the public protocol does not score; say "
            "--protocol camvid-authors, or use --data camvid:DIR with a network of 11 classes"
        )


def scores_of(matrix: ConfusionMatrix, protocol: Protocol) -> Scores:
    """The scores of a matrix by a protocol.

    Raises:
        OptionError: no pixel was scored.
    """
    scores = matrix.scores()
    if protocol is PUBLIC:
        return scores
    hits = np.diag(matrix.counts)
    union = matrix.counts.sum(axis=0) + matrix.counts.sum(axis=1) - hits
    iou = hits / (union + _EPSILON)  # (C,); a class that never occurs counts as 0
    by_class = {name: float(value) for name, value in zip(matrix.labels.names, iou, strict=True)}
    return replace(scores, miou=float(iou.mean()), iou=dict(by_class))
