"""Verb ``check``; onnx is imported by its body only."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from edge_runtime.cli_options import reporting
from edge_runtime.errors import EXIT_FOUND
from edge_runtime.shared_options import model_argument
from export.check.targets import TARGETS, target_of

if TYPE_CHECKING:
    from edge_runtime.cli_options import Output
    from export.check.rules import Finding
    from export.check.targets import Target

SHOWN = 3
"""Nodes named per rule in the table; the JSON has all."""


@click.command()
@model_argument
@click.option(
    "--target", "name", type=click.Choice(list(TARGETS)), required=True,
    help="JetPack release, TensorRT, or accelerator the model is for.",
)  # fmt: skip
@reporting
def check(model: str, name: str, output: Output) -> int:
    """Judge MODEL by the rules of a TensorRT, without having it.

    Exit code 1 if the target would refuse the model. Any ONNX file will do. The rules are NVIDIA's
    documented ones and what its parser was seen to do; only a build on the device proves a model.
    """
    from edge_runtime.zoo import resolve_model
    from export.check.check import check_graph
    from export.precision import load_graph

    target = target_of(name)
    found = check_graph(load_graph(resolve_model(model)), target)
    errors = sum(finding.level == "error" for finding in found)
    described = {**asdict(target), "plugins": sorted(target.plugins)}
    findings = [asdict(finding) for finding in found]
    output.deliver_facts("check", {"target": described, "findings": findings})
    if output.shows:
        _print(found, target)
    return EXIT_FOUND if errors else 0


def _print(found: list[Finding], target: Target) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    levels = Counter(finding.level for finding in found)
    here = f"{target.name} ({target.runtime} {target.version})"
    table = Table(show_header=False, box=None, pad_edge=False)
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in found:
        groups.setdefault((finding.level, finding.rule), []).append(finding)
    for (level, rule), members in groups.items():
        names = [finding.node for finding in members if finding.node]
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        where = f" [{', '.join(names[:SHOWN])}{more}]" if names else ""
        table.add_row(level, rule, Text(members[0].text + where, overflow="fold"))
    console = Console(soft_wrap=True)
    if found:
        console.print(table)
    console.print(f"{here}: {levels['error']} errors, {levels['warning']} warnings")
