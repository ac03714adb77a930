"""Verb ``import``; onnx and onnxruntime are imported by its body only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from edge_runtime.artifacts import Head, ResizeMode
from edge_runtime.cli_options import reporting
from edge_runtime.completion import candidates
from edge_runtime.errors import OptionError
from edge_runtime.sizes import parse_size
from export.importing.options import IMAGENET, Color, ImportOptions, Layout, parse_triple

if TYPE_CHECKING:
    from typing import Any

    from edge_runtime.cli_options import Output


@click.command("import")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", "place", type=click.Path(path_type=Path), required=True, help="F.onnx."
)
@click.option(
    "--classes", required=True, metavar="SET|FILE|A,B,..", shell_complete=candidates.label_sets,
    help="Names in channel order, a file of them, or a built-in label set.",
)  # fmt: skip
@click.option(
    "--palette", metavar="SET|FILE|#RRGGBB,..", shell_complete=candidates.label_sets,
    help="Colours; the label set's own, or made up.",
)  # fmt: skip
@click.option("--mean", metavar="R,G,B|imagenet", help="Subtracted, in the network's colour order.")
@click.option("--std", metavar="R,G,B|imagenet", help="Divides what is left.")
@click.option(
    "--range", "value_range", type=click.Choice(["1", "255"]), default="1", show_default=True,
    help="White before mean and std: frames scaled to 0..1, or kept at 0..255.",
)  # fmt: skip
@click.option(
    "--color", type=click.Choice(get_args(Color)), default=ImportOptions.color, show_default=True,
    help="Channel order the network was trained with.",
)  # fmt: skip
@click.option("--layout", type=click.Choice(get_args(Layout)), help="Read off the shape if absent.")
@click.option("--size", type=parse_size, metavar="HxW", help="For a graph that leaves it open.")
@click.option(
    "--head", type=click.Choice(get_args(Head)), default=ImportOptions.head, show_default=True,
    help="uint8 class ids, or float scores at full resolution.",
)  # fmt: skip
@click.option("--tensor", metavar="NAME", help="Which output, where several could be meant.")
@click.option("--align-corners", is_flag=True, help="Upsample scores as F.interpolate(..., True).")
@click.option(
    "--resize", type=click.Choice(get_args(ResizeMode)), default=ImportOptions.resize,
    show_default=True, help="How the runtime fits frames of other shapes.",
)  # fmt: skip
@click.option("--name", help="Model name; the output's if not given.")
@click.option("--license", default=ImportOptions.license, help="Of the weights.")
@click.option(
    "--frames", type=int, default=ImportOptions.frames, show_default=True,
    help="Frames compared with the graph fed by hand.",
)  # fmt: skip
@reporting
def import_model(model: Path, place: Path, output: Output, **values: Any) -> None:
    """Make any segmentation network in ONNX one of ours: MODEL with a manifest.

    The graph itself stays as it is. A uint8 frame and its normalisation go in front, upsampling and
    argmax behind, and the result is compared with MODEL fed by hand. Then run, eval, check,
    calibrate, build and bench take it as they take ours.
    """
    options = _options({"output": place, **values})
    from edge_runtime.progress import steps
    from export.cli import show
    from export.importing.importer import import_model as make

    with steps("importing", quiet=output.quiet) as say:
        manifest = make(model, options, report=say)
    import msgspec

    show("import", {"wrote": str(place), **msgspec.to_builtins(manifest)}, output)


def _options(values: dict[str, Any]) -> ImportOptions:
    mean, std = values.pop("mean"), values.pop("std")
    if "imagenet" in (mean, std):
        if mean != std:
            raise OptionError("give --mean imagenet and --std imagenet together")
        chosen = IMAGENET
        if values["color"] == "BGR":
            chosen = (IMAGENET[0][::-1], IMAGENET[1][::-1])
        if values["value_range"] == "255":
            raise OptionError("'imagenet' is for frames scaled to 0..1; leave --range 255 away")
        values["mean"], values["std"] = chosen
    else:
        values["mean"], values["std"] = (
            None if text is None else parse_triple(text) for text in (mean, std)
        )
    value_range = values.pop("value_range")
    return ImportOptions(**values, value_range=255 if value_range == "255" else 1)
