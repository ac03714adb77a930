"""Verb ``export-config``; onnx is imported by its body only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_runtime.errors import OptionError

if TYPE_CHECKING:
    from export.config.subject import Plan, Subject

RUNTIMES = ("deepstream", "triton", "isaac-ros")


@click.command(name="export-config")
@click.argument("runtime", type=click.Choice(RUNTIMES))
@click.argument("model")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, metavar="DIR",
    help="Folder to make; for triton the model repository, which may be there.",
)  # fmt: skip
@click.option(
    "--scores", is_flag=True,
    help="deepstream: one score a class in place of class ids, which nvsegvisual draws.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def export_config(runtime: str, model: str, output: Path, scores: bool, as_json: bool) -> None:
    """Write the configuration of another RUNTIME for MODEL.

    MODEL is an ONNX model, an engine (triton only), or a shipped model's name. Where the runtime
    feeds frames in another form, the model is adapted and compared with the original first.
    """
    from edge_runtime.zoo import resolve_model
    from export.config.subject import load_subject
    from export.config.write import write_plan

    if scores and runtime != "deepstream":
        raise OptionError(f"--scores is for deepstream; {runtime} takes class ids: leave it away")
    subject = load_subject(resolve_model(model))
    # A repository has a folder a model; the others are folders of one model.
    place = output / subject.name if runtime == "triton" else output
    facts = write_plan(place, subject, _plan(runtime, subject, scores), runtime)
    if as_json:
        click.echo(json.dumps({**facts, "folder": str(place)}, indent=2, sort_keys=True))
        return
    for file in facts["files"]:
        click.echo(place / file)
    for note in facts["notes"]:
        click.echo(f"note: {note}")


def _plan(runtime: str, subject: Subject, scores: bool) -> Plan:
    if runtime == "triton":
        from export.config.triton import plan_triton

        return plan_triton(subject)
    if runtime == "isaac-ros":
        from export.config.isaac_ros import plan_isaac_ros

        return plan_isaac_ros(subject)
    from export.config.deepstream import plan_deepstream

    return plan_deepstream(subject, scores=scores)
