"""What each block of a network loses in INT8, and which blocks to keep float within a budget.

A block is what one residual block, one reduction or one layer of the context head is made of. Its
effect is measured alone: only this block is quantised, and the masks are compared with those of
the float model on calibration frames.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from calibration.graph import GraphView
from calibration.judge import Runner, agreement
from calibration.operators import multiply_accumulates
from calibration.policy import place
from calibration.qdq import insert
from calibration.sites import module_of
from calibration.storage import with_integers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import onnx

    from calibration.adaptive import Rounded
    from calibration.frames import FrameSet
    from calibration.policy import Placement, Policy

FRAMES = 6
"""Calibration frames on which each block is measured."""


@dataclass(frozen=True)
class BlockEffect:
    """A block quantised alone."""

    block: str
    operators: tuple[str, ...]
    """By their first output: what ``--exclude`` takes."""
    macs: int
    """Multiply-accumulates for one frame."""
    lost: float
    """Share of the pixels, 0..1, whose class changes."""

    def as_json(self) -> dict[str, Any]:
        """Plain values for a report."""
        return asdict(self)


def block_of(module: str) -> str:
    """The block of a module: up to its first number, or its first two names.

    ``backbone.blocks.3.expand.conv`` -> ``backbone.blocks.3``; ``backbone.stem.conv`` ->
    ``backbone.stem``.
    """
    parts = module.split(".")
    numbers = [index for index, part in enumerate(parts) if part.isdecimal()]
    return ".".join(parts[: numbers[0] + 1 if numbers else 2])


def blocks_of(model: onnx.ModelProto, placement: Placement) -> dict[str, tuple[str, ...]]:
    """Block -> its quantised operators, by first output."""
    nodes = {node.output[0]: node for node in model.graph.node}
    blocks: dict[str, list[str]] = defaultdict(list)
    for name in placement.quantized:
        weight = nodes[name].input[1]
        learned = any(weight == placed.name for placed in placement.weights)
        blocks[block_of(module_of(weight)) if learned else name].append(name)
    return {block: tuple(names) for block, names in blocks.items()}


def sensitivity(
    model: onnx.ModelProto,
    policy: Policy,
    ranges: Mapping[str, float],
    frames: FrameSet,
    *,
    dynamic: bool = False,
    exclude: Sequence[str] = (),
    rounded: Mapping[str, Rounded] | None = None,
    threads: int | None = 1,
    say: Callable[[str], None] = lambda _: None,
) -> list[BlockEffect]:
    """The effect of every block, the worst first.

    Args:
        model: float.
        policy: where pairs go.
        ranges: of all tensors that any placement of this policy quantises.
        frames: to compare masks on.
        dynamic: see `calibration.policy.place`.
        exclude: operators that stay float anyway.
        rounded: integers of weights that are not just rounded to the nearest.
        threads: CPU threads of ONNX Runtime.
        say: takes progress lines.
    """
    whole = place(model, policy, dynamic=dynamic, exclude=exclude)
    blocks = blocks_of(model, whole)
    view = GraphView(model)
    reference = Runner(model, threads)
    effects = []
    for block, operators in blocks.items():
        others = [name for name in whole.quantized if name not in operators]
        alone = place(model, policy, dynamic=dynamic, exclude=[*exclude, *others])
        graph = with_integers(insert(model, alone, ranges), rounded)
        lost = 1.0 - agreement(reference, Runner(graph, threads), frames, FRAMES)
        macs = sum(multiply_accumulates(view, view.nodes[name]) for name in operators)
        effects.append(BlockEffect(block, operators, macs, lost))
        say(f"{block} alone in INT8: {100 * lost:.3f} % of the pixels change")
    return sorted(effects, key=lambda effect: -effect.lost)


def float_first(effects: Sequence[BlockEffect]) -> list[BlockEffect]:
    """Blocks in the order in which to give INT8 up: most pixels lost per multiply-accumulate.

    The cost of a float block is modelled by its multiply-accumulates, not measured.
    """
    return sorted(effects, key=lambda effect: -effect.lost / max(effect.macs, 1))
