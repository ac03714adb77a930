"""Verb ``calibrate``; onnx and onnxruntime are imported by its body only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_runtime.cli_options import reporting
from edge_runtime.completion import candidates
from edge_runtime.shared_options import model_argument, threads_option

if TYPE_CHECKING:
    from typing import Any

    from edge_runtime.cli_options import Output

POLICY_NAMES = ("trt-gpu", "trt-dla", "ort-cpu")
METHOD_NAMES = ("entropy", "percentile", "mse", "minmax", "average", "auto")
SPLIT_NAMES = ("train", "val", "test")
STORE_NAMES = ("float32", "int8")
ROUNDING_NAMES = ("auto", "adaptive", "nearest")


@click.command()
@model_argument
@click.option(
    "--frames", required=True, shell_complete=candidates.frames,
    help="What to calibrate on: labelled images as for --data, a folder, or any source of `run`.",
)  # fmt: skip
@click.option(
    "--frames-split", type=click.Choice(SPLIT_NAMES), default="train", show_default=True,
    help="Which labelled frames.",
)  # fmt: skip
@click.option("--samples", type=int, default=64, show_default=True, help="Frames to choose.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the choice.")
@click.option(
    "--method", type=click.Choice(METHOD_NAMES), default="auto", show_default=True,
    help="How ranges are chosen; auto keeps the one nearest to the float model.",
)  # fmt: skip
@click.option(
    "--policy", type=click.Choice(POLICY_NAMES), default="ort-cpu", show_default=True,
    help="For which engine Q/DQ pairs are placed.",
)  # fmt: skip
@click.option(
    "--exclude", multiple=True, metavar="NAME",
    help="Keep an operator float: its first output, or a prefix of weight names ending in '.'.",
)  # fmt: skip
@click.option("--dynamic", is_flag=True, help="Quantise operators with generated weights too.")
@click.option(
    "--data", shell_complete=candidates.data,
    help="Labels to judge by: folder:DIR, or another kind that `eval` takes.",
)  # fmt: skip
@click.option("--split", type=click.Choice(SPLIT_NAMES), default="val", show_default=True)
@click.option(
    "--gate", type=float, default=0.5, show_default=True,
    help="Largest accepted drop of the mIoU in points; exit 3 if it is more.",
)  # fmt: skip
@click.option("--mixed", is_flag=True, help="Keep the worst blocks float until the gate is met.")
@click.option("--sensitivity", is_flag=True, help="Measure what each block alone loses.")
@click.option(
    "--rounding", type=click.Choice(ROUNDING_NAMES), default="auto", show_default=True,
    help="How weights become integers: each the nearest, or together so that outputs err least "
    "(auto, except with ranges of QAT).",
)  # fmt: skip
@click.option(
    "--store", type=click.Choice(STORE_NAMES), default="float32", show_default=True,
    help="Quantised weights in the file: int8 is a third of the size, without a way back.",
)  # fmt: skip
@click.option(
    "--ranges", type=click.Path(path_type=Path),
    help="Ranges learned by QAT or saved earlier, which go before those of the frames.",
)  # fmt: skip
@click.option("--save-ranges", type=click.Path(path_type=Path), help="Write the ranges as JSON.")
@click.option(
    "--fp16", type=click.Path(path_type=Path),
    help="The same model in FP16, to be scored beside in the report.",
)  # fmt: skip
@click.option(
    "-o", "--output", "place", type=click.Path(path_type=Path), required=True, help="INT8.onnx."
)
@click.option("--report", type=click.Path(path_type=Path), help="JSON, with a page beside.")
@threads_option
@reporting
def calibrate(
    model: str,
    frames: str,
    frames_split: str,
    samples: int,
    seed: int,
    place: Path,
    output: Output,
    **values: Any,
) -> None:
    """Make an INT8 model of MODEL, and measure what that costs.

    Ranges come from real frames only. Where labels are given, both models are scored by ONNX
    Runtime on the CPU, and a result that loses more than the gate is not written. An interrupted
    calibration goes on when the same command is given again.
    """
    from calibration.calibrate import calibrate as make
    from calibration.options import CalibrateOptions
    from calibration.samples import SampleOptions
    from edge_runtime.progress import steps
    from edge_runtime.zoo import resolve_model

    chosen = SampleOptions(frames, samples, frames_split, seed)  # type: ignore[arg-type]
    options = CalibrateOptions(place, samples=chosen, **values)
    with steps("calibrating", quiet=output.quiet) as say:
        outcome = make(
            resolve_model(model), options, say,
            lambda report: output.deliver_facts("calibration", report),
        )  # fmt: skip
    for line in outcome.report["remarks"]:
        output.say(f"note: {line}")
    if output.shows:
        print_outcome(outcome.report, place)


def print_outcome(report: dict[str, Any], output: Path) -> None:
    """Print the verdict as a table."""
    from rich.console import Console
    from rich.table import Table

    console = Console(soft_wrap=True)
    accuracy = report["accuracy"]
    if accuracy is not None:
        title = f"{report['model']['name']} on {accuracy['data']}, {report['measured_with']}"
        table = Table(title=title, box=None, header_style="bold", title_justify="left")
        table.add_column("class", no_wrap=True)
        for column in ("fp32 %", "int8 %", "drop"):
            table.add_column(column, justify="right")
        rows = {"mIoU": (accuracy["fp32"]["miou"], accuracy["int8"]["miou"])}
        for name, value in accuracy["fp32"]["iou"].items():
            rows[name] = (value, accuracy["int8"]["iou"][name])
        for name, (before, after) in rows.items():
            table.add_row(
                name, *(_per_cent(value) for value in (before, after, _drop(before, after)))
            )
        console.print(table)
    console.print(
        f"wrote {output}: {report['policy']}, {report['method']} ranges of "
        f"{len(report['samples'])} frames, {100 * report['macs_share_int8']:.1f} % of the "
        f"multiply-accumulates in INT8"
    )


def _per_cent(value: float | None) -> str:
    return "absent" if value is None else f"{100 * value:.2f}"


def _drop(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else before - after
