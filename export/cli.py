"""Verbs ``export`` and ``inspect``; torch and onnx are imported by their bodies only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from edge_runtime.artifacts import Head, ResizeMode
from edge_runtime.cli_options import reporting
from edge_runtime.errors import OptionError
from edge_runtime.pixels import Matrix, PixelFormat, Range, YuvFormat
from edge_runtime.sizes import parse_size
from export.options import ExportOptions, Storage, only_input, only_precision
from training.candidates import complete_presets, complete_subjects

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from edge_runtime.artifacts import Manifest
    from edge_runtime.cli_options import Output


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", "place", type=click.Path(path_type=Path), required=True, help="F.onnx."
)
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
    "--input", "pixels", type=click.Choice(("rgb", *get_args(PixelFormat))), default="rgb",
    show_default=True, help="Pixels of the frame input: a camera's own are converted by the graph.",
)  # fmt: skip
@click.option(
    "--matrix", type=click.Choice(get_args(Matrix)),
    help="Colours of an nv12 or yuy2 input: bt709 is what HD video has.  "
    f"[default: {YuvFormat.matrix}]",
)  # fmt: skip
@click.option(
    "--range", "spread", type=click.Choice(get_args(Range)),
    help=f"Values of an nv12 or yuy2 input.  [default: {YuvFormat.range}]",
)  # fmt: skip
@click.option(
    "--frames", metavar="SOURCE",
    help="Frames an FP16 graph is measured and verified on; drawn if not given.",
)  # fmt: skip
@click.option(
    "--preset", shell_complete=complete_presets,
    help="Of an official .pth; found from its keys if not given.",
)  # fmt: skip
@click.option("--name", help="Model name; the checkpoint's if not given.")
@click.option("--license", help="Of the weights; the checkpoint's if not given.")
@click.option(
    "--parity-frames", type=int, default=ExportOptions.parity_frames, show_default=True,
    help="Frames compared with the checkpoint in float64.",
)  # fmt: skip
@reporting
def export(checkpoint: Path, place: Path, output: Output, **values: Any) -> None:
    """Make an ONNX model of CHECKPOINT and prove that it is the same network.

    The graph takes uint8 frames and normalises, upsamples and decides inside. It is compared with
    the checkpoint in float64; a graph that fails is not written. The verdict goes into the
    manifest beside the model. An FP16 graph, or one for nv12 or yuy2 frames, can also be made of an
    exported model: give F.onnx, or the name of a shipped model, in place of CHECKPOINT.
    """
    options = ExportOptions(output=place, yuv=_yuv(values), **values)
    from edge_runtime.artifacts import check_readable
    from edge_runtime.zoo import resolve_model

    checkpoint = resolve_model(str(checkpoint))
    check_readable(checkpoint)
    from edge_runtime.progress import steps

    with steps("exporting", quiet=output.quiet) as say:
        manifest = _make(checkpoint, options, say)
    import msgspec

    show("export", {"wrote": str(place), **msgspec.to_builtins(manifest)}, output)


def show(kind: str, facts: dict[str, Any], output: Output) -> None:
    """Deliver facts as JSON where it is wanted, and as a table for people."""
    output.deliver_facts(kind, facts)
    if not output.shows:
        return
    # Imported here: `--help` needs neither.
    from rich.console import Console

    from export.describe import table

    Console(soft_wrap=True).print(table(facts))


def _yuv(values: dict[str, Any]) -> YuvFormat | None:
    """Take the options of the frame input out of `values`.

    Raises:
        OptionError: colours of YUV frames are given for an input that takes none.
    """
    pixels, matrix, spread = (values.pop(name) for name in ("pixels", "matrix", "spread"))
    if pixels != "rgb":
        return YuvFormat(pixels, matrix or YuvFormat.matrix, spread or YuvFormat.range)
    if matrix or spread:
        raise OptionError(
            "--matrix and --range say what nv12 and yuy2 frames mean, and this input is rgb: add "
            "--input nv12 or --input yuy2, or leave them away"
        )
    return None


def _make(source: Path, options: ExportOptions, report: Callable[[str], None]) -> Manifest:
    if source.suffix == ".onnx" and options.yuv is not None:
        if options != only_input(options):
            raise OptionError(
                f"{source} is exported already: give --input alone; of what it makes, "
                "--precision fp16 can be made"
            )
        from export.yuv import make_yuv

        return make_yuv(source, options.output, options.yuv, report)
    if source.suffix == ".onnx":
        if options.precision != "fp16" or options != only_precision(options):
            raise OptionError(
                f"{source} is exported already: only --precision fp16 or --input changes such a "
                "model; for another size, head or name export its checkpoint"
            )
        from export.half import make_half

        return make_half(source, options.output, report, options.frames)
    from export.export import export as make

    return make(source, options, report=report)


@click.command()
@click.argument("artefact", shell_complete=complete_subjects)
@click.option(
    "--size", type=parse_size, metavar="HxW", help="Count at this size, not the training size."
)
@reporting
def inspect(artefact: str, size: tuple[int, int] | None, output: Output) -> None:
    """Say what ARTEFACT is: a model, a checkpoint, an official .pth, or a preset's name."""
    from export.describe import describe

    show("inspect", describe(artefact, size), output)
