"""Verb ``export-config``; onnx is imported by its body only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_runtime.cli_options import reporting
from edge_runtime.errors import OptionError
from edge_runtime.shared_options import model_argument

if TYPE_CHECKING:
    from edge_runtime.cli_options import Output
    from export.config.subject import Plan, Subject

RUNTIMES = ("deepstream", "triton", "isaac-ros")


@click.command(name="export-config")
@click.argument("runtime", type=click.Choice(RUNTIMES))
@model_argument
@click.option(
    "-o", "--output", "folder", type=click.Path(path_type=Path), required=True, metavar="DIR",
    help="Folder to make; for triton the model repository, which may be there.",
)  # fmt: skip
@click.option(
    "--scores", is_flag=True,
    help="deepstream: one score a class in place of class ids, which nvsegvisual draws.",
)  # fmt: skip
@reporting
def export_config(runtime: str, model: str, folder: Path, scores: bool, output: Output) -> None:
    """Write the configuration of another RUNTIME for MODEL.

    MODEL is an ONNX model, an engine (triton only), or a shipped model's name. Where the runtime
    feeds frames in another form, the model is adapted and compared with the original first.
    """
    from edge_runtime.progress import steps
    from edge_runtime.zoo import resolve_model
    from export.config.subject import load_subject
    from export.config.write import write_plan

    if scores and runtime != "deepstream":
        raise OptionError(f"--scores is for deepstream; {runtime} takes class ids: leave it away")
    subject = load_subject(resolve_model(model))
    # A repository has a folder a model; the others are folders of one model.
    place = folder / subject.name if runtime == "triton" else folder
    with steps("writing", quiet=output.quiet):
        facts = write_plan(place, subject, _plan(runtime, subject, scores), runtime)
    output.deliver_facts("config", {**facts, "folder": str(place)})
    for file in facts["files"]:
        output.tell(str(place / file))
    for note in facts["notes"]:
        output.tell(f"note: {note}")


def _plan(runtime: str, subject: Subject, scores: bool) -> Plan:
    if runtime == "triton":
        from export.config.triton import plan_triton

        return plan_triton(subject)
    if runtime == "isaac-ros":
        from export.config.isaac_ros import plan_isaac_ros

        return plan_isaac_ros(subject)
    from export.config.deepstream import plan_deepstream

    return plan_deepstream(subject, scores=scores)
