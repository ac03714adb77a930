"""What a calibration did, as plain values for JSON."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from calibration.graph import GraphView
from calibration.methods import METHODS, choose_ranges
from calibration.operators import multiply_accumulates
from calibration.ranges import remarks

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx

    from calibration.judge import Verdict
    from calibration.policy import Placement
    from calibration.ranges import Collected
    from edge_runtime.artifacts import Manifest
    from edge_runtime.range_table import RangeTable


HISTOGRAM_BINS = 64
"""Of a tensor's histogram in a report, from 0 to its largest magnitude."""


def ranges_hash(ranges: Mapping[str, float]) -> str:
    """Hex sha256 of a table of ranges, whatever its order."""
    return hashlib.sha256(json.dumps(dict(sorted(ranges.items()))).encode()).hexdigest()


def describe_ranges(
    placement: Placement, collected: Collected, chosen: Mapping[str, float]
) -> dict[str, Any]:
    """Every tensor's range, by every method, and how the ranges moved with the frames."""
    by_method = {method: choose_ranges(placement, collected.tensors, method) for method in METHODS}
    return {
        "ranges": {
            tensor.name: {
                "amax": chosen[tensor.name],
                "signed": tensor.signed,
                "bound": tensor.bound,
                "group": tensor.group,
                "by_method": {method: found[tensor.name] for method, found in by_method.items()},
                "largest": collected.tensors[tensor.name].largest,
                "histogram": collected.tensors[tensor.name].coarse(HISTOGRAM_BINS),
            }
            for tensor in placement.tensors
        },
        "range_by_frames": {str(count): row for count, row in sorted(collected.history.items())},
        "settled_at_frames": collected.settled_at(),
        "remarks": remarks(collected),
    }


def describe_given(given: RangeTable | None, placement: Placement) -> dict[str, Any] | None:
    """Which ranges were not chosen from the frames; null if all were."""
    if given is None:
        return None
    groups = {tensor.group for tensor in placement.tensors if tensor.name in given.ranges}
    left = [tensor.name for tensor in placement.tensors if tensor.group not in groups]
    return {"made_by": given.made_by, "policy": given.policy, "left_to_the_frames": left}


def describe_operators(model: onnx.ModelProto, placement: Placement) -> dict[str, Any]:
    """Which weighted operators compute in INT8, which do not and why, and their shares of work."""
    view = GraphView(model)
    totals: dict[str, int] = defaultdict(int)
    int8: dict[str, int] = defaultdict(int)
    for name, node in view.nodes.items():
        cost = multiply_accumulates(view, node)
        if cost:
            part = part_of(node)
            totals[part] += cost
            int8[part] += cost if name in placement.quantized else 0
    return {
        "operators_int8": list(placement.quantized),
        "operators_float": dict(placement.skipped),
        "macs_share_int8": sum(int8.values()) / max(sum(totals.values()), 1),
        "macs_share_int8_by_part": {part: int8[part] / total for part, total in totals.items()},
    }


def part_of(node: onnx.NodeProto) -> str:
    """The network's part that an operator belongs to, by the name of its weights."""
    names = node.input[1].split(".")
    return names[1] if len(names) > 2 and names[0] == "network" else "generated"


def describe_fp16(verdict: Verdict, manifest: Manifest) -> dict[str, Any]:
    """Accuracy of the FP16 model that was scored beside."""
    return {
        "name": manifest.name,
        "sha256": manifest.sha256,
        "scores": verdict.int8.as_json(),
        "miou_drop_points": verdict.drop,
    }


def describe_verdict(verdict: Verdict | None, gate: float) -> dict[str, Any]:
    """Accuracy of both models, and whether the drop is within the gate; null if not measured."""
    if verdict is None:
        return {"accuracy": None, "gate_points": gate, "passed": None}
    return {
        "accuracy": verdict.as_json(),
        "gate_points": gate,
        "passed": verdict.drop <= gate,
    }
