"""The mixed graph: as much INT8 as an accuracy budget allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from calibration.judge import Runner, judge
from calibration.policy import place
from calibration.qdq import insert
from calibration.sensitivity import float_first
from calibration.storage import with_integers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import onnx

    from calibration.adaptive import Rounded
    from calibration.judge import Verdict
    from calibration.labelled import Labelled
    from calibration.policy import Placement
    from calibration.sensitivity import BlockEffect
    from edge_runtime.artifacts import Manifest


@dataclass(frozen=True)
class Candidate:
    """A quantised graph, and what it is worth."""

    placement: Placement
    graph: onnx.ModelProto
    verdict: Verdict | None
    """None if nothing was given to judge by."""
    float_blocks: tuple[str, ...] = ()
    """Blocks that the search gave up."""


def search_mixed(
    model: onnx.ModelProto,
    whole: Candidate,
    ranges: Mapping[str, float],
    effects: Sequence[BlockEffect],
    data: Labelled,
    manifest: Manifest,
    *,
    gate: float,
    exclude: Sequence[str] = (),
    dynamic: bool = False,
    rounded: Mapping[str, Rounded] | None = None,
    threads: int | None = 1,
    say: Callable[[str], None] = lambda _: None,
) -> Candidate:
    """Give up INT8 block by block, the dearest first, until the drop is within the gate.

    Args:
        model: float.
        whole: everything quantised, judged.
        ranges: of its tensors.
        effects: of its blocks.
        data: what to judge by.
        manifest: of the model.
        gate: accepted drop of the mIoU in percentage points.
        exclude: operators that stay float anyway.
        dynamic: see `calibration.policy.place`.
        rounded: integers of weights that are not just rounded to the nearest.
        threads: CPU threads of ONNX Runtime.
        say: takes progress lines.

    Returns:
        The first graph within the gate; the nearest to it if there is none.
    """
    reference = Runner(model, threads)
    best, given_up, kept_float = whole, list(exclude), list[str]()
    for effect in float_first(effects):
        if _drop(best) <= gate:
            break
        given_up += effect.operators
        kept_float.append(effect.block)
        placement = place(model, whole.placement.policy, exclude=given_up, dynamic=dynamic)
        graph = with_integers(insert(model, placement, ranges), rounded)
        verdict = judge(reference, Runner(graph, threads), data, manifest)
        say(f"{effect.block} float: mIoU drop {verdict.drop:.2f} points")
        if verdict.drop < _drop(best):
            best = Candidate(placement, graph, verdict, tuple(kept_float))
    return best


def _drop(candidate: Candidate) -> float:
    return float("inf") if candidate.verdict is None else candidate.verdict.drop
