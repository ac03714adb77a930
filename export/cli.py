"""Verbs ``export`` and ``inspect``; torch and onnx are imported by their bodies only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from edge_runtime.artifacts import Head, ResizeMode
from edge_runtime.errors import OptionError
from export.options import ExportOptions, Storage, only_precision
from training.options import parse_size

if TYPE_CHECKING:
    from typing import Any

    from edge_runtime.artifacts import Manifest


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="F.onnx.")
@click.option(
    "--size", type=parse_size, metavar="HxW", help="Frame input; the training size if not given."
)
@click.option(
    "--head", type=click.Choice(get_args(Head)), default=ExportOptions.head, show_default=True,
    help="uint8 class ids, or float scores at full resolution.",
)  # fmt: skip
@click.option(
    "--resize", type=click.Choice(get_args(ResizeMode)), default=ExportOptions.resize,
    show_default=True, help="How the runtime fits frames of other shapes.",
)  # fmt: skip
@click.option(
    "--store", type=click.Choice(get_args(Storage)), default=ExportOptions.store,
    show_default=True, help="Type of the weights in the file; computing stays float32.",
)  # fmt: skip
@click.option(
    "--precision", type=click.Choice(("fp32", "fp16")), default=ExportOptions.precision,
    show_default=True, help="What the graph computes in.",
)  # fmt: skip
@click.option(
    "--frames", metavar="SOURCE",
    help="Frames an FP16 graph is measured and verified on; drawn if not given.",
)  # fmt: skip
@click.option("--preset", help="Of an official .pth; found from its keys if not given.")
@click.option("--name", help="Model name; the checkpoint's if not given.")
@click.option("--license", help="Of the weights; the checkpoint's if not given.")
@click.option(
    "--parity-frames", type=int, default=ExportOptions.parity_frames, show_default=True,
    help="Frames compared with the checkpoint in float64.",
)  # fmt: skip
def export(checkpoint: Path, **values: Any) -> None:
    """Make an ONNX model of CHECKPOINT and prove that it is the same network.

    The graph takes uint8 frames and normalises, upsamples and decides inside. It is compared with
    the checkpoint in float64; a graph that fails is not written. The verdict goes into the
    manifest beside the model. An FP16 graph can also be made of an exported model: give F.onnx in
    place of CHECKPOINT.
    """
    options = ExportOptions(**values)
    from edge_runtime.artifacts import check_readable

    check_readable(checkpoint)
    from export.describe import table

    manifest = _make(checkpoint, options)
    import msgspec
    from rich.console import Console

    facts = {"wrote": str(options.output), **msgspec.to_builtins(manifest)}
    Console(soft_wrap=True).print(table(facts))


def _make(source: Path, options: ExportOptions) -> Manifest:
    def report(line: str) -> None:
        click.echo(line, err=True)

    if source.suffix == ".onnx":
        if options.precision != "fp16" or options != only_precision(options):
            raise OptionError(
                f"{source} is exported already: only --precision fp16 changes such a model; for "
                "another size, head or name export its checkpoint"
            )
        from export.half import make_half

        return make_half(source, options.output, report, options.frames)
    from export.export import export as make

    return make(source, options, report=report)


@click.command()
@click.argument("artefact")
@click.option(
    "--size", type=parse_size, metavar="HxW", help="Count at this size, not the training size."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def inspect(artefact: str, size: tuple[int, int] | None, as_json: bool) -> None:
    """Say what ARTEFACT is: a model, a checkpoint, an official .pth, or a preset's name."""
    import json

    from export.describe import describe, table

    facts = describe(artefact, size)
    if as_json:
        click.echo(json.dumps(facts, indent=2, sort_keys=True))
        return
    from rich.console import Console

    Console(soft_wrap=True).print(table(facts))
