"""All rules of a target over one graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.check import dla, quantisation, rules
from export.check.facts import Facts

if TYPE_CHECKING:
    import onnx

    from export.check.rules import Finding
    from export.check.targets import Target


def check_graph(graph: onnx.ModelProto, target: Target) -> list[Finding]:
    """Every finding, errors first.

    Args:
        graph: with inferred types and shapes.
        target: whose rules.
    """
    facts = Facts(graph)
    chosen = (*rules.RULES, *quantisation.RULES, *(dla.RULES if target.dla else ()))
    found = [finding for rule in chosen for finding in rule(facts, target)]
    return sorted(found, key=lambda finding: finding.level)
